//! What is adopted, heard, let go and closed.

use super::*;

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
        rig.watcher.flush();
    }
    // Each removed watch is told of on the descriptor itself.
    assert!(readable(&worker, 5000));
    rig.end();
    assert_eq!(fdinfo::marks(&worker, 4096).unwrap(), [], "removed by hand");
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
}
