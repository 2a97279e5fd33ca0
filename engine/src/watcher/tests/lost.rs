//! What inotify does not tell, and where it has no more room.

use std::process::Command;

use super::*;

/// More happens than the queue holds, and nobody reads meanwhile.
#[test]
fn a_full_queue_is_told_of_as_an_overflow() {
    if !privileged() {
        return;
    }
    let mut rig = Rig::new();
    rig.shared(&rig.worker(&["new"], MAIL | AddWatchFlags::IN_DELETE), later());
    let mail = rig.home.join("new/1");
    for _ in 0..=queued_events_max("inotify") / 2 {
        fs::write(&mail, b"x").unwrap();
        fs::remove_file(&mail).unwrap();
    }
    let (mut told, mut last) = (0, None);
    loop {
        let events = rig.events();
        told += events.len() as u32;
        let Some(event) = events.last() else { break };
        last = Some(*event);
    }
    assert_eq!(told, queued_events_max("inotify") + 1);
    assert!(last.unwrap().is_overflow(), "{last:?}");
    rig.end();
}

#[test]
fn a_deleted_folder_says_so_and_its_watch_is_gone() {
    if !privileged() {
        return;
    }
    let mut rig = Rig::new();
    // The kernel lists the last watch first.
    let (wds, _) = rig.shared(&rig.worker(&["cur", "new"], MAIL), later());
    fs::remove_dir(rig.home.join("new")).unwrap();
    let ignored = AddWatchFlags::IN_IGNORED.bits();
    assert_eq!(rig.events(), [WatchEvent { wd: wds[0], mask: ignored }]);
    // Its own rename is not: a worker that listens would not hear of it either.
    fs::rename(rig.home.join("cur"), rig.home.join("gone")).unwrap();
    assert_eq!(rig.events(), []);
    fs::write(rig.home.join("gone/1"), b"x").unwrap();
    assert_eq!(rig.events(), [WatchEvent { wd: wds[1], mask: AddWatchFlags::IN_CREATE.bits() }]);
    rig.end();
}

/// In user namespaces, whose limits are their own.
#[test]
fn at_the_limits_of_inotify_descriptors_are_kept_and_knobs_are_named() {
    within("max_inotify_watches", 3, "watcher::tests::lost::without_watches");
    within("max_inotify_instances", 1, "watcher::tests::lost::without_instances");
}

/// Starts a test of this file with one limit of /proc/sys/user set.
fn within(limit: &str, most: u32, test: &str) {
    let script = format!("echo {most} > /proc/sys/user/{limit} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &script, "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test]);
    let ran = command.env(LIMITED, limit).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn without_watches() {
    if std::env::var(LIMITED).as_deref() != Ok("max_inotify_watches") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("torpor-all-{}", std::process::id()));
    let mut rig = Rig::with_homes(&folder, Some(folder.clone()));
    let worker = rig.worker(&["new", "cur"], MAIL);
    assert_eq!(rig.adopt(&worker, later()).0, Adoption::Kept, "room for one of two");
    assert_eq!(fdinfo::marks(&rig.shared, 4096).unwrap(), [], "and that one was given back");
    drop(worker);
    rig.end();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn without_instances() {
    if std::env::var(LIMITED).as_deref() != Ok("max_inotify_instances") {
        return;
    }
    let _first = instance().unwrap();
    let error = instance().unwrap_err().to_string();
    assert!(error.contains("raise fs.inotify.max_user_instances"), "{error}");
}

const LIMITED: &str = "TORPOR_TEST_LIMITED";
