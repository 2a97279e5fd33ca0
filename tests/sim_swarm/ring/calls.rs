//! The calls of the engine. It may be killed at each.

use super::*;

/// Where an operation of the queue works, its token and its text.
fn parts(op: &Op) -> (Where, Token, Option<Span>) {
    match *op {
        Op::Accept { token } | Op::ReadWatch { token } => (Where::Nowhere, token, None),
        Op::ReadDoorbell { token } | Op::ReadItems { token } => (Where::Nowhere, token, None),
        Op::Cancel { token, .. } => (Where::Nowhere, token, None),
        Op::RecvConn { token, conn } => (Where::Conn(conn), token, None),
        Op::SendConn { token, conn, text } => (Where::Conn(conn), token, Some(text)),
        Op::RecvClient { token, slot } => (Where::Client(slot), token, None),
        Op::SendClient { token, slot, text } => (Where::Client(slot), token, Some(text)),
        Op::PollNotify { token, slot } => (Where::Notify(slot), token, None),
        op => panic!("{op:?} takes effect at once"),
    }
}

impl Ring for SimRing {
    type Descriptor = SimFd;

    fn push(&mut self, op: &Op, text: &[u8]) -> bool {
        alloc::pause();
        kill_point();
        if self.at_once(op) {
            return true;
        }
        let (at, token, span) = parts(op);
        if self.world.borrow().kernel.sq.len() == self.world.borrow().kernel.sq_max {
            self.world.borrow_mut().fell(Fault::SqFull);
            return false;
        }
        let known = self.in_flight.iter().any(|(other, _)| *other == token);
        assert!(!known, "[5] {token:?} is in flight already");
        self.in_flight.push((token, at));
        let file = self.place(at).map(|place| {
            place.in_flight += 1;
            assert!(place.seated, "[8] {at:?} is empty: {op:?}");
            place.fd.as_ref().expect("who sits there").file()
        });
        let mut world = self.world.borrow_mut();
        world.tell(|| format!("  {op:?} on {file:?}"));
        if let (Some(File::Session(session)), Kind::ClientRecv | Kind::ClientSend) =
            (file, token.kind())
        {
            world.check_hands_off(session);
        }
        let text = span.map_or(NONE, |span| world.kernel.keep(span.of(text)));
        world.kernel.sq.push(Sqe { op: *op, file, text });
        true
    }

    fn enter(&mut self, _wait_ms: Option<u32>) -> io::Result<()> {
        kill_point();
        self.world.borrow_mut().enter();
        Ok(())
    }

    fn reap(&mut self, inbox: &mut Inbox) {
        assert!(self.taken.is_empty(), "reaped twice");
        let shared = self.world.clone();
        let mut world = shared.borrow_mut();
        while inbox.completions.len() < inbox.completions.capacity()
            && let Some(cqe) = world.kernel.cq.pop_front()
        {
            let completion = self.completion(&cqe, &mut world, inbox);
            world.tell(|| {
                let bytes = completion.bytes.of(&inbox.bytes).escape_ascii();
                let more = if cqe.more { " more" } else { "" };
                format!("  {:?} = {}{more} {bytes}", cqe.token, cqe.result)
            });
            inbox.completions.push(completion);
            inbox.taken += 1;
            self.taken.push(cqe);
            if cqe.result > 0 && cqe.token.kind() == Kind::ClientRecv {
                let place = &self.clients[cqe.token.index() as usize];
                if let Some(File::Session(index)) = place.fd.as_ref().map(SimFd::file) {
                    world.sessions[index as usize].got += cqe.result as usize;
                }
            }
            if cqe.more || cqe.token.kind() == Kind::Item {
                continue;
            }
            let found = self.in_flight.iter().position(|(token, _)| *token == cqe.token);
            let (_, at) = self.in_flight.swap_remove(found.expect("a completion of an operation"));
            if let Some(place) = self.place(at) {
                place.in_flight -= 1;
            }
        }
    }

    fn applied(&mut self) {
        alloc::pause();
        kill_point();
        let mut world = self.world.borrow_mut();
        world.kernel.applied += self.taken.len() as u32;
        for cqe in self.taken.drain(..).filter(|cqe| cqe.data != NONE) {
            world.kernel.forget(cqe.data);
        }
    }

    fn seat_client(&mut self, slot: u32, client: SimFd) {
        let place = &mut self.clients[slot as usize];
        assert!(place.fd.is_some() && !place.seated, "[1] {slot} never went");
        place.seated = true;
        drop(client);
    }

    fn unseat_client(&mut self, slot: u32) -> SimFd {
        alloc::pause();
        self.check_leaves(Where::Client(slot));
        let place = &mut self.clients[slot as usize];
        place.seated = false;
        place.fd.as_ref().expect("somebody sits there").another()
    }

    fn take_passed(&mut self, passed: Passed) -> SimFd {
        alloc::pause();
        self.leave(passed)
    }

    fn seat_notify(&mut self, slot: u32, notify: SimFd) {
        self.seat(Where::Notify(slot), notify);
    }

    fn unseat_notify(&mut self, slot: u32) -> SimFd {
        alloc::pause();
        self.unseat(Where::Notify(slot))
    }
}
