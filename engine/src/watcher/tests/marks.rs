//! Marks on whole filesystems, as the kernel has them.

use std::os::unix::fs::MetadataExt;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::marks;
use crate::watch::{MARKS_LOST, is_marked};

/// A rig whose folder lies on a marked filesystem, and what the ring would read of the marks.
struct Marked {
    rig: Rig,
    source: OwnedFd,
}

impl Marked {
    /// `None`, aloud, without the privilege.
    fn new(folder: &Path) -> Option<Self> {
        let admin = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap();
        if !admin || !privileged() {
            println!("not tested: marks take CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH");
            return None;
        }
        let (marks, complaints) = Marks::make(&[folder.to_owned()]);
        assert_eq!(complaints, [""; 0]);
        let marks = marks.expect("nobody complained");
        let source = marks.source().unwrap();
        let rig = Rig::with(folder, Ways::default(), Some(marks));
        Some(Self { rig, source })
    }

    /// Numbers and masks of what was told since the last time; others write to the disk, too.
    fn told(&self, wds: &[i32]) -> Vec<(i32, u32)> {
        let (mut told, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count) = read(&self.source, &mut buffer) {
            let events = marks::events(&buffer[..count]);
            told.extend(events.map(|event| (event.wd, event.mask)));
        }
        told.retain(|(wd, _)| wds.contains(wd) || *wd == MARKS_LOST);
        told
    }
}

#[test]
fn everything_that_happens_below_a_mark_is_heard_without_watches() {
    for folder in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let Some(Marked { mut rig, source }) = Marked::new(&folder) else { return };
        let home = rig.home.clone();
        fs::write(home.join("index.log"), b"x").unwrap();
        fs::create_dir(home.join("other")).unwrap();
        let mail = MAIL | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MODIFY;
        let (wds, changed) = rig.shared(&rig.worker(&["new", "cur", "index.log"], mail), later());
        let (others, _) = rig.shared(&rig.worker(&["other"], mail), later());
        assert!(!changed && wds.iter().chain(&others).all(|wd| is_marked(*wd)));
        assert_eq!(fdinfo::marks(&rig.shared, 4096).unwrap(), [], "no inode is pinned");
        // The kernel lists the last watch first.
        let [index, cur, new] = wds[..] else { panic!("{wds:?}") };
        let marked = Marked { rig, source };
        let all = [new, cur, index, others[0]];
        marked.told(&all);
        let act = |what: &str, told: &[i32], act: &dyn Fn()| {
            act();
            let mut heard: Vec<i32> = marked.told(&all).iter().map(|(wd, _)| *wd).collect();
            heard.dedup();
            assert_eq!(heard, told, "{what} on {folder:?}");
        };
        let path = |name: &str| home.join(name);
        act("delivered", &[new], &|| fs::write(path("new/1"), b"x").unwrap());
        act("moved", &[new, cur], &|| fs::rename(path("new/1"), path("cur/1:2,S")).unwrap());
        act("flagged", &[cur], &|| fs::rename(path("cur/1:2,S"), path("cur/1:2,")).unwrap());
        act("expunged", &[cur], &|| fs::remove_file(path("cur/1:2,")).unwrap());
        act("logged", &[index], &|| fs::write(path("index.log"), b"y").unwrap());
        act("of another mailbox", &[others[0]], &|| fs::write(path("other/1"), b"x").unwrap());
        act("of nobody", &[], &|| fs::write(path("tmp"), b"x").unwrap());
        // As a rename of its folder in Dovecot: what is watched goes along.
        act("renamed", &[], &|| fs::rename(path("cur"), path("gone")).unwrap());
        act("after it", &[cur], &|| fs::write(path("gone/1"), b"x").unwrap());
        act("deleted", &[new], &|| fs::remove_dir(path("new")).unwrap());
        marked.rig.end();
    }
}

#[test]
fn a_mailbox_on_another_filesystem_gets_watches() {
    let Some(Marked { mut rig, .. }) = Marked::new(Path::new("/dev/shm")) else { return };
    let elsewhere = Rig::new();
    assert_ne!(
        fs::metadata(&elsewhere.home).unwrap().dev(),
        fs::metadata(&rig.home).unwrap().dev(),
        "the tests' folder is not on /dev/shm"
    );
    let (wds, _) = rig.shared(&elsewhere.worker(&["new", "cur"], MAIL), later());
    assert!(wds.iter().all(|wd| !is_marked(*wd)));
    fs::write(elsewhere.home.join("new/1"), b"x").unwrap();
    assert_eq!(rig.events().len(), 1);
    elsewhere.end();
    rig.end();
}

/// A mark tells of what Dovecot asks for. Who asks for more is not told less.
#[test]
fn who_asks_for_more_than_a_mark_tells_gets_watches() {
    let Some(Marked { mut rig, .. }) = Marked::new(Path::new("/dev/shm")) else { return };
    for (more, marked) in [(AddWatchFlags::IN_MODIFY, true), (AddWatchFlags::IN_ATTRIB, false)] {
        let (wds, _) = rig.shared(&rig.worker(&["new"], MAIL | more), later());
        assert_eq!(is_marked(wds[0]), marked, "{more:?}");
    }
    rig.end();
}

/// What happened before the mark is found as ever.
#[test]
fn a_marked_mailbox_is_looked_at_for_late_changes() {
    let Some(Marked { mut rig, .. }) = Marked::new(Path::new("/dev/shm")) else { return };
    let worker = rig.worker(&["new"], MAIL);
    fs::write(rig.home.join("new/1.mail"), b"x").unwrap();
    assert!(rig.shared(&worker, later()).1, "an unread event on the passed descriptor");
    let past = SystemTime::now() - Duration::from_secs(60);
    assert!(rig.shared(&rig.worker(&["new"], MAIL), past).1);
    rig.end();
}

/// In namespaces of a thread, where nobody else sees the mount.
#[test]
fn an_unmounted_filesystem_is_lost_aloud_and_watched_when_it_comes_back() {
    thread::spawn(|| {
        let Some(spare) = Marked::new(Path::new("/dev/shm")) else { return };
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let point = spare.rig.home.join("new");
        let put = || {
            let (kind, flags) = (Some("tmpfs"), MsFlags::empty());
            mount(Some("tmpfs"), &point, kind, flags, None::<&str>).unwrap();
        };
        put();
        let Marked { mut rig, source } = Marked::new(&point).unwrap();
        let (wds, _) = rig.shared(&rig.worker(&["new"], MAIL), later());
        assert!(is_marked(wds[0]));
        // The watcher holds mount points for a second.
        while umount(&point) == Err(Errno::EBUSY) {
            thread::sleep(Duration::from_millis(50));
        }
        assert!(readable(&rig.bell, 5000), "its sleepers would never wake again");
        rig.bell.read().unwrap();
        assert_eq!(rig.watcher.watched().map(|event| event.wd), Some(MARKS_LOST));
        put();
        fs::create_dir_all(rig.home.join("new")).unwrap();
        let (wds, _) = rig.shared(&rig.worker(&["new"], MAIL), later());
        assert!(!is_marked(wds[0]), "no mark, but a watch");
        drop(source);
        let Rig { watcher, served, shared, .. } = rig;
        watcher.join();
        served.unwrap().join().unwrap().unwrap();
        drop(shared);
        umount(&point).unwrap();
        spare.rig.end();
    })
    .join()
    .unwrap();
}

#[test]
fn what_cannot_be_marked_is_said_in_a_line_each_with_knob_and_cost() {
    thread::spawn(|| {
        // A file server would tell nobody of what others do there.
        let folders = [PathBuf::from("/nowhere"), PathBuf::from("/proc")];
        let (marks, lines) = Marks::make(&folders);
        assert!(marks.is_none());
        assert_eq!(lines.len(), 2, "{lines:?}");
        caps::drop(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap();
        let (marks, lines) = Marks::make(&[std::env::temp_dir()]);
        assert!(marks.is_none());
        assert!(lines[0].starts_with("host: watch.fanotify_dirs: /"), "{lines:?}");
        assert!(
            lines[0].contains("CAP_SYS_ADMIN") && lines[0].contains("inotify watches"),
            "{lines:?}"
        );
    })
    .join()
    .unwrap();
}

/// More files than the queue holds are written to, and nobody reads meanwhile.
#[test]
fn a_full_queue_is_told_of_as_lost_events() {
    let Some(marked) = Marked::new(Path::new("/dev/shm")) else { return };
    for number in 0..queued_events_max("fanotify") + 100 {
        fs::write(marked.rig.home.join(format!("new/{number}")), b"x").unwrap();
    }
    assert_eq!(marked.told(&[]), [(MARKS_LOST, libc::IN_Q_OVERFLOW)]);
    marked.rig.end();
}
