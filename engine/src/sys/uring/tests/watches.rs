//! The inotify instance, the doorbell and notify descriptors that are kept.

use std::fs::File;
use std::os::fd::{AsFd, IntoRawFd};
use std::thread;

use nix::sys::inotify::AddWatchFlags;
use nix::unistd::{pipe, write};

use crate::ring::{Op, Ring};
use crate::sys::main_ring::MainRing;
use crate::sys::setup::Abilities;
use crate::token::Kind;

use super::rig::{Rig, limits, token};

/// Both ways to read: one arm for all, and one after the other.
fn rigs() -> impl Iterator<Item = (bool, Rig)> {
    let abilities = Abilities::look().unwrap();
    let ways = [true, false].into_iter().filter(move |many| abilities.read_multishot || !many);
    ways.map(move |many| (many, Rig::with(Abilities { read_multishot: many, epoll_wait: many })))
}

#[test]
fn events_of_the_shared_instance_come_with_their_bytes() {
    for (many, mut rig) in rigs() {
        let home = std::env::temp_dir().join(format!("torpor-watch-{}-{many}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let wd = rig.inotify.add_watch(&home, AddWatchFlags::IN_CREATE).unwrap();
        let token = token(Kind::Watch, 0);
        rig.push(Op::ReadWatch { token });
        assert!(rig.turn(10).is_empty());
        for name in ["one", "two"] {
            File::create(home.join(name)).unwrap();
            let (done, bytes) = rig.one();
            assert_eq!((done.token, done.more, bytes.len()), (token, many, 32));
            assert_eq!(bytes[..4], wd.as_raw().to_ne_bytes());
            assert_eq!(&bytes[16..19], name.as_bytes());
            if !done.more {
                rig.push(Op::ReadWatch { token });
            }
        }
        std::fs::remove_dir_all(&home).unwrap();
    }
}

/// Read by the kernel for an engine that never saw them: they are gone from the instance, and lie
/// where an heir finds them.
#[test]
fn events_that_a_dead_engine_had_read_are_there_for_its_heir() {
    for (many, _) in rigs() {
        let name = format!("torpor-heir-{}-{many}", std::process::id());
        let home = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let (abilities, mut held) = (Abilities { read_multishot: many, epoll_wait: many }, None);
        let mut rig = Rig::over(abilities, |lasting| {
            let both = lasting.main.descriptors();
            held = Some(both.map(|held| held.try_clone_to_owned().unwrap().into_raw_fd()));
        });
        let wd = rig.inotify.add_watch(&home, AddWatchFlags::IN_CREATE).unwrap();
        let token = token(Kind::Watch, 0);
        rig.push(Op::ReadWatch { token });
        assert!(rig.turn(10).is_empty());
        File::create(home.join("one")).unwrap();
        rig.ring.enter(Some(50)).unwrap();
        let mut ring = MainRing::inherit(&limits(), held.expect("just set")).unwrap();
        let rest = ring.rest(&limits(), 0).unwrap();
        let [(done, bytes)] = &rest[..] else { panic!("{rest:?}") };
        assert_eq!((done.token, done.result, done.more), (token, 32, many));
        assert_eq!((&bytes[..4], &bytes[16..19]), (&wd.as_raw().to_ne_bytes()[..], &b"one"[..]));
        std::fs::remove_dir_all(&home).unwrap();
    }
}

#[test]
fn the_doorbell_wakes_a_waiting_ring_from_another_thread() {
    for (many, mut rig) in rigs() {
        let token = token(Kind::Doorbell, 0);
        rig.push(Op::ReadDoorbell { token });
        let bell = rig.bell.as_fd().try_clone_to_owned().unwrap();
        let ringer = thread::spawn(move || write(bell, &1u64.to_ne_bytes()));
        let (done, _) = rig.one();
        assert_eq!((done.token, done.result, done.more), (token, 8, many));
        ringer.join().unwrap().unwrap();
    }
}

#[test]
fn a_kept_descriptor_is_polled_once() {
    let (reader, writer) = pipe().unwrap();
    let mut rig = Rig::new();
    rig.ring.seat_notify(5, reader);
    let token = token(Kind::Notify, 5);
    rig.push(Op::PollNotify { token, slot: 5 });
    assert!(rig.turn(10).is_empty());
    write(&writer, b"x").unwrap();
    let (done, _) = rig.one();
    assert_eq!((done.token, done.more), (token, false));
    assert_eq!(done.result & i32::from(libc::POLLIN), i32::from(libc::POLLIN));
    drop(rig.ring.unseat_notify(5));
    assert_eq!(write(&writer, b"x"), Err(nix::errno::Errno::EPIPE));
}

#[test]
fn a_ring_may_be_made_here_and_used_there() {
    let mut rig = Rig::new();
    rig.push(Op::ReadDoorbell { token: token(Kind::Doorbell, 0) });
    let used = thread::spawn(move || {
        rig.bell.write(1).unwrap();
        rig.one();
        rig
    });
    let mut rig = used.join().unwrap();
    let refused = rig.ring.enter(Some(1)).unwrap_err().raw_os_error();
    assert_eq!(refused, Some(libc::EEXIST), "the other thread is its issuer now");
}
