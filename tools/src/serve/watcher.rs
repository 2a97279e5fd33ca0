//! Keeps every notify descriptor and has it polled.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::inotify::{InitFlags, Inotify};
use torpor_engine::limits::Limits;
use torpor_engine::watch::{Adopted, Adoption, WatchOrder};

/// The watcher of this process.
pub struct Watcher {
    kept: VecDeque<(Adopted, Option<OwnedFd>)>,
    doorbell: OwnedFd,
}

impl Watcher {
    /// The watcher and the shared inotify instance for the ring.
    pub fn start(limits: &Limits, doorbell: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        let kept = VecDeque::with_capacity(limits.conns_max as usize);
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok((Self { kept, doorbell }, OwnedFd::from(watch)))
    }
}

impl torpor_engine::drive::Watcher for Watcher {
    type Descriptor = OwnedFd;

    fn order(&mut self, order: WatchOrder, notify: Option<OwnedFd>) {
        if let WatchOrder::Adopt { slot, generation, .. } = order {
            self.kept.push_back((Adopted { slot, generation, outcome: Adoption::Kept }, notify));
            let _ = nix::unistd::write(&self.doorbell, &1u64.to_ne_bytes());
        }
    }

    fn adopted(&mut self) -> Option<(Adopted, Option<OwnedFd>)> {
        self.kept.pop_front()
    }
}
