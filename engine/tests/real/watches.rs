//! Sleepers whose mailbox the kernel speaks of no more, or not often enough.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use torpor_engine::watcher::Marks;

use super::*;

/// A mark on this folder's filesystem, if we may make one.
fn mark(home: &Path) -> Option<Marks> {
    let marks = Marks::make(&[PathBuf::from(home)]).0;
    assert!(marks.is_some() || !geteuid().is_root(), "root may make marks");
    marks
}

/// Two mailboxes with a sleeper each; `act` happens to the first, while nobody looks. So many wake.
fn woken(wakes: usize, act: impl Fn(&Path)) {
    woken_in(&std::env::temp_dir(), wakes, act);
}

fn woken_in(folder: &Path, wakes: usize, act: impl Fn(&Path)) {
    woken_after(folder, |_| {}, wakes, act);
}

/// The same in mailboxes of which the first was prepared.
fn woken_after(folder: &Path, prepare: impl Fn(&Path), wakes: usize, act: impl Fn(&Path)) {
    alone(|_| {
        let home = folder.join(format!("torpor-watched-{}", std::process::id()));
        for marked in [false, true] {
            let marks = if marked { mark(folder) } else { None };
            if marked && marks.is_none() {
                return;
            }
            let (first, second) = (home.join("first"), home.join("second"));
            for mailbox in [&first, &second] {
                fs::create_dir_all(mailbox).unwrap();
            }
            prepare(&first);
            // Made well before anybody sleeps there.
            thread::sleep(Duration::from_millis(50));
            let mut engine = Engine::hearing(16, marks);
            let _clients = [&first, &second].map(|mailbox| engine.hibernate(mailbox, true));
            engine.turn_for(Duration::from_millis(50));
            assert_eq!((engine.counters().asleep, engine.counters().mailboxes), (2, 2));
            act(&first);
            engine.turn_until(|engine| engine.counters().wakes_change >= wakes as u64);
            engine.turn_for(Duration::from_millis(50));
            assert_eq!(engine.counters().wakes_change, wakes as u64, "marked: {marked}");
            assert_eq!(engine.counters().mailboxes, 2 - wakes as u64, "their watches are let go");
            for _ in 0..wakes {
                let wake = engine.wake();
                engine.end(wake, Outcome::Taken);
            }
            engine.driver.desk.orders.push_back(Command::Stop { ticket: 1 });
            engine.turn_until(|engine| engine.stopped);
            engine.close();
            fs::remove_dir_all(&home).unwrap();
        }
    });
}

#[test]
fn mail_wakes_those_of_its_mailbox_once() {
    woken(1, |mailbox| {
        fs::write(mailbox.join("1"), b"x").unwrap();
        fs::write(mailbox.join("2"), b"x").unwrap();
    });
}

#[test]
fn a_deleted_mailbox_wakes_its_sleepers() {
    woken(1, |mailbox| fs::remove_dir(mailbox).unwrap());
}

/// As Dovecot renames a mailbox: what is watched goes along, and mail that comes there is heard.
#[test]
fn a_renamed_mailbox_is_heard_where_it_is() {
    woken(1, |mailbox| {
        let elsewhere = mailbox.with_file_name("third");
        fs::rename(mailbox, &elsewhere).unwrap();
        fs::write(elsewhere.join("1"), b"x").unwrap();
    });
}

/// More happens in one mailbox than the kernel's queue holds: what was lost may be another's.
#[test]
fn lost_events_wake_everybody() {
    let limit = |kind: &str| {
        let text = fs::read_to_string(format!("/proc/sys/fs/{kind}/max_queued_events"));
        text.unwrap().trim().parse::<u32>().unwrap()
    };
    let most = limit("inotify").max(limit("fanotify"));
    woken_in(Path::new("/dev/shm"), 2, |mailbox| {
        // Names of their own, so that no two events are one; and contents, so that a mark tells of
        // each file.
        (0..most + 100).for_each(|number| {
            fs::write(mailbox.join(number.to_string()), b"x").unwrap();
        });
    });
}

/// The kernel ends the watches of a filesystem that goes, with a word to each (IN_UNMOUNT). In the
/// mounts of a thread, which nobody else sees.
#[test]
fn an_unmounted_mailbox_wakes_its_sleepers() {
    if !geteuid().is_root() {
        println!("not tested: mounting takes root");
        return;
    }
    let test = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let put = |mailbox: &Path| {
            let kind = Some("tmpfs");
            mount(kind, mailbox, kind, MsFlags::empty(), None::<&str>).unwrap();
        };
        woken_after(&std::env::temp_dir(), put, 1, |mailbox| {
            // The watcher holds mount points for a second.
            while umount(mailbox) == Err(Errno::EBUSY) {
                thread::sleep(Duration::from_millis(50));
            }
        });
    });
    assert!(test.join().is_ok());
}
