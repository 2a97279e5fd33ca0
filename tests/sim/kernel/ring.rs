//! The calls of the engine.

use super::*;

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
            Op::ReleaseClient { slot } => {
                // A file that nobody has open leaves its epoll set.
                self.items.retain(|(_, token, _)| token.index() != slot);
                self.let_go(slot);
            }
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
            Op::CloseConn { conn } => {
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
            Op::CloseClient { slot } => self.close_client(slot),
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
