//! Where the handoff thread's conversations lie while the fate of a client hangs on them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use torpor_handoff::keep::{Keep, Kept};

use crate::limits::Limits;
use crate::places::{Held, Places};

use super::clients::patiently;
use super::vault::Vault;

/// A pair of the vault's places for each conversation.
pub struct Talks {
    vault: Arc<Vault>,
    places: Places,
}

impl Talks {
    /// The vault must have the places of these limits.
    pub fn new(limits: &Limits, vault: Arc<Vault>) -> Self {
        let places = Places::new(limits);
        assert!(vault.places() >= places.count(), "the vault is of other limits");
        Self { vault, places }
    }

    fn conversation(&self, place: u32) -> u32 {
        self.places.place(Held::Conversation(place))
    }

    fn get(&self, place: u32) -> Option<OwnedFd> {
        patiently(|| match self.vault.take(place) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            taken => taken.map(Some),
        })
    }
}

impl Keep for Talks {
    fn put(
        &self,
        place: u32,
        socket: BorrowedFd<'_>,
        worker: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.vault.put_pair(self.conversation(place), [Some(socket), worker])
    }

    fn take(&self, place: u32) -> Option<Kept> {
        let socket = self.get(self.conversation(place))?;
        Some(Kept { socket, worker: self.get(self.places.place(Held::Worker(place))) })
    }

    fn clear(&self, place: u32) {
        patiently(|| self.vault.put_pair(self.conversation(place), [None, None]));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// With an odd number of places in front, so that a pair could fall apart.
    #[test]
    fn a_conversation_is_kept_with_its_worker_until_it_is_cleared() {
        let (slots_max, conns_max, handoffs_in_flight_max) = (5, 4, 3);
        let limits = Limits { slots_max, conns_max, handoffs_in_flight_max, ..Limits::default() };
        let vault = Arc::new(Vault::create(Places::new(&limits).count()).expect("a vault"));
        let talks = Talks::new(&limits, vault);
        let (socket, mut far) = UnixStream::pair().expect("a pair");
        let (worker, mut worker_far) = UnixStream::pair().expect("a pair");
        assert!(talks.take(1).is_none());
        talks.put(1, socket.as_fd(), Some(worker.as_fd())).expect("put");
        talks.put(2, socket.as_fd(), Some(worker.as_fd())).expect("put");
        // The next attempt in a place leaves nothing of the last.
        talks.put(2, socket.as_fd(), None).expect("put");
        drop((socket, worker));
        let kept = talks.take(2).expect("it is there");
        assert!(kept.worker.is_none());
        talks.clear(2);
        drop(kept);
        let kept = talks.take(1).expect("it is there");
        assert!(kept.worker.is_some() && talks.take(0).is_none());
        drop(kept);
        talks.clear(1);
        assert_eq!(far.read(&mut [0]).expect("an end"), 0, "nobody holds it");
        assert_eq!(worker_far.read(&mut [0]).expect("an end"), 0, "nobody holds it");
    }
}
