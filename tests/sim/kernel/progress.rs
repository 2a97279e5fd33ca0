//! How operations in flight go on: what completes, in which order, and what of it is told.

use torpor_engine::planted::{Bug, planted};
use torpor_engine::ring::{CLIENT_BUFFER_BYTES, CLIENT_RECV_BYTES, PASSED_MAX, Peer};

use super::*;

impl SimRing {
    /// Lets every armed operation that can go on do so, unless it is delayed.
    pub(super) fn progress(&mut self) {
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
    pub(super) fn go_on(&mut self, at: usize) -> bool {
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
    pub(super) fn is_last(&mut self) -> bool {
        let full = self.done.len() >= self.done_max;
        let mut net = self.net.borrow_mut();
        if full && net.faults.is_on(Fault::CompletionOverflow) {
            net.faults.count(Fault::CompletionOverflow);
            return true;
        }
        false
    }

    pub(super) fn accept(&mut self, token: Token) -> bool {
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
    pub(super) fn excuse_late(&self, parcel: &Parcel) {
        let Thing::Conn(conn) = parcel.fd.thing else { return };
        let mut net = self.net.borrow_mut();
        let late = net.now.mono_ms - net.conns[conn].since_ms > 90;
        if late && let Some(notify) = net.conns[conn].notify {
            net.notifies[notify].readable = true;
        }
    }

    pub(super) fn read_watch(&mut self, token: Token) -> bool {
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
    pub(super) fn read_items(&mut self, token: Token) -> bool {
        let (net, tells_once) = (self.net.borrow(), self.is_dense || planted(Bug::ItemOneshot));
        let ready = self.items.iter_mut().filter(|(client, _, told)| {
            let entry = &net.clients[*client];
            (entry.sent.len() > entry.pulled || entry.eof || entry.reset) && !(tells_once && *told)
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

    pub(super) fn add_item(&mut self, token: Token, slot: u32) {
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

    pub(super) fn assert_no_item(&self, slot: u32) {
        let is_left = self.items.iter().any(|(_, token, _)| token.index() == slot);
        assert!(!is_left, "an item of slot {slot} is left in the epoll set");
    }

    pub(super) fn receive_conn(&mut self, token: Token, conn: u32) -> bool {
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

    pub(super) fn receive_client(&mut self, at: usize, token: Token, slot: u32) -> bool {
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
}
