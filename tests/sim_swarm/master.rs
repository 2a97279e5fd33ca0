//! imap-master and its workers, on the other end of real `Conversation`s.

mod heir;
mod talk;

use torpor_engine::drive::Handoff;
use torpor_engine::planted::kill_point;
use torpor_handoff::master::{Conversation, Event};
use torpor_handoff::message::{Exited, Outcome, Returned, Wake};

use crate::alloc;
use crate::takers::Takers;
use crate::worker::{Deed, Plan};
use crate::world::{File, Shared, SimFd};

pub struct SimHandoff {
    pub world: Shared,
    pub talks: Vec<Talk>,
    pub done: Vec<Returned<SimFd>>,
    takers: Takers,
    /// Conversations whose outcome the engine has been told, in the step under way.
    told: Vec<u32>,
}

pub struct Talk {
    pub conversation: Conversation,
    /// The client, until the engine's side is over.
    pub wake: Option<Wake<SimFd>>,
    pub session: u32,
    pub plan: Plan,
    /// When the worker does its next deed.
    pub due_ms: u64,
    pub deed: Deed,
    /// Bytes to the engine.
    pub inbound: Vec<u8>,
    /// Bytes from the engine after its VERSION line.
    pub line: Vec<u8>,
    pub version_bytes: usize,
    /// The worker's copy of the client, or the one that lies in its socket.
    pub client: Option<File>,
    pub closed: bool,
    pub eof_told: bool,
    pub dead: bool,
    pub dead_told: bool,
    pub has_pidfd: bool,
    pub attempt: u32,
    /// Its place in the vault, while it is there.
    pub kept: Option<u32>,
    /// What the worker has said since it was put there: it stays to be heard.
    pub said: Vec<u8>,
}

impl SimHandoff {
    pub fn new(world: &Shared) -> Self {
        Self {
            world: world.clone(),
            talks: Vec::new(),
            done: Vec::new(),
            takers: Takers::default(),
            told: Vec::new(),
        }
    }

    /// A conversation that is over may be in its place still, for the next one to take.
    pub fn is_idle(&self) -> bool {
        let is_over = |talk: &Talk| talk.wake.is_none() && talk.deed == Deed::Over;
        self.talks.iter().all(is_over) && self.done.is_empty()
    }

    pub fn next_ms(&self) -> Option<u64> {
        let due = |talk: &Talk| match talk.wake {
            Some(_) => talk.due_ms.min(talk.conversation.deadline_ms()),
            None => talk.due_ms,
        };
        self.talks.iter().map(due).min()
    }

    /// What the engine counts as awake is so.
    pub fn check_awake(&self, counted: u64) {
        self.takers.check(&self.world.borrow(), counted);
    }

    /// One more client is about to go to a worker: no more than there may be are out, whichever
    /// engine has let them go.
    fn check_out(&self) {
        let world = self.world.borrow();
        let in_flight = self.talks.iter().filter(|talk| talk.wake.is_some()).count();
        let (out, most) = (self.takers.out(&world), world.orders.workers_max as usize);
        // An engine knows of no more who are awake than it has slots.
        let is_counted = most <= world.swarm.limits.awake_max() as usize;
        assert!(
            !is_counted || out + in_flight < most,
            "[10] {out} out, {in_flight} under way, of {most}"
        );
    }

    pub fn run(&mut self) {
        self.takers.run(&mut self.world.borrow_mut());
        let mut at = 0;
        while at < self.talks.len() {
            let talk = &mut self.talks[at];
            let now_ms = self.world.borrow().mono_ms;
            if talk.due_ms <= now_ms {
                talk.work(&mut self.world.borrow_mut());
            }
            if let Some(outcome) = talk.listen(&self.world) {
                self.finish(at, outcome);
            }
            let talk = &mut self.talks[at];
            let is_left = talk.wake.is_none() && (talk.kept.is_none() || talk.closed);
            if is_left && talk.due_ms == u64::MAX && talk.deed != Deed::Over {
                // A worker that waits for the engine finds that it has hung up.
                (talk.deed, talk.due_ms) = (Deed::Die, now_ms);
            }
            if talk.wake.is_none() && talk.kept.is_none() && talk.deed == Deed::Over {
                self.talks.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn finish(&mut self, at: usize, outcome: Outcome) {
        let talk = &mut self.talks[at];
        let wake = talk.wake.take().expect("a conversation ends once");
        let mut world = self.world.borrow_mut();
        let serial = world.sessions[talk.session as usize].serial;
        world.tell(|| format!("handoff of s{serial} ends: {outcome:?}"));
        let session = &mut world.sessions[talk.session as usize];
        session.tried = true;
        match outcome {
            Outcome::Taken => {
                let Wake { slot, generation, session, .. } = wake;
                let exited = Exited { slot, generation, session };
                self.takers.add(&world, talk.session, exited, talk.has_pidfd);
            }
            Outcome::Lost => assert!(session.shut, "[1] lost and not shut down"),
            _ => session.handed = false,
        }
        world.kernel.ring_bell();
        drop(world);
        // The client is dropped in here when it is not ours any more.
        let reason = talk.conversation.reason();
        let reason = if outcome == Outcome::Refused { reason } else { &[] };
        let kept = talk.kept;
        self.done.push(Returned { kept, ..Returned::new(wake, outcome, reason) });
    }
}

impl Handoff for SimHandoff {
    type Descriptor = SimFd;

    fn send(&mut self, wake: Wake<SimFd>) {
        alloc::pause();
        kill_point();
        if wake.is_resumed {
            return self.resume(wake);
        }
        self.check_out();
        let mut world = self.world.borrow_mut();
        let File::Session(session) = wake.client.file() else { panic!("no client is woken") };
        world.check_handed(session, &wake.parcel);
        let (plan, failure) = world.draw_plan();
        let serial = world.sessions[session as usize].serial;
        world.tell(|| {
            let line = wake.parcel.escape_ascii();
            format!("  handoff of s{serial} begins ({plan:?}, {failure:?}): {line}")
        });
        let (now_ms, pause_ms) = (world.mono_ms, world.random.ms(0, 20));
        let conversation = Conversation::new(now_ms, &world.swarm.timeouts, wake.parcel.len());
        let attempt = wake.attempt;
        let mut talk = Talk {
            conversation,
            attempt,
            kept: None,
            said: Vec::new(),
            wake: Some(wake),
            session,
            plan,
            due_ms: now_ms + pause_ms,
            deed: Deed::Greet,
            inbound: Vec::new(),
            line: Vec::new(),
            version_bytes: 0,
            client: None,
            closed: false,
            eof_told: false,
            dead: false,
            dead_told: false,
            has_pidfd: !world.random.one_in(3),
        };
        drop(world);
        let event = failure.map_or(Event::Connected, Event::ConnectFailed);
        let outcome = talk.tell(&self.world, event);
        if failure.is_some() {
            talk.deed = Deed::Over;
        }
        self.talks.push(talk);
        if let Some(outcome) = outcome {
            self.finish(self.talks.len() - 1, outcome);
        }
    }

    fn returned(&mut self) -> Option<Returned<SimFd>> {
        if self.done.is_empty() {
            return None;
        }
        let returned = self.done.remove(0);
        self.told.extend(returned.kept);
        Some(returned)
    }

    fn applied(&mut self) {
        alloc::pause();
        kill_point();
        let told = std::mem::take(&mut self.told);
        told.into_iter().for_each(|place| self.clear(place));
        self.takers.applied();
    }

    fn exited(&mut self) -> Option<Exited> {
        self.takers.exited()
    }
}
