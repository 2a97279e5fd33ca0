//! What the engine relies on in epoll, on the kernel that the tests run on.

use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::token::Kind;

fn token(slot: u32) -> Token {
    Token::new(Kind::Item, 1, slot)
}

fn ready(items: &mut Items) -> Vec<Token> {
    let mut bytes = Vec::new();
    items.ready(|_| false, &mut bytes).expect("a look");
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| Token::from_bits(u64::from_ne_bytes(*word)).expect("ours")).collect()
}

#[test]
fn an_event_is_told_until_its_item_is_deleted() {
    let mut items = Items::create().expect("a set");
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    let (other, _quiet) = UnixStream::pair().expect("a pair");
    items.add(ours.as_fd(), token(7)).expect("added");
    items.add(other.as_fd(), token(8)).expect("under the same number");
    assert_eq!(ready(&mut items), []);
    client.write_all(b"DONE\r\n").expect("sent");
    assert_eq!([ready(&mut items), ready(&mut items)], [[token(7)], [token(7)]], "level-triggered");
    items.delete(ours.as_fd(), 7);
    assert_eq!(ready(&mut items), []);
    items.add(ours.as_fd(), token(9)).expect("added anew");
    assert_eq!(ready(&mut items), [token(9)], "what came in between is told");
    items.add(ours.as_fd(), token(10)).expect("renewed");
    assert_eq!(ready(&mut items), [token(10)]);
}

/// The number would keep the last client's connection open.
#[test]
fn nobody_is_held_open() {
    let mut items = Items::create().expect("a set");
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    items.add(ours.as_fd(), token(7)).expect("added");
    drop(ours);
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    assert_eq!(ready(&mut items), [], "the item went with the file");
}

#[test]
fn an_end_of_either_kind_is_told() {
    let mut items = Items::create().expect("a set");
    let (ours, client) = UnixStream::pair().expect("a pair");
    items.add(ours.as_fd(), token(1)).expect("added");
    client.shutdown(std::net::Shutdown::Write).expect("half an end");
    assert_eq!(ready(&mut items), [token(1)]);
    let (other, client) = UnixStream::pair().expect("a pair");
    items.delete(ours.as_fd(), 7);
    items.add(other.as_fd(), token(2)).expect("added");
    drop(client);
    assert_eq!(ready(&mut items), [token(2)]);
}

#[test]
fn an_heir_deletes_what_the_dead_have_added() {
    // A number of its own, or another test would take it in between.
    let mut items = Items::above(900).expect("a set");
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    items.add(ours.as_fd(), token(7)).expect("added");
    let set = items.set().try_clone_to_owned().expect("dup").into_raw_fd();
    let number = items.number();
    let taken = Items::inherit(set, number).err().expect("the dead one still has it");
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let set = items.set().try_clone_to_owned().expect("dup").into_raw_fd();
    drop(items);
    let mut heir = Items::inherit(set, number).expect("its number is free");
    client.write_all(b"x").expect("sent");
    assert_eq!(ready(&mut heir), [token(7)]);
    heir.delete(ours.as_fd(), 7);
    assert_eq!(ready(&mut heir), []);
}
