//! Conversations that outlive the engine: in their places, with workers who know nothing of it.

use torpor_handoff::master::{Conversation, Found};
use torpor_handoff::message::{Cause, Outcome, Returned, Wake};

use super::{SimHandoff, Talk};
use crate::session::Owner;
use crate::worker::Deed;
use crate::world::{File, SimFd};

impl SimHandoff {
    /// The engine was killed, and its handoff thread with it.
    pub fn heir(self) -> Self {
        let mut heir = Self::new(&self.world);
        heir.takers = self.takers.unwatched();
        for mut talk in self.talks {
            talk.wake = None;
            heir.talks.push(talk);
        }
        heir
    }

    /// The vault has gone as well.
    pub fn lose_all(&mut self) {
        self.talks.iter_mut().for_each(|talk| talk.kept = None);
    }

    /// Nobody asks the conversation in this place any more.
    pub(super) fn clear(&mut self, place: u32) {
        let is_over = |talk: &&mut Talk| talk.kept == Some(place) && talk.wake.is_none();
        self.talks.iter_mut().filter(is_over).for_each(|talk| talk.kept = None);
    }

    /// The engine before us gave this client away, perhaps.
    pub(super) fn resume(&mut self, wake: Wake<SimFd>) {
        let File::Session(session) = wake.client.file() else { panic!("no client is woken") };
        // One that was never cleared away has made room for the next in its place.
        let there = self.talks.iter().enumerate().filter(|(_, talk)| talk.kept == Some(wake.place));
        let at = there.max_by_key(|(_, talk)| talk.attempt).map(|(at, _)| at);
        let found = at.map(|at| Found {
            attempt: self.talks[at].attempt,
            has_pidfd: self.talks[at].has_pidfd,
        });
        let mut world = self.world.borrow_mut();
        let (now_ms, timeouts) = (world.mono_ms, world.swarm.timeouts);
        let conversation = Conversation::resumed(now_ms, &timeouts, wake.attempt, found);
        world.tell(|| format!("  handoff of slot {} is resumed: {found:?}", wake.slot));
        world.sessions[session as usize].tried = true;
        let Some((at, conversation)) = at.zip(conversation) else {
            drop(world);
            let outcome = Outcome::Unsent(Cause::Host(libc::ECANCELED));
            return self.done.push(Returned::new(wake, outcome, b""));
        };
        let talk = &mut self.talks[at];
        assert_eq!(talk.session, session, "[1] the conversation is about somebody else");
        let client = &mut world.sessions[session as usize];
        client.handed = true;
        if client.shut {
            // Whoever was killed after that has told nobody; the worker may not have taken it.
            client.owner = Owner::Engine;
        }
        drop(world);
        talk.resume(conversation, wake, now_ms);
    }
}

impl Talk {
    /// All that was heard since it was kept is heard again; our direction has ended.
    fn resume(&mut self, conversation: Conversation, wake: Wake<SimFd>, now_ms: u64) {
        (self.conversation, self.wake) = (conversation, Some(wake));
        (self.eof_told, self.dead_told) = (false, false);
        self.inbound.splice(..0, self.said.drain(..));
        let has_half = !self.line.ends_with(b"\n") && self.deed != Deed::Over;
        if has_half && !self.closed {
            (self.deed, self.due_ms) = (Deed::Die, now_ms);
        }
    }
}
