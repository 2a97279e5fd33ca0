//! Looking at mailboxes that others write to. The kernel tells of what happens on this host alone,
//! so here, where everything does, a change is made that no watch was asked for.

use super::*;

const PERIOD: Duration = Duration::from_millis(200);

/// A rig whose folder counts as one that others write to.
fn rig() -> Option<Rig> {
    if !privileged() {
        return None;
    }
    let folder = std::env::temp_dir();
    let ways = Ways { poll: Some(PERIOD), poll_folders: vec![folder.clone()], ..Ways::default() };
    Some(Rig::with(&folder, ways, None))
}

impl Rig {
    /// What the watcher has seen within this time.
    fn seen(&mut self, wait: Duration) -> Option<WatchEvent> {
        let end = std::time::Instant::now() + wait;
        loop {
            let event = self.watcher.watched();
            if event.is_some() || std::time::Instant::now() > end {
                return event;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn what_no_watch_tells_is_seen_in_a_mailbox_of_any_format() {
    let Some(mut rig) = rig() else { return };
    let log = rig.home.join("dovecot.index.log");
    fs::write(&log, b"x").unwrap();
    let only_ends = AddWatchFlags::IN_DELETE_SELF;
    // The kernel lists the last watch first.
    let (maildir, _) = rig.shared(&rig.worker(&["cur", "new"], only_ends), later());
    let (index, _) = rig.shared(&rig.worker(&["dovecot.index.log"], only_ends), later());
    assert_eq!(rig.seen(3 * PERIOD), None, "nothing has happened");
    for (path, wd) in [("cur/1:2,S", maildir[1]), ("dovecot.index.log", index[0])] {
        fs::write(rig.home.join(path), b"more").unwrap();
        assert_eq!(rig.seen(10 * PERIOD).map(|event| event.wd), Some(wd), "{path}");
        assert_eq!(rig.seen(2 * PERIOD), None, "it is told once");
    }
    assert_eq!(rig.events(), [], "none of it by the kernel");
    rig.release(&index);
    rig.watcher.order(WatchOrder::Release { wd: maildir[0] }, None);
    rig.watcher.flush();
    thread::sleep(PERIOD / 4);
    fs::write(&log, b"and more").unwrap();
    assert_eq!(rig.seen(3 * PERIOD), None, "nobody sleeps there any more");
    fs::remove_file(rig.home.join("cur/1:2,S")).unwrap();
    fs::remove_dir(rig.home.join("cur")).unwrap();
    assert_eq!(rig.seen(10 * PERIOD).map(|event| event.wd), Some(maildir[1]), "it is gone");
    rig.end();
}

/// The second to fall asleep has seen what the first has not.
#[test]
fn a_newcomer_hides_no_change_from_who_sleeps_already() {
    let Some(mut rig) = rig() else { return };
    let only_ends = AddWatchFlags::IN_DELETE_SELF;
    let (wds, _) = rig.shared(&rig.worker(&["new"], only_ends), later());
    fs::write(rig.home.join("new/1"), b"x").unwrap();
    assert_eq!(rig.shared(&rig.worker(&["new"], only_ends), later()).0, wds);
    assert_eq!(rig.seen(10 * PERIOD).map(|event| event.wd), Some(wds[0]));
    rig.end();
}

#[test]
fn a_folder_to_poll_that_is_not_there_is_an_error() {
    let ways = Ways { poll_folders: vec!["/nowhere".into()], ..Ways::default() };
    let (_near, far) = connection();
    assert!(serve(far, ways).is_err());
}
