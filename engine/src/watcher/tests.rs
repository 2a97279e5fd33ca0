//! A watcher, on the filesystems that the tests run on.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{pipe, read, write};

use crate::drive::Watcher;
use crate::limits::Limits;
use crate::ring::{Passed, PassedKind};
use crate::watch::{Adopted, Adoption, WatchEvent, WatchOrder, events};

use super::{Marks, Post, Ways, fdinfo, instance, serve};

mod adopt;
mod killed;
mod lost;
mod marks;
mod poll;

/// A watcher, on a thread instead of in a process, with a mail store of two directories.
struct Rig {
    watcher: Post,
    ways: Ways,
    served: Option<thread::JoinHandle<io::Result<()>>>,
    shared: OwnedFd,
    bell: EventFd,
    home: PathBuf,
}

impl Rig {
    fn new() -> Self {
        Self::in_folder(&std::env::temp_dir())
    }

    fn in_folder(folder: &Path) -> Self {
        Self::with_homes(folder, None)
    }

    fn with_homes(folder: &Path, homes: Option<PathBuf>) -> Self {
        Self::with(folder, Ways { homes, ..Ways::default() }, None)
    }

    fn with(folder: &Path, ways: Ways, marks: Option<Marks>) -> Self {
        let mut rig = Self::alone(folder, ways, marks);
        rig.serve();
        rig
    }

    /// Nobody watches yet.
    fn alone(folder: &Path, ways: Ways, marks: Option<Marks>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let home = folder.join(format!("torpor-adopt-{}-{number}", std::process::id()));
        fs::create_dir_all(home.join("new")).unwrap();
        fs::create_dir_all(home.join("cur")).unwrap();
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let doorbell = bell.as_fd().try_clone_to_owned().unwrap();
        let shared = instance().unwrap();
        let again = shared.try_clone().unwrap();
        let (limits, tell) = (Limits::default(), |line: &str| println!("{line}"));
        let watcher = Post::start(&limits, doorbell, again, marks, tell).unwrap();
        Self { watcher, ways, served: None, shared, bell, home }
    }

    /// A watcher comes, instead of the one before.
    fn serve(&mut self) {
        let (near, far) = connection();
        let ways = self.ways.clone();
        self.served = Some(thread::spawn(move || serve(far, ways)));
        self.watcher.connections().take(near);
    }

    /// As a worker makes it: a fresh instance with a watch on each folder.
    fn worker(&self, folders: &[&str], mask: AddWatchFlags) -> Inotify {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        for folder in folders {
            inotify.add_watch(&self.home.join(folder), mask).unwrap();
        }
        inotify
    }

    fn adopt(&mut self, notify: &impl AsFd, since: SystemTime) -> (Adoption, Option<OwnedFd>) {
        self.order(notify, since);
        self.reply()
    }

    fn order(&mut self, notify: &impl AsFd, since: SystemTime) {
        let passed =
            Passed { lobby: 0, kind: PassedKind::Inotify, dev_major: 0, dev_minor: 0, inode: 1 };
        let copy = notify.as_fd().try_clone_to_owned().unwrap();
        let since_us = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
        let order = WatchOrder::Adopt { passed, slot: 3, generation: 9, since_us };
        self.watcher.order(order, Some(copy));
        self.watcher.flush();
    }

    fn reply(&mut self) -> (Adoption, Option<OwnedFd>) {
        assert!(readable(&self.bell, 5000), "the doorbell rings after a reply");
        self.bell.read().unwrap();
        let (Adopted { slot, generation, outcome }, kept) = self.watcher.adopted().unwrap();
        assert_eq!((slot, generation), (3, 9));
        assert_eq!(kept.is_some(), outcome == Adoption::Kept);
        (outcome, kept)
    }

    fn shared(&mut self, notify: &impl AsFd, since: SystemTime) -> (Vec<i32>, bool) {
        let (Adoption::Shared { wds, changed, .. }, None) = self.adopt(notify, since) else {
            panic!("the descriptor was kept");
        };
        (wds.into_iter().filter(|wd| *wd >= 0).collect(), changed)
    }

    fn release(&mut self, wds: &[i32]) {
        for wd in wds {
            self.watcher.order(WatchOrder::Release { wd: *wd }, None);
            self.watcher.flush();
        }
    }

    /// What the ring would read of the shared instance.
    fn events(&self) -> Vec<WatchEvent> {
        let mut buffer = [0; 4096];
        match read(&self.shared, &mut buffer) {
            Ok(count) => events(&buffer[..count]).collect(),
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                Vec::new()
            }
        }
    }

    /// All that was ordered has been done.
    fn end(self) {
        let Self { watcher, served, home, .. } = self;
        watcher.join();
        if let Some(served) = served {
            served.join().unwrap().unwrap();
        }
        fs::remove_dir_all(&home).unwrap();
    }
}

/// The engine's end and the watcher's.
fn connection() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// A time after everything that the test does: nothing is a late change.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

fn readable(fd: &impl AsFd, wait_ms: u16) -> bool {
    let mut asked = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::from(wait_ms)).unwrap() > 0
}

/// Events that an unread instance of this kind holds.
fn queued_events_max(kind: &str) -> u32 {
    let text = fs::read_to_string(format!("/proc/sys/fs/{kind}/max_queued_events"));
    text.unwrap().trim().parse().unwrap()
}

/// Without CAP_DAC_READ_SEARCH nothing can be adopted, and another test says what happens then.
fn privileged() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH).unwrap()
}

const MAIL: AddWatchFlags = AddWatchFlags::IN_CREATE.union(AddWatchFlags::IN_MOVED_TO);
