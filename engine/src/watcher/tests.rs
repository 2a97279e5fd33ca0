//! Adoption on the filesystems that the tests run on.

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
use crate::ring::{Passed, PassedKind};
use crate::watch::{Adopted, Adoption, WatchEvent, WatchOrder, events};

use super::{Marks, Post, Ways, fdinfo, serve};

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
        let (watcher, shared) = Post::start(doorbell, marks, |line| println!("{line}")).unwrap();
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
        let (Adoption::Shared { wds, changed }, None) = self.adopt(notify, since) else {
            panic!("the descriptor was kept");
        };
        (wds.into_iter().filter(|wd| *wd >= 0).collect(), changed)
    }

    fn release(&mut self, wds: &[i32]) {
        for wd in wds {
            self.watcher.order(WatchOrder::Release { wd: *wd }, None);
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

#[test]
fn adopted_folders_are_heard_on_the_shared_instance() {
    for folder in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        if !privileged() {
            return;
        }
        let mut rig = Rig::in_folder(&folder);
        let worker = rig.worker(&["new", "cur"], MAIL);
        let (wds, changed) = rig.shared(&worker, later());
        assert_eq!((wds.len(), changed), (2, false));
        drop(worker);
        fs::write(rig.home.join("new/1.mail"), b"x").unwrap();
        let heard = rig.events();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(wds.contains(&heard[0].wd));
        assert_eq!(heard[0].mask, AddWatchFlags::IN_CREATE.bits());
        rig.end();
    }
}

#[test]
fn what_happened_before_the_adoption_is_a_change() {
    if !privileged() {
        return;
    }
    let mut rig = Rig::new();
    let worker = rig.worker(&["new"], MAIL);
    fs::write(rig.home.join("new/1.mail"), b"x").unwrap();
    assert!(rig.shared(&worker, later()).1, "an unread event on the passed descriptor");
    let worker = rig.worker(&["new"], MAIL);
    assert!(!rig.shared(&worker, later()).1, "the event was the other descriptor's");
    assert!(
        rig.shared(&worker, SystemTime::now() - Duration::from_secs(60)).1,
        "the folder changed within the last minute"
    );
    rig.end();
}

/// Two sleepers of one folder, asking for different events.
#[test]
fn one_watch_serves_all_and_says_when_it_is_let_go() {
    if !privileged() {
        return;
    }
    let mut rig = Rig::new();
    let first = rig.worker(&["new"], AddWatchFlags::IN_CREATE);
    let second = rig.worker(&["new"], AddWatchFlags::IN_DELETE);
    let (wds, _) = rig.shared(&first, later());
    assert_eq!(rig.shared(&second, later()).0, wds, "one folder, one watch");
    let mail = rig.home.join("new/1.mail");
    let round = |rig: &Rig| {
        fs::write(&mail, b"x").unwrap();
        fs::remove_file(&mail).unwrap();
        rig.events().iter().map(|event| event.mask).collect::<Vec<_>>()
    };
    let (create, delete) = (AddWatchFlags::IN_CREATE.bits(), AddWatchFlags::IN_DELETE.bits());
    assert_eq!(round(&rig), [create, delete]);
    rig.release(&wds);
    assert!(readable(&rig.shared, 5000));
    let ignored = AddWatchFlags::IN_IGNORED.bits();
    assert_eq!(rig.events(), [WatchEvent { wd: wds[0], mask: ignored }]);
    assert_eq!(round(&rig), [0; 0]);
    // The number of a watch that is gone is not given again soon.
    let (again, _) = rig.shared(&first, later());
    assert_ne!(again, wds);
    rig.end();
}

#[test]
fn a_vanished_folder_can_still_be_released() {
    if !privileged() {
        return;
    }
    let mut rig = Rig::new();
    let worker = rig.worker(&["new"], MAIL);
    let (wds, _) = rig.shared(&worker, later());
    fs::remove_dir(rig.home.join("new")).unwrap();
    rig.release(&wds);
    let other = rig.worker(&["cur"], MAIL);
    assert_eq!(rig.shared(&other, later()).0.len(), 1, "the watcher lives");
    rig.end();
}

#[test]
fn what_cannot_be_adopted_is_kept_and_nothing_is_left_behind() {
    let mut rig = Rig::new();
    for name in ["a", "b", "c"] {
        fs::create_dir(rig.home.join(name)).unwrap();
    }
    let (reader, _writer) = pipe().unwrap();
    assert_eq!(rig.adopt(&reader, later()).0, Adoption::Kept, "a pipe");
    let many = rig.worker(&["new", "cur", "a", "b", "c"], MAIL);
    assert_eq!(rig.adopt(&many, later()).0, Adoption::Kept, "five watches");
    // A filesystem without file handles, before and after one with them.
    for folders in [["/proc/self/fdinfo", "new"], ["new", "/proc/self/fdinfo"]] {
        let mixed = rig.worker(&folders, MAIL);
        let (outcome, kept) = rig.adopt(&mixed, later());
        assert_eq!(outcome, Adoption::Kept, "{folders:?}");
        assert_eq!(fdinfo::marks(kept.unwrap(), 4096).unwrap().len(), 2, "it still works");
        assert_eq!(fdinfo::marks(&rig.shared, 4096).unwrap(), [], "the shared one is empty");
    }
    rig.end();
}

#[test]
fn without_the_capability_everything_is_kept() {
    thread::spawn(|| {
        // Capabilities belong to a thread and are inherited by those that it starts.
        caps::drop(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH).unwrap();
        assert!(!privileged());
        let mut rig = Rig::new();
        let worker = rig.worker(&["new", "cur"], MAIL);
        assert_eq!(rig.adopt(&worker, later()).0, Adoption::Kept);
        assert_eq!(fdinfo::marks(&rig.shared, 4096).unwrap(), []);
        rig.end();
        // Unless the watcher is told where mail lies.
        let folder = std::env::temp_dir().join(format!("torpor-all-{}", std::process::id()));
        let mut rig = Rig::with_homes(&folder, Some(folder.clone()));
        let worker = rig.worker(&["new", "cur"], MAIL);
        assert_eq!(rig.shared(&worker, later()).0.len(), 2);
        rig.end();
        fs::remove_dir_all(folder).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn a_retired_descriptor_loses_its_watches_now_and_closes_later() {
    let mut rig = Rig::new();
    let worker = rig.worker(&["new", "cur"], MAIL);
    let (reader, writer) = pipe().unwrap();
    for notify in [worker.as_fd().try_clone_to_owned().unwrap(), reader] {
        rig.watcher.order(WatchOrder::Retire { slot: 0 }, Some(notify));
    }
    // Each removed watch is told of on the descriptor itself.
    assert!(readable(&worker, 5000));
    rig.end();
    assert_eq!(fdinfo::marks(&worker, 4096).unwrap(), [], "removed by hand");
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
}
