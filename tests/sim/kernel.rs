//! The simulated ring: the kernel's rules as measured on 6.18, not as the manual has them.
//!
//! * A multishot operation whose completion finds the queue full ends with its data, no error.
//! * A recv that finds no buffer ends with ENOBUFS and leaves the bytes in the socket; armed with
//!   POLL_FIRST it does so only when there is data.
//! * One arm brings so many bytes and then ends, with data.
//! * A cancel and its target complete in either order; what had not arrived stays in the socket.
//! * An epoll item belongs to a file, is told as long as the file is ready, and goes when it is
//!   deleted.
//! * A descriptor rides with the first byte of its message and ends the read after that message.
//! * Closing, or taking away, a descriptor with an operation in flight is a failure of the engine.

mod past;
mod progress;
mod ring;
mod sends;

use std::collections::VecDeque;
use std::io;

use torpor_engine::planted::kill_point;
use torpor_engine::ring::{BATCH_MAX, Completion, Inbox, Op, Passed, PassedKind, Ring};
use torpor_engine::token::Token;

use crate::counting;
use crate::faults::Fault;
use crate::net::{Owner, Parcel, Shared, SimFd, Thing};
use past::Past;

pub struct SimRing {
    net: Shared,
    queue: Vec<(Op, Vec<u8>)>,
    armed: Vec<Armed>,
    done: VecDeque<Done>,
    lobby: Vec<Option<(SimFd, PassedKind, u64)>>,
    clients: Vec<Option<SimFd>>,
    /// The epoll set: a client, the token of its item, and whether it was told.
    items: Vec<(usize, Token, bool)>,
    notifies: Vec<Option<SimFd>>,
    conns: Vec<Option<SimFd>>,
    /// What the vault holds: it stays when the engine is killed.
    held_clients: Vec<Option<SimFd>>,
    held_conns: Vec<Option<SimFd>>,
    /// Which ring of this world it is, and how many of its completions were applied.
    number: u32,
    head: u32,
    /// In the inbox, and still in the queue.
    taken: usize,
    /// Applied, and still in the queue's memory.
    gone: VecDeque<(Completion, Vec<u8>)>,
    past: Vec<Past>,
    queue_max: usize,
    done_max: usize,
    buffers: usize,
    buffers_used: usize,
    /// A client's arm ends with its first completion, as the kernel's does; the other half of
    /// the seeds has arms that last.
    pub arms_once: bool,
    /// Clients sleep densely: who has spoken before is not taken (EAGAIN), and who has spoken is
    /// told once. Half of the seeds.
    pub is_dense: bool,
}

struct Armed {
    op: Op,
    token: Token,
    /// Bytes that this arm has brought.
    brought: usize,
}

struct Done {
    completion: Completion,
    bytes: Vec<u8>,
    passed: Vec<Parcel>,
    has_buffer: bool,
}

impl SimRing {
    pub fn new(net: Shared, slots: u32, conns: u32) -> Self {
        let (queue_max, done_max, buffers) = {
            let random = &mut net.borrow_mut().random;
            let queue_max = 1 + random.below(8) as usize;
            (queue_max, 2 + random.below(14) as usize, 1 + random.below(8) as usize)
        };
        let arms_once = buffers % 2 == 1;
        let is_dense = buffers / 2 % 2 == 1;
        let none = |count: u32| (0..count).map(|_| None).collect();
        Self {
            net,
            queue: Vec::new(),
            armed: Vec::new(),
            done: VecDeque::new(),
            lobby: Vec::new(),
            clients: none(slots),
            items: Vec::new(),
            notifies: none(slots),
            conns: none(conns),
            held_clients: none(slots),
            held_conns: none(conns),
            number: 0,
            head: 0,
            taken: 0,
            gone: VecDeque::new(),
            past: Vec::new(),
            queue_max,
            done_max,
            buffers,
            buffers_used: 0,
            arms_once,
            is_dense,
        }
    }

    /// Descriptors that sit somewhere.
    pub fn seated(&self) -> usize {
        let held = [&self.held_clients, &self.held_conns];
        let held: usize = held.iter().map(|table| table.iter().flatten().count()).sum();
        held + self.seats()
    }

    fn seats(&self) -> usize {
        let tables = [&self.clients, &self.notifies, &self.conns];
        let seats: usize = tables.iter().map(|table| table.iter().flatten().count()).sum();
        seats + self.lobby.iter().flatten().count() + self.waiting().count()
    }

    /// Operations that the kernel holds, but for accept, watch and doorbell.
    pub fn in_flight(&self) -> usize {
        let own = |op: &Op| {
            matches!(
                op,
                Op::Accept { .. }
                    | Op::ReadWatch { .. }
                    | Op::ReadDoorbell { .. }
                    | Op::ReadItems { .. }
            )
        };
        self.armed.iter().filter(|armed| !own(&armed.op)).count()
    }

    fn waiting(&self) -> impl Iterator<Item = &Parcel> {
        self.done.iter().flat_map(|done| done.passed.iter())
    }

    /// The client in a slot.
    pub fn client_in(&self, slot: u32) -> Option<usize> {
        match self.clients[slot as usize].as_ref()?.thing {
            Thing::Client(client) => Some(client),
            _ => None,
        }
    }

    fn submit(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        for (op, text) in queue.drain(..) {
            kill_point();
            match op {
                Op::SendConn { token, conn, .. } => self.send_conn(token, conn, &text),
                Op::SendClient { token, slot, .. } => self.send_client(token, slot, &text),
                Op::Cancel { token, target } => self.cancel(token, target),
                Op::Accept { token }
                | Op::ReadWatch { token }
                | Op::ReadDoorbell { token }
                | Op::ReadItems { token }
                | Op::RecvConn { token, .. }
                | Op::RecvClient { token, .. }
                | Op::PollNotify { token, .. } => {
                    let twice = self.armed.iter().any(|armed| armed.token == token);
                    assert!(!twice, "{token:?} is in flight already");
                    self.armed.push(Armed { op, token, brought: 0 });
                    // What is ready completes on the spot, before a cancel right behind it.
                    if !self.go_on(self.armed.len() - 1) {
                        self.armed.pop();
                    }
                }
                _ => unreachable!("{op:?} is done at once"),
            }
        }
        self.queue = queue;
    }

    fn cancel(&mut self, token: Token, target: Token) {
        let at = self.armed.iter().position(|armed| armed.token == target);
        let result = if at.is_some() { 0 } else { -libc::ENOENT };
        let mut both = vec![Completion::plain(token, result, false)];
        if let Some(at) = at {
            self.armed.swap_remove(at);
            both.push(Completion::plain(target, -libc::ECANCELED, false));
        }
        if self.net.borrow_mut().strikes(Fault::CancelReordered, 500) {
            both.reverse();
        }
        both.into_iter().for_each(|completion| self.finish(completion));
    }

    fn finish(&mut self, completion: Completion) {
        self.finish_with(completion, Vec::new(), Vec::new(), false);
    }

    fn finish_with(
        &mut self,
        completion: Completion,
        bytes: Vec<u8>,
        passed: Vec<Parcel>,
        has_buffer: bool,
    ) {
        self.buffers_used += usize::from(has_buffer);
        self.done.push_back(Done { completion, bytes, passed, has_buffer });
    }

    fn take(&mut self, passed: Passed) -> SimFd {
        let place = self.lobby[passed.lobby as usize].take();
        place.expect("a descriptor leaves the lobby once").0
    }

    fn assert_quiet(&self, index: u32, is_one: impl Fn(&Op, u32) -> bool) {
        let armed = self.armed.iter().any(|armed| is_one(&armed.op, index));
        let queued = self.queue.iter().any(|(op, _)| is_one(op, index));
        assert!(!armed && !queued, "taken away with an operation in flight");
    }

    /// A client's descriptor goes for good: there must be a cause.
    fn close_client(&mut self, slot: u32) {
        self.assert_quiet(slot, is_client);
        self.assert_no_item(slot);
        drop(self.clients[slot as usize].take().expect("closed once"));
        self.let_go(slot);
    }

    /// The vault holds the client no more.
    fn let_go(&mut self, slot: u32) {
        assert!(self.clients[slot as usize].is_none(), "let go in its place");
        let Some(fd) = self.held_clients[slot as usize].take() else { return };
        let Thing::Client(client) = fd.thing else { panic!("no client") };
        // A worker that hung up and came again has left a copy behind: that may always go.
        let all = self.clients.iter().chain(&self.held_clients);
        let copies = all.flatten().any(|other| other.thing == fd.thing);
        let mut net = self.net.borrow_mut();
        let (stopping, gives_up, now_ms) = (net.stopping, net.faults.gives_up, net.now.mono_ms);
        let entry = &mut net.clients[client];
        if entry.owner == Owner::Engine && !copies && entry.handed == 0 {
            let cause = entry.eof || entry.reset || entry.kicked || stopping || gives_up;
            // It had ten seconds, counted from the write, to take the rest of its channel switch.
            let torn = entry.is_torn() && entry.torn_ms.is_some_and(|at| at + 9500 < now_ms);
            let damaged = entry.damaged;
            let cause = cause || torn || damaged || net.forgives();
            assert!(cause, "client {client} hung up without cause");
            net.clients[client].owner = Owner::Nobody;
            net.say(|| format!("client {client} is closed"));
        }
    }
}

/// Applied completions that are not written over yet.
const GONE_MAX: usize = 8;

fn is_client(op: &Op, index: u32) -> bool {
    matches!(op, Op::RecvClient { slot, .. } | Op::SendClient { slot, .. } if *slot == index)
}

fn is_conn(op: &Op, index: u32) -> bool {
    matches!(op, Op::RecvConn { conn, .. } | Op::SendConn { conn, .. } if *conn == index)
}

/// Few, so that more than a look can tell is ready at once.
const ITEMS_TOLD_MAX: usize = 3;
