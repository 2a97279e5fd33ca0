//! imap-master and its workers, on the other end of real `Conversation`s.

use torpor_engine::drive::Handoff;
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::master::{Conversation, Event, Step};
use torpor_handoff::message::{Exited, Outcome, Returned, Wake};

use crate::alloc;
use crate::faults::Fault;
use crate::takers::Takers;
use crate::worker::{Deed, Plan};
use crate::world::{File, Shared, SimFd, World};

pub struct SimHandoff {
    world: Shared,
    talks: Vec<Talk>,
    done: Vec<Returned<SimFd>>,
    takers: Takers,
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
}

impl SimHandoff {
    pub fn new(world: &Shared) -> Self {
        Self {
            world: world.clone(),
            talks: Vec::new(),
            done: Vec::new(),
            takers: Takers::default(),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.talks.is_empty() && self.done.is_empty()
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
            if talk.wake.is_none() && talk.due_ms == u64::MAX && talk.deed != Deed::Over {
                // A worker that waits for the engine finds that it has hung up.
                (talk.deed, talk.due_ms) = (Deed::Die, now_ms);
            }
            if talk.wake.is_none() && talk.deed == Deed::Over {
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
        self.done.push(Returned::new(wake, outcome, reason));
    }
}

impl Handoff for SimHandoff {
    type Descriptor = SimFd;

    fn send(&mut self, wake: Wake<SimFd>) {
        alloc::pause();
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
        let mut talk = Talk {
            conversation,
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
        if self.done.is_empty() { None } else { Some(self.done.remove(0)) }
    }

    fn exited(&mut self) -> Option<Exited> {
        self.takers.exited()
    }
}

impl Talk {
    /// The engine's side: reads until there is nothing left, then looks at death and time.
    fn listen(&mut self, shared: &Shared) -> Option<Outcome> {
        self.wake.as_ref()?;
        while !self.inbound.is_empty() {
            let bytes = std::mem::take(&mut self.inbound);
            let has_pidfd = self.has_pidfd;
            let step = self.tell(shared, Event::Received { bytes: &bytes, has_pidfd });
            if step.is_some() {
                return step;
            }
        }
        let now_ms = shared.borrow().mono_ms;
        let event = if self.closed && !self.eof_told {
            self.eof_told = true;
            Event::Eof
        } else if self.dead && !self.dead_told && self.has_pidfd {
            self.dead_told = true;
            Event::WorkerDead
        } else if now_ms >= self.conversation.deadline_ms() {
            Event::Deadline
        } else {
            return None;
        };
        self.tell(shared, event)
    }

    /// Tells the conversation, and does what it says.
    fn tell(&mut self, shared: &Shared, event: Event<'_>) -> Option<Outcome> {
        let mut world = shared.borrow_mut();
        let now_ms = world.mono_ms;
        let mut step = self.conversation.on(event, now_ms);
        loop {
            let sent = match step {
                Step::Wait => return None,
                Step::Finish(outcome) => return Some(outcome),
                Step::ShutClient => {
                    world.shut(self.session);
                    step = self.conversation.on(Event::ClientShut, now_ms);
                    continue;
                }
                Step::SendVersion { from } => self.send(&mut world, MASTER_VERSION.len() - from),
                Step::SendFirst => self.send(&mut world, 1),
                Step::SendRest { from } => {
                    let left = self.wake.as_ref().map_or(0, |wake| wake.parcel.len()) - from;
                    self.send(&mut world, left)
                }
            };
            let event = match sent {
                Err(errno) => Event::SendFailed(errno),
                Ok(count) => {
                    self.sent(&mut world, step, count);
                    Event::Sent { count }
                }
            };
            step = self.conversation.on(event, now_ms);
        }
    }

    fn send(&self, world: &mut World, bytes: usize) -> Result<usize, i32> {
        if self.closed {
            return Err(libc::EPIPE);
        }
        let short = bytes > 1 && world.fault(Fault::SendShort, 4);
        Ok(if short { world.random.range(1, bytes as u32) as usize } else { bytes })
    }

    fn sent(&mut self, world: &mut World, step: Step, count: usize) {
        let from = match step {
            Step::SendVersion { .. } => {
                self.version_bytes += count;
                return;
            }
            Step::SendFirst => {
                let client = File::Session(self.session);
                world.hold(client);
                self.client = Some(client);
                0
            }
            Step::SendRest { from } => from,
            step => panic!("{step:?} sends nothing"),
        };
        let wake = self.wake.as_ref().expect("the request is still here");
        self.line.extend_from_slice(&wake.parcel[from..from + count]);
        self.requested(world);
    }
}
