//! The workers behind imap-master: what they say, when they die, and how they take a client.

use torpor_handoff::line::MASTER_VERSION;

use crate::faults::Fault;
use crate::master::Talk;
use crate::session::Owner;
use crate::world::{File, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Takes,
    HalfGreeting,
    WrongVersion,
    Silent,
    DiesEarly,
    DiesLate,
    Refuses,
    Mute,
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Greet,
    GreetRest,
    Answer,
    Close,
    Die,
    Over,
}

impl World {
    pub fn draw_plan(&mut self) -> (Plan, Option<i32>) {
        if self.calm {
            return (Plan::Takes, None);
        }
        if self.mono_ms >= self.outage_until_ms && self.fault(Fault::MasterOutage, 30) {
            self.outage_until_ms = self.mono_ms + self.random.ms(1000, 10_000);
        }
        if self.mono_ms < self.outage_until_ms || self.fault(Fault::MasterAbsent, 8) {
            return (Plan::Takes, Some(self.random.pick(&[libc::ECONNREFUSED, libc::ENOENT])));
        }
        if self.fault(Fault::MasterFull, 8) {
            return (Plan::Takes, Some(libc::EAGAIN));
        }
        let plans = [
            (Fault::MasterHalfLine, Plan::HalfGreeting),
            (Fault::MasterWrongVersion, Plan::WrongVersion),
            (Fault::MasterSilent, Plan::Silent),
            (Fault::MasterDiesEarly, Plan::DiesEarly),
            (Fault::MasterDiesLate, Plan::DiesLate),
            (Fault::MasterRefuses, Plan::Refuses),
            (Fault::MasterMute, Plan::Mute),
            (Fault::MasterLate, Plan::Late),
        ];
        let (fault, plan) = self.random.pick(&plans);
        (if self.fault(fault, 2) { plan } else { Plan::Takes }, None)
    }
}

impl Talk {
    /// The worker's next deed.
    pub fn work(&mut self, world: &mut World) {
        self.due_ms = u64::MAX;
        let pause_ms = world.random.ms(0, 30);
        match self.deed {
            Deed::Greet => self.greet(world),
            Deed::GreetRest => {
                let from = self.version_split();
                self.inbound.extend_from_slice(&MASTER_VERSION[from..]);
                self.deed = Deed::Answer;
            }
            Deed::Answer => self.answer(world),
            Deed::Close => {
                self.closed = true;
                self.deed = Deed::Die;
                self.due_ms = world.mono_ms + pause_ms;
            }
            Deed::Die => {
                self.let_go(world);
                (self.closed, self.dead) = (true, true);
                self.deed = Deed::Over;
            }
            Deed::Over => {}
        }
    }

    pub fn version_split(&self) -> usize {
        1 + self.session as usize % (MASTER_VERSION.len() - 1)
    }

    pub fn greet(&mut self, world: &mut World) {
        self.deed = Deed::Answer;
        match self.plan {
            Plan::Silent => {
                // It ends when nobody talks to it any more.
                self.deed = Deed::Die;
                self.due_ms = world.mono_ms + world.random.ms(1, 6000);
            }
            Plan::DiesEarly => {
                self.deed = Deed::Die;
                self.due_ms = world.mono_ms;
                if world.random.one_in(2) {
                    self.inbound.extend_from_slice(&MASTER_VERSION[..5]);
                }
            }
            Plan::WrongVersion => {
                let words: [&[u8]; 4] = [
                    b"VERSION\timap-hibernate\t1\t0\n",
                    b"VERSION\timap-master\t2\t0\n",
                    &[b'x'; 2000],
                    b"VERSION\timap-master\t1\t0\n+\n",
                ];
                self.inbound.extend_from_slice(world.random.pick(&words));
            }
            Plan::HalfGreeting => {
                let to = self.version_split();
                self.inbound.extend_from_slice(&MASTER_VERSION[..to]);
                self.deed = Deed::GreetRest;
                self.due_ms = world.mono_ms + world.random.ms(0, 300);
            }
            _ => self.inbound.extend_from_slice(MASTER_VERSION),
        }
    }

    /// Bytes of the request have come.
    pub fn requested(&mut self, world: &mut World) {
        let whole = self.line.ends_with(b"\n");
        if self.deed != Deed::Answer || self.due_ms != u64::MAX {
            return;
        }
        let (random, timeouts) = (&mut world.random, &world.swarm.timeouts);
        match self.plan {
            Plan::Mute => {
                self.deed = Deed::Die;
                self.due_ms = world.mono_ms + timeouts.ack_ms + random.ms(0, 6000);
            }
            Plan::DiesLate => {
                self.deed = if random.one_in(2) { Deed::Close } else { Deed::Die };
                self.due_ms = world.mono_ms + random.ms(0, 20);
            }
            Plan::Late if whole => {
                let late_ms = timeouts.ack_ms as u32 * 2;
                self.due_ms = world.mono_ms + random.ms(1, late_ms);
            }
            _ if whole => self.due_ms = world.mono_ms + random.ms(0, 10),
            _ => {}
        }
    }

    pub fn answer(&mut self, world: &mut World) {
        self.deed = Deed::Close;
        self.due_ms = world.mono_ms + world.random.ms(0, 10);
        if self.plan == Plan::Refuses {
            self.let_go(world);
            let words: [&[u8]; 4] = [b"-no such user\n", b"-", b"-half a reas", b"what?\n"];
            self.inbound.extend_from_slice(world.random.pick(&words));
            return;
        }
        let Some(client) = self.client.take() else {
            self.deed = Deed::Die;
            return;
        };
        self.inbound.extend_from_slice(b"+\n");
        assert_eq!(client, File::Session(self.session));
        let line = self.line.strip_suffix(b"\n").expect("a whole line");
        world.take(self.session, line, self.wake.is_some());
    }

    /// The worker's copy of the client goes.
    pub fn let_go(&mut self, world: &mut World) {
        if let Some(client) = self.client.take() {
            world.close(client);
        }
    }
}

impl World {
    /// A worker says `+`: the client is its own, unless it was shut down before.
    fn take(&mut self, index: u32, line: &[u8], in_conversation: bool) {
        if self.sessions[index as usize].shut {
            self.close(File::Session(index));
            return;
        }
        if self.sessions[index as usize].lost {
            // Nobody has kept count; the rest of a line is in the request.
            self.sessions[index as usize].heard.clear();
        } else {
            assert!(in_conversation, "[1] a worker takes a client that was given up");
            self.check_taken(index, line);
        }
        let session = &mut self.sessions[index as usize];
        session.owner = Owner::Worker;
        session.is_offered = false;
        session.handed = false;
        session.must_go = false;
        session.lost = false;
        let (client, attached, spoken) =
            (session.client, session.attached, !session.pending().is_empty());
        session.consume();
        self.clients[client].lives += 1;
        if !attached {
            self.worker_drops(index);
            return;
        }
        if spoken {
            self.new_tag(index);
        }
        let pause_ms = self.random.ms(10, self.swarm.rest_ms);
        self.clients[client].step_ms = self.mono_ms + pause_ms;
        self.clients[client].sated = self.closing;
    }
}
