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

use std::collections::VecDeque;
use std::io;

use torpor_engine::planted::kill_point;
use torpor_engine::ring::{
    BATCH_MAX, CLIENT_BUFFER_BYTES, CLIENT_RECV_BYTES, Completion, Inbox, Op, PASSED_MAX, Passed,
    PassedKind, Peer, Ring,
};
use torpor_engine::slots::Ledger;
use torpor_engine::token::Token;

use crate::counting;
use crate::faults::Fault;
use crate::net::{Owner, Parcel, SWITCH, Shared, SimFd, Thing};

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

/// The completion queue of an engine that was killed.
struct Past {
    number: u32,
    /// Number of its first completion.
    head: u32,
    done: Vec<(Completion, Vec<u8>)>,
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

    /// The engine was killed: its descriptors are closed and its requests cancelled. What is left
    /// is the vault and the completion queues; the next engine has a new ring.
    pub fn heir(mut self) -> Self {
        let (slots, conns) = (self.clients.len() as u32, self.conns.len() as u32);
        for armed in std::mem::take(&mut self.armed) {
            self.finish(Completion::plain(armed.token, -libc::ECANCELED, false));
        }
        let mut closed: Vec<SimFd> = Vec::new();
        closed.extend(self.lobby.drain(..).flatten().map(|(fd, _, _)| fd));
        let seats = [&mut self.clients, &mut self.notifies, &mut self.conns];
        closed.extend(seats.into_iter().flat_map(|seats| seats.drain(..)).flatten());
        let mut past = Past { number: self.number, head: self.head, done: Vec::new() };
        past.head -= self.gone.len() as u32;
        past.done.extend(self.gone.drain(..));
        for done in self.done.drain(..) {
            closed.extend(done.passed.into_iter().map(|parcel| parcel.fd));
            past.done.push((done.completion, done.bytes));
        }
        for fd in &closed {
            let is_held = self.held_conns.iter().flatten().any(|held| held.thing == fd.thing);
            if let (Thing::Conn(at), false) = (fd.thing, is_held) {
                let peer = &mut self.net.borrow_mut().conns[at];
                peer.server_closed = true;
                peer.segments.clear();
            }
        }
        self.past.push(past);
        let new = Self::new(self.net, slots, conns);
        let (held_clients, held_conns) = (self.held_clients, self.held_conns);
        Self { held_clients, held_conns, number: self.number + 1, past: self.past, ..new }
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// What the engines before have not applied, by their ledger.
    pub fn inherited(&self, ledger: Ledger) -> Vec<(Completion, Vec<u8>)> {
        let past = self.past.iter().find(|past| past.number == ledger.ring);
        let past = past.expect("the ring that is named in the ledger");
        let applied = ledger.applied.saturating_sub(past.head) as usize;
        past.done[applied.min(past.done.len())..].to_vec()
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
        for (op, text) in std::mem::take(&mut self.queue) {
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
    }

    fn send_conn(&mut self, token: Token, conn: u32, text: &[u8]) {
        let Some(Thing::Conn(at)) = self.conns[conn as usize].as_ref().map(|fd| fd.thing) else {
            panic!("a send on an empty place");
        };
        let mut net = self.net.borrow_mut();
        let peer = &mut net.conns[at];
        let result = if peer.closed { -libc::EPIPE } else { text.len() as i32 };
        if result > 0 {
            peer.heard.extend_from_slice(text);
            if text == b"+\n" {
                peer.pluses += 1;
                if peer.pluses == peer.pluses_due {
                    let client = peer.client.expect("a client is given");
                    assert_eq!(net.clients[client].owner, Owner::Worker, "given twice");
                    net.clients[client].owner = Owner::Engine;
                    net.say(|| format!("client {client} is given"));
                }
            }
        }
        drop(net);
        self.finish(Completion::plain(token, result, false));
    }

    fn send_client(&mut self, token: Token, slot: u32, text: &[u8]) {
        let client = self.client_in(slot).expect("a send to an empty slot");
        let mut net = self.net.borrow_mut();
        let now_ms = net.now.mono_ms;
        let entry = &mut net.clients[client];
        assert_eq!(entry.owner, Owner::Engine, "written to a worker's client");
        let result = if entry.reset {
            -libc::EPIPE
        } else if entry.window == 0 {
            -libc::EAGAIN
        } else {
            let count = entry.window.min(text.len());
            entry.window -= count;
            count as i32
        };
        let written = result.max(0) as usize;
        let mut payload = text;
        let mut payload_written = written;
        if entry.multiplex && entry.switch < SWITCH.len() {
            let left = &SWITCH[entry.switch..];
            let (switch, rest) = text.split_at(left.len());
            assert_eq!(switch, left, "the channel is not selected");
            let switch_written = written.min(left.len());
            (payload, payload_written) = (rest, written - switch_written);
            entry.switch += switch_written;
        }
        // After half a switch the engine comes again with the rest, and all of the payload.
        let half = entry.is_torn();
        if half {
            entry.torn_ms.get_or_insert(now_ms);
        }
        if !half && (result >= 0 || result == -libc::EAGAIN) {
            net.told(client, payload, payload_written, payload_written == 0);
        }
        drop(net);
        self.finish(Completion::plain(token, result, false));
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

    /// Lets every armed operation that can go on do so, unless it is delayed.
    fn progress(&mut self) {
        let mut at = 0;
        while at < self.armed.len() {
            let late = self.net.borrow_mut().strikes(Fault::CompletionLate, 300);
            if !late && !self.go_on(at) {
                self.armed.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// `false` when the operation has ended.
    fn go_on(&mut self, at: usize) -> bool {
        match self.armed[at].op {
            Op::Accept { token } => self.accept(token),
            Op::ReadWatch { token } => self.read_watch(token),
            Op::ReadDoorbell { token } => {
                let rings = self.net.borrow_mut().random.chance(20);
                if rings {
                    self.finish(Completion::plain(token, 8, true));
                }
                true
            }
            Op::ReadItems { token } => self.read_items(token),
            Op::RecvConn { token, conn } => self.receive_conn(token, conn),
            Op::RecvClient { token, slot } => self.receive_client(at, token, slot),
            Op::PollNotify { token, slot } => {
                let thing = self.notifies[slot as usize].as_ref().map(|fd| fd.thing);
                let Some(Thing::Notify(notify)) = thing else { panic!("polled an empty place") };
                let readable = self.net.borrow().notifies[notify].readable;
                if readable {
                    self.finish(Completion::plain(token, 1, false));
                }
                !readable
            }
            op => unreachable!("{op:?} is never armed"),
        }
    }

    /// The rule of overflow: a multishot completion that finds the queue full is the last.
    fn is_last(&mut self) -> bool {
        let full = self.done.len() >= self.done_max;
        let mut net = self.net.borrow_mut();
        if full && net.faults.is_on(Fault::CompletionOverflow) {
            net.faults.count(Fault::CompletionOverflow);
            return true;
        }
        false
    }

    fn accept(&mut self, token: Token) -> bool {
        let mut net = self.net.borrow_mut();
        if net.backlog.is_empty() {
            return true;
        }
        if net.strikes(Fault::AcceptFails, 100) {
            drop(net);
            self.finish(Completion::plain(token, -libc::EMFILE, false));
            return false;
        }
        let conn = net.backlog.pop_front().expect("somebody waits");
        let fd = SimFd::new(Thing::Conn(conn), &net.open);
        drop(net);
        let last = self.is_last();
        let mut completion = Completion::plain(token, 9, !last);
        completion.peer = Peer { pid: 1, uid: 1, gid: 1 };
        let parcel = Parcel { fd, kind: PassedKind::Unix, inode: 0 };
        self.finish_with(completion, Vec::new(), vec![parcel], false);
        !last
    }

    /// The promise about late changes holds for an engine that hears of a worker in time.
    fn excuse_late(&self, parcel: &Parcel) {
        let Thing::Conn(conn) = parcel.fd.thing else { return };
        let mut net = self.net.borrow_mut();
        let late = net.now.mono_ms - net.conns[conn].since_ms > 90;
        if late && let Some(notify) = net.conns[conn].notify {
            net.notifies[notify].readable = true;
        }
    }

    fn read_watch(&mut self, token: Token) -> bool {
        let mut bytes = Vec::new();
        let mut net = self.net.borrow_mut();
        while bytes.len() < 64
            && let Some((wd, mask)) = net.shared.pop_front()
        {
            for number in [wd.cast_unsigned(), mask, 0, 0] {
                bytes.extend_from_slice(&number.to_ne_bytes());
            }
        }
        drop(net);
        if bytes.is_empty() {
            return true;
        }
        let last = self.is_last();
        let completion = Completion::plain(token, bytes.len() as i32, !last);
        self.finish_with(completion, bytes, Vec::new(), false);
        !last
    }

    /// Some of what is ready; the rest, and what is not deleted, is told the next time.
    fn read_items(&mut self, token: Token) -> bool {
        let (net, is_dense) = (self.net.borrow(), self.is_dense);
        let ready = self.items.iter_mut().filter(|(client, _, told)| {
            let entry = &net.clients[*client];
            (entry.sent.len() > entry.pulled || entry.eof || entry.reset) && !(is_dense && *told)
        });
        let told = ready.take(ITEMS_TOLD_MAX).flat_map(|(_, token, told)| {
            *told = true;
            token.bits().to_ne_bytes()
        });
        let bytes: Vec<u8> = told.collect();
        drop(net);
        if bytes.is_empty() {
            return true;
        }
        let completion = Completion::plain(token, bytes.len() as i32, false);
        self.finish_with(completion, bytes, Vec::new(), false);
        false
    }

    fn add_item(&mut self, token: Token, slot: u32) {
        self.assert_quiet(
            slot,
            |op, index| matches!(op, Op::RecvClient { slot, .. } if *slot == index),
        );
        let client = self.client_in(slot).expect("an item of an empty slot");
        assert_eq!(self.net.borrow().clients[client].owner, Owner::Engine, "a worker's client");
        let has_spoken = {
            let entry = &self.net.borrow().clients[client];
            entry.sent.len() > entry.pulled || entry.eof || entry.reset
        };
        if self.is_dense && has_spoken {
            self.finish(Completion::plain(token, -libc::EAGAIN, false));
        } else if let Some(item) = self.items.iter_mut().find(|(other, ..)| *other == client) {
            *item = (client, token, false);
        } else if self.net.borrow_mut().strikes(Fault::ItemRefused, 100) {
            self.finish(Completion::plain(token, -libc::ENOSPC, false));
        } else {
            self.items.push((client, token, false));
        }
    }

    fn assert_no_item(&self, slot: u32) {
        let is_left = self.items.iter().any(|(_, token, _)| token.index() == slot);
        assert!(!is_left, "an item of slot {slot} is left in the epoll set");
    }

    fn receive_conn(&mut self, token: Token, conn: u32) -> bool {
        let Some(Thing::Conn(at)) = self.conns[conn as usize].as_ref().map(|fd| fd.thing) else {
            // The vault did not hold it.
            self.finish(Completion::plain(token, -libc::EBADF, false));
            return false;
        };
        let mut net = self.net.borrow_mut();
        let short = net.strikes(Fault::ShortRead, 200);
        let limit = if short { 1 + net.random.below(20) as usize } else { 4096 };
        let (mut bytes, mut passed) = (Vec::new(), Vec::new());
        let peer = &mut net.conns[at];
        while bytes.len() < limit
            && let Some((segment, fds)) = peer.segments.front_mut()
        {
            let count = segment.len().min(limit - bytes.len());
            bytes.extend(segment.drain(..count));
            passed.append(fds);
            if segment.is_empty() {
                peer.segments.pop_front();
            }
            if !passed.is_empty() {
                break;
            }
        }
        let ended = bytes.is_empty() && peer.closed;
        drop(net);
        if bytes.is_empty() && !ended {
            return true;
        }
        let mut completion = Completion::plain(token, bytes.len() as i32, false);
        completion.passed_lost = passed.len() > PASSED_MAX;
        passed.truncate(PASSED_MAX);
        self.finish_with(completion, bytes, passed, false);
        false
    }

    fn receive_client(&mut self, at: usize, token: Token, slot: u32) -> bool {
        let client = self.client_in(slot).expect("a recv on an empty slot");
        let mut net = self.net.borrow_mut();
        let entry = &net.clients[client];
        assert_eq!(entry.owner, Owner::Engine, "armed on a worker's client");
        let count = (entry.sent.len() - entry.pulled).min(CLIENT_BUFFER_BYTES);
        let (reset, eof) = (entry.reset, entry.eof);
        if reset || (count == 0 && eof) {
            drop(net);
            let result = if reset { -libc::ECONNRESET } else { 0 };
            self.finish(Completion::plain(token, result, false));
            return false;
        }
        if count == 0 {
            return true;
        }
        if self.buffers_used >= self.buffers && net.faults.is_on(Fault::BuffersOut) {
            net.faults.count(Fault::BuffersOut);
            drop(net);
            self.finish(Completion::plain(token, -libc::ENOBUFS, false));
            return false;
        }
        let entry = &mut net.clients[client];
        let bytes = entry.sent[entry.pulled..entry.pulled + count].to_vec();
        entry.pulled += count;
        drop(net);
        self.armed[at].brought += count;
        let full = self.armed[at].brought >= CLIENT_RECV_BYTES;
        let last = self.is_last() || self.arms_once || full;
        let completion = Completion::plain(token, count as i32, !last);
        self.finish_with(completion, bytes, Vec::new(), true);
        !last
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

impl Ring for SimRing {
    type Descriptor = SimFd;

    fn push(&mut self, op: &Op, text: &[u8]) -> bool {
        counting::pause();
        kill_point();
        if self.queue.len() >= self.queue_max {
            let mut net = self.net.borrow_mut();
            if net.faults.is_on(Fault::QueueFull) {
                net.faults.count(Fault::QueueFull);
                return false;
            }
        }
        self.net.borrow().say(|| format!("  {op:?}"));
        let bytes = match op {
            Op::SendConn { text: span, .. } | Op::SendClient { text: span, .. } => span.of(text),
            _ => &[],
        };
        if let Op::RecvClient { slot, .. } = *op {
            let client = self.client_in(slot).expect("armed on an empty slot");
            let conn = self.net.borrow().clients[client].conn;
            assert!(conn.is_none(), "armed before its worker has let go");
            self.assert_no_item(slot);
        }
        match *op {
            Op::SeatConn { passed, conn } => {
                let fd = self.take(passed);
                assert!(self.conns[conn as usize].replace(fd).is_none(), "two on one place");
            }
            Op::SeatClient { passed, slot } => {
                let fd = self.take(passed);
                let held = SimFd::new(fd.thing, &self.net.borrow().open);
                let before = self.held_clients[slot as usize].replace(held);
                assert!(before.is_none(), "the vault has somebody there");
                assert!(self.clients[slot as usize].replace(fd).is_none(), "two on one slot");
            }
            Op::HoldConn { conn } => {
                let thing = self.conns[conn as usize].as_ref().expect("it is there").thing;
                let held = SimFd::new(thing, &self.net.borrow().open);
                let before = self.held_conns[conn as usize].replace(held);
                assert!(before.is_none(), "the vault has another there");
            }
            Op::ClaimConn { conn } => {
                let held = self.held_conns[conn as usize].as_ref().map(|held| held.thing);
                let seat = held.map(|thing| SimFd::new(thing, &self.net.borrow().open));
                self.conns[conn as usize] = seat;
            }
            Op::ClaimClient { slot } => {
                let held = self.held_clients[slot as usize].as_ref().expect("the vault has it");
                let seat = SimFd::new(held.thing, &self.net.borrow().open);
                assert!(self.clients[slot as usize].replace(seat).is_none(), "two on one slot");
            }
            Op::ReleaseClient { slot } => self.let_go(slot),
            Op::ReleaseConn { conn } => {
                let held = self.held_conns[conn as usize].take();
                if let Some(Thing::Conn(at)) = held.map(|fd| fd.thing) {
                    self.net.borrow_mut().conns[at].server_closed = true;
                }
            }
            Op::Drop { passed } => drop(self.take(passed)),
            Op::AddItem { token, slot } => self.add_item(token, slot),
            Op::DeleteItem { slot } => {
                let client = self.client_in(slot).expect("deleted before it is gone");
                self.items.retain(|(other, ..)| *other != client);
            }
            Op::CloseConn { conn, .. } => {
                self.assert_quiet(conn, is_conn);
                let held = self.held_conns[conn as usize].take();
                let fd = self.conns[conn as usize].take().or(held);
                // There is none when the vault did not hold it.
                if let Some(Thing::Conn(at)) = fd.map(|fd| fd.thing) {
                    let peer = &mut self.net.borrow_mut().conns[at];
                    peer.server_closed = true;
                    peer.segments.clear();
                }
            }
            Op::CloseClient { slot, .. } => self.close_client(slot),
            Op::ShutClient { slot, .. } => self.close_client(slot),
            _ => self.queue.push((*op, bytes.to_vec())),
        }
        true
    }

    fn enter(&mut self, _wait_ms: Option<u32>) -> io::Result<()> {
        self.submit();
        self.progress();
        Ok(())
    }

    fn applied(&mut self) {
        counting::pause();
        kill_point();
        for done in self.done.drain(..std::mem::take(&mut self.taken)) {
            self.gone.push_back((done.completion, done.bytes));
            self.head += 1;
        }
        self.gone.drain(..self.gone.len().saturating_sub(GONE_MAX));
    }

    fn reap(&mut self, inbox: &mut Inbox) {
        assert_eq!(self.taken, 0, "reaped twice");
        while inbox.completions.len() < BATCH_MAX && self.taken < self.done.len() {
            let done = &mut self.done[self.taken];
            self.taken += 1;
            inbox.taken += 1;
            let mut completion = done.completion;
            self.buffers_used -= usize::from(done.has_buffer);
            completion.bytes = inbox.keep(&done.bytes);
            let passed = std::mem::take(&mut done.passed);
            for (index, parcel) in passed.into_iter().enumerate() {
                self.excuse_late(&parcel);
                let free = self.lobby.iter().position(Option::is_none);
                let lobby = free.unwrap_or_else(|| {
                    self.lobby.push(None);
                    self.lobby.len() - 1
                });
                let (kind, inode) = (parcel.kind, parcel.inode);
                self.lobby[lobby] = Some((parcel.fd, kind, inode));
                let (dev_major, dev_minor) = (0, 9);
                let lobby = lobby as u32;
                completion.passed[index] =
                    Some(Passed { lobby, kind, dev_major, dev_minor, inode });
            }
            self.net.borrow().say(|| {
                format!("    {:?} {} more {}", completion.token, completion.result, completion.more)
            });
            inbox.completions.push(completion);
        }
    }

    fn seat_client(&mut self, slot: u32, client: SimFd) {
        // A client from nowhere is put into the vault; who comes back is in it.
        let held = || SimFd::new(client.thing, &self.net.borrow().open);
        self.held_clients[slot as usize].get_or_insert_with(held);
        assert!(self.clients[slot as usize].replace(client).is_none(), "two on one slot");
    }

    fn unseat_client(&mut self, slot: u32) -> SimFd {
        counting::pause();
        self.assert_quiet(slot, is_client);
        self.assert_no_item(slot);
        self.clients[slot as usize].take().expect("somebody sits there")
    }

    fn take_passed(&mut self, passed: Passed) -> SimFd {
        counting::pause();
        self.take(passed)
    }

    fn seat_notify(&mut self, slot: u32, notify: SimFd) {
        assert!(self.notifies[slot as usize].replace(notify).is_none(), "two on one slot");
    }

    fn unseat_notify(&mut self, slot: u32) -> SimFd {
        counting::pause();
        self.assert_quiet(
            slot,
            |op, index| matches!(op, Op::PollNotify { slot, .. } if *slot == index),
        );
        self.notifies[slot as usize].take().expect("something is kept there")
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
