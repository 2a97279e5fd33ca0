//! The epoll set, looked at through the ring, on clients that sit in the vault.

use std::io::Write;

use crate::ring::{Op, Ring};
use crate::sys::dense::Dense;
use crate::sys::setup::Abilities;
use crate::token::{Kind, Token};

use super::rig::{Rig, tcp, token, unix};

/// Both ways to look: by the ring itself, and by a poll of the set.
fn rigs() -> impl Iterator<Item = Rig> {
    let abilities = Abilities::look().unwrap();
    let ways = [true, false].into_iter().filter(move |own| abilities.epoll_wait || !own);
    ways.map(move |epoll_wait| Rig::with(Abilities { epoll_wait, ..abilities }))
}

fn told(bytes: &[u8]) -> Vec<Token> {
    let (words, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    words.iter().map(|word| Token::from_bits(u64::from_ne_bytes(*word)).unwrap()).collect()
}

#[test]
fn a_sleeper_stirs_until_it_is_deleted_and_then_is_received_from() {
    for mut rig in rigs() {
        let (ours, mut client) = tcp();
        let (other, _quiet) = unix();
        rig.ring.seat_client(3, ours);
        rig.ring.seat_client(4, other);
        let (look, item) = (token(Kind::Items, 0), token(Kind::Item, 3));
        rig.push(Op::ReadItems { token: look });
        rig.push(Op::AddItem { token: item, slot: 3 });
        rig.push(Op::AddItem { token: token(Kind::Item, 4), slot: 4 });
        assert!(rig.turn(20).is_empty(), "nobody has spoken");
        client.write_all(b"DONE\r\n").unwrap();
        for _ in 0..2 {
            let (done, bytes) = rig.one();
            assert_eq!((done.token, done.result, done.more), (look, 8, false));
            assert_eq!(told(&bytes), [item], "as long as it is in");
            rig.push(Op::ReadItems { token: look });
        }
        // The look that was queued before it was deleted finds it; the next does not.
        rig.turn(0);
        rig.push(Op::DeleteItem { slot: 3 });
        rig.push(Op::ReadItems { token: look });
        assert!(rig.turn(20).is_empty());
        rig.receive(3);
        assert_eq!(rig.one().1, b"DONE\r\n", "all of it is there");
        drop(rig.ring.unseat_client(3));
        rig.push(Op::DeleteItem { slot: 4 });
        drop(rig.ring.unseat_client(4));
    }
}

/// A file is always readable, so epoll does not take it (EPERM).
#[test]
fn an_item_that_is_refused_says_so_and_may_be_deleted() {
    let mut rig = Rig::new();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    rig.ring.seat_client(0, file.into());
    rig.push(Op::AddItem { token: token(Kind::Item, 0), slot: 0 });
    let (done, _) = rig.one();
    assert_eq!((done.token, done.result), (token(Kind::Item, 0), -libc::EPERM));
    rig.push(Op::DeleteItem { slot: 0 });
    assert!(rig.turn(0).is_empty());
}

/// Two sleepers without items and one with, since it is not TCP, told through one look.
#[test]
fn dense_sleepers_are_told_through_the_same_set() {
    let Ok(dense) = Dense::create(16) else {
        assert!(!nix::unistd::geteuid().is_root(), "root may load programs");
        return;
    };
    let abilities = Abilities::look().unwrap();
    let mut rig = Rig::over(abilities, |lasting| lasting.items.use_dense(dense).unwrap());
    let ((first, mut client), (second, _quiet), (third, mut other)) = (tcp(), tcp(), unix());
    for (slot, ours) in (3..).zip([first, second, third]) {
        rig.ring.seat_client(slot, ours);
        rig.push(Op::AddItem { token: token(Kind::Item, slot), slot });
    }
    let look = token(Kind::Items, 0);
    rig.push(Op::ReadItems { token: look });
    assert!(rig.turn(20).is_empty(), "nobody has spoken");
    client.write_all(b"DONE\r\n").unwrap();
    assert_eq!(told(&rig.one().1), [token(Kind::Item, 3)]);
    rig.push(Op::DeleteItem { slot: 3 });
    rig.push(Op::ReadItems { token: look });
    assert!(rig.turn(20).is_empty(), "told once");
    rig.receive(3);
    assert_eq!(rig.one().1, b"DONE\r\n");
    other.write_all(b"DONE\r\n").unwrap();
    assert_eq!(told(&rig.one().1), [token(Kind::Item, 5)]);
    // What is there before it is armed is not waited for.
    client.write_all(b"x").unwrap();
    rig.push(Op::AddItem { token: token(Kind::Item, 3), slot: 3 });
    let (done, _) = rig.one();
    assert_eq!((done.token, done.result), (token(Kind::Item, 3), -libc::EAGAIN));
}
