//! From the kernel's completion entries to [`Completion`]s.

use std::mem::{self, offset_of};

use io_uring::cqueue;

use crate::ring::{BATCH_MAX, CONN_RECV_BYTES, Completion, Inbox, PASSED_MAX, Span};
use crate::token::{Kind, Token};

use super::super::dense::has_something;
use super::super::own::own;
use super::super::passed::peer;
use super::KernelRing;

impl KernelRing {
    /// Moves completions into the inbox until there are none or the batch is full.
    pub(super) fn arrivals(&mut self, inbox: &mut Inbox) {
        assert_eq!(self.taken, 0, "the last batch is in the queue still");
        while inbox.completions.len() < BATCH_MAX
            && let Some((token, result)) = self.done.pop()
        {
            inbox.completions.push(Completion::plain(token, result, false));
        }
        let mut batch = mem::take(&mut self.batch);
        let mut queue = self.uring.completion();
        batch.extend(queue.by_ref().take(BATCH_MAX - inbox.completions.len()));
        // Dropped, the queue would move on; it does when the step has committed.
        mem::forget(queue);
        self.taken = batch.len();
        inbox.taken = self.taken as u32;
        for entry in batch.drain(..) {
            let completion = self.arrive(&entry, &mut inbox.bytes);
            inbox.completions.push(completion);
        }
        self.batch = batch;
        if inbox.completions.iter().any(is_starved) {
            self.memory.client_buffers.widen();
        }
    }

    fn arrive(&mut self, entry: &cqueue::Entry, bytes: &mut Vec<u8>) -> Completion {
        let token = Token::from_bits(entry.user_data()).expect("only tokens were submitted");
        let more = cqueue::more(entry.flags());
        assert!(bytes.capacity() - bytes.len() >= CONN_RECV_BYTES, "a batch has room for each");
        let mut completion = Completion::plain(token, entry.result(), more);
        let at = bytes.len();
        match token.kind() {
            Kind::Accept if completion.result >= 0 => self.accepted(&mut completion),
            Kind::ConnRecv if completion.result >= 0 => self.message(&mut completion, bytes),
            Kind::Items if completion.result >= 0 => self.looked(&mut completion, bytes),
            Kind::ClientRecv | Kind::Watch | Kind::Doorbell => {
                self.selected(token.kind(), entry, bytes);
            }
            _ => {}
        }
        completion.bytes = Span { at: at as u32, count: (bytes.len() - at) as u32 };
        if !more {
            self.ended(token);
        }
        completion
    }

    /// A connection whose peer cannot be asked for is nobody's: it is closed on the spot.
    fn accepted(&mut self, completion: &mut Completion) {
        let connection = own(completion.result);
        match peer(&connection) {
            Ok(peer) => {
                (completion.result, completion.peer) = (0, peer);
                completion.passed[0] = Some(self.lobby.enter_accepted(connection));
            }
            Err(error) => completion.result = -error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// Every descriptor that came is taken over first, so that none can leak.
    fn message(&mut self, completion: &mut Completion, bytes: &mut Vec<u8>) {
        let conn = completion.token.index();
        let control = self.memory.messages.received(conn, completion.result as usize, bytes);
        completion.passed_lost = control.truncated || control.descriptors().len() > PASSED_MAX;
        let mut places = completion.passed.iter_mut();
        for descriptor in control.descriptors().iter().map(|raw| own(*raw)) {
            if let Some(place) = places.next() {
                *place = Some(self.lobby.enter(descriptor));
            }
        }
    }

    /// The tokens of the items that are ready.
    fn looked(&mut self, completion: &mut Completion, bytes: &mut Vec<u8>) {
        let at = bytes.len();
        let clients = &self.clients;
        let is_audible = |slot| clients.is_seated(slot) && clients.lend(slot, has_something);
        if self.abilities.epoll_wait {
            self.events.clear();
            let count = completion.result as usize * EVENT_BYTES;
            self.memory.events.read(0, count, &mut self.events);
            let data = |event: &[u8]| event[EVENT_DATA_AT..].first_chunk().copied();
            let events = self.events.chunks_exact(EVENT_BYTES).filter_map(data);
            self.items.tell(events.map(u64::from_ne_bytes), is_audible, bytes);
        } else if let Err(error) = self.items.ready(is_audible, bytes) {
            completion.result = -error.raw_os_error().unwrap_or(libc::EIO);
            return;
        }
        completion.result = (bytes.len() - at) as i32;
    }

    /// The kernel may name a buffer even where it brings no bytes: back with it in any case.
    fn selected(&mut self, kind: Kind, entry: &cqueue::Entry, bytes: &mut Vec<u8>) {
        let count = entry.result().max(0) as usize;
        let buffers = match kind {
            Kind::ClientRecv => &mut self.memory.client_buffers,
            _ => &mut self.memory.watch_buffers,
        };
        match cqueue::buffer_select(entry.flags()) {
            Some(id) => buffers.take(id, count, bytes),
            None => assert!(count == 0, "{count} bytes lie in no buffer"),
        }
    }

    /// A terminal completion: the kernel has let go of the place.
    fn ended(&mut self, token: Token) {
        assert!(self.in_flight > 0, "{token:?} was not in flight");
        self.in_flight -= 1;
        let place = token.index();
        match token.kind() {
            Kind::ConnRecv | Kind::ConnSend => self.conns.arrive(place),
            Kind::ClientRecv => self.clients.arrive(place),
            Kind::ClientSend => self.clients.arrive(self.memory.texts.sent(place)),
            Kind::Notify => self.notifies.arrive(place),
            // About no place, or done without the ring.
            Kind::Accept | Kind::Watch | Kind::Doorbell | Kind::Items => {}
            Kind::Item => {}
            Kind::CancelRecv | Kind::CancelNotify | Kind::CancelConn | Kind::CancelAccept => {}
        }
    }
}

/// A client's bytes found no buffer.
fn is_starved(done: &Completion) -> bool {
    done.token.kind() == Kind::ClientRecv && done.result == -libc::ENOBUFS
}

/// struct epoll_event, which is packed on some machines and not on others.
pub const EVENT_BYTES: usize = size_of::<libc::epoll_event>();
const EVENT_DATA_AT: usize = offset_of!(libc::epoll_event, u64);
