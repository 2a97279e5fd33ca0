//! What worker, client, watcher and kernel say to the core.

use torpor_engine::ring::{Completion, PASSED_MAX, PassedKind, Peer};
use torpor_engine::token::{Kind, Token};
use torpor_engine::watch::{Adopted, Adoption, WATCHES_PER_NOTIFY_MAX};

use super::{Lab, Place, WATCHED};

impl Lab {
    /// A worker connects.
    pub fn connect(&mut self) {
        let mut done = Completion::plain(self.flying(Kind::Accept).expect("armed"), 9, true);
        done.passed[0] = Some(self.pass(PassedKind::Unix));
        done.peer = Peer { pid: 1, uid: 2, gid: 3 };
        self.complete(done, &[]);
        assert!(self.flying(Kind::ConnRecv).is_some(), "a worker is heard");
    }

    /// Bytes of the worker, with descriptors on them; `lost`: some did not make it.
    pub fn worker_says(&mut self, bytes: &[u8], kinds: &[PassedKind], lost: bool) {
        let Some(token) = self.flying(Kind::ConnRecv) else { return };
        assert!(kinds.len() <= PASSED_MAX && !bytes.is_empty());
        let mut done = Completion::plain(token, bytes.len() as i32, false);
        for (place, kind) in done.passed.iter_mut().zip(kinds) {
            *place = Some(self.pass(*kind));
        }
        done.passed_lost = lost;
        self.complete(done, bytes);
    }

    /// The recv on the worker's connection, or on the client's, ends with this result.
    pub fn recv_ends(&mut self, kind: Kind, result: i32) {
        if let Some(token) = self.flying(kind) {
            self.complete(Completion::plain(token, result, false), &[]);
        }
    }

    /// Bytes of the client; false when nobody listens, and they stay in the socket.
    pub fn client_says(&mut self, bytes: &[u8]) -> bool {
        self.stir();
        let Some(token) = self.flying(Kind::ClientRecv) else { return false };
        self.complete(Completion::plain(token, bytes.len() as i32, false), bytes);
        true
    }

    /// The same of the client in this slot.
    pub fn client_in_says(&mut self, slot: u32, bytes: &[u8]) {
        self.items.sort_by_key(|item| item.index() != slot);
        if self.items.first().is_some_and(|item| item.index() == slot) {
            self.stir();
        }
        let is_its = |token: &&Token| token.kind() == Kind::ClientRecv && token.index() == slot;
        let token = *self.flying.iter().find(is_its).expect("it is heard");
        self.complete(Completion::plain(token, bytes.len() as i32, false), bytes);
    }

    /// Who sleeps in the epoll set is told to have stirred, and so gets a recv.
    pub(super) fn stir(&mut self) {
        if let Some(item) = self.items.first() {
            let bytes = item.bits().to_ne_bytes();
            let token = self.flying(Kind::Items).expect("looked at for ever");
            self.complete(Completion::plain(token, bytes.len() as i32, false), &bytes);
        }
    }

    /// The shared inotify instance is read.
    pub fn watch(&mut self, bytes: &[u8]) {
        let token = self.flying(Kind::Watch).expect("armed for ever");
        self.complete(Completion::plain(token, bytes.len() as i32, true), bytes);
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_us += ms * 1000;
        self.step();
    }

    /// The oldest send or cancel completes; `false` when there is none.
    pub fn complete_one(&mut self, failing: bool) -> bool {
        let Some((token, result)) = self.owed.pop_front() else { return false };
        if !self.flying.contains(&token) {
            // It ended by itself before its cancel came.
            return true;
        }
        let result = if failing && result > 0 { -libc::EPIPE } else { result };
        self.complete(Completion::plain(token, result, false), &[]);
        true
    }

    /// The watcher replies; `false` when it was asked for nothing.
    pub fn adopt(&mut self, keep: bool) -> bool {
        let Some((slot, generation)) = self.adoptions.pop() else { return false };
        let outcome = if keep {
            assert!(self.places.insert(Place::Notify(slot), Vec::new()).is_none());
            Adoption::Kept
        } else {
            let mut wds = [-1; WATCHES_PER_NOTIFY_MAX];
            wds[..WATCHED.len()].copy_from_slice(&WATCHED);
            Adoption::Shared { wds, polled: false, changed: false }
        };
        self.inbox.adopted.push(Adopted { slot, generation, outcome });
        self.step();
        true
    }
}
