//! On the kernel that the tests run on, as root (CAP_BPF and CAP_PERFMON).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::token::Kind;

fn token(slot: u32) -> Token {
    Token::new(Kind::Item, 7, slot)
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    client.set_nodelay(true).expect("a socket");
    (listener.accept().expect("connected").0, client)
}

fn told(dense: &mut Dense) -> Vec<Token> {
    let mut bytes = Vec::new();
    dense.drain(256, &mut bytes);
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| Token::from_bits(u64::from_ne_bytes(*word)).expect("ours")).collect()
}

/// What comes in on loopback has come when the write returns, or soon after.
fn told_soon(dense: &mut Dense) -> Vec<Token> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let tokens = told(dense);
        if !tokens.is_empty() || Instant::now() > patience {
            return tokens;
        }
    }
}

fn dense(slots: u32) -> Option<Dense> {
    match Dense::create(slots) {
        Ok(dense) => Some(dense),
        Err(why) => {
            assert!(!nix::unistd::geteuid().is_root(), "root is refused: {why}");
            println!("NOT TESTED: dense sleep. {why}");
            None
        }
    }
}

#[test]
fn a_tagged_socket_tells_once_of_bytes_and_of_its_end() {
    let Some(mut dense) = dense(16) else { return };
    let ((ours, mut client), (other, mut stranger)) = (pair(), pair());
    dense.add(ours.as_fd(), token(3)).expect("armed");
    stranger.write_all(b"not tagged").expect("sent");
    drop(other);
    assert_eq!(told(&mut dense), []);
    client.write_all(b"DONE").expect("sent");
    assert_eq!(told_soon(&mut dense), [token(3)]);
    client.write_all(b"\r\n").expect("sent");
    assert_eq!(told(&mut dense), [], "one event is enough");
    assert!(dense.delete(ours.as_fd(), 3) && !dense.delete(ours.as_fd(), 3));
    assert_eq!(SockRef::from(&ours).tcp_notsent_lowat().expect("an option"), 0, "as it was");
    assert_eq!(dense.add(ours.as_fd(), token(3)), Err(Errno::EAGAIN), "it is to be heard");
    (&ours).read_exact(&mut [0; 6]).expect("all of it is there");
    dense.add(ours.as_fd(), token(4)).expect("armed in another slot");
    drop(client);
    assert_eq!(told_soon(&mut dense), [token(4)]);
}

#[test]
fn a_reset_is_told() {
    let Some(mut dense) = dense(4) else { return };
    let (ours, client) = pair();
    dense.add(ours.as_fd(), token(0)).expect("armed");
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(client);
    assert_eq!(told_soon(&mut dense), [token(0)]);
}

/// Anybody may set the option, and -1 even means something.
#[test]
fn a_forged_tag_is_nobody() {
    let Some(mut dense) = dense(4) else { return };
    let ((ours, _client), (forger, mut far)) = (pair(), pair());
    dense.add(ours.as_fd(), token(1)).expect("armed");
    for lowat in [TAG | 1, TAG | 3, u32::MAX] {
        SockRef::from(&forger).set_tcp_notsent_lowat(lowat).expect("an option");
        far.write_all(b"x").expect("sent");
    }
    (&forger).read_exact(&mut [0; 3]).expect("they have come");
    assert_eq!(told(&mut dense), []);
}

fn swept(dense: &mut Dense, is_audible: impl Fn(u32) -> bool) -> Vec<Token> {
    let mut bytes = Vec::new();
    dense.sweep(256, is_audible, &mut bytes);
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| Token::from_bits(u64::from_ne_bytes(*word)).expect("ours")).collect()
}

fn is_sweep_due(dense: &Dense) -> bool {
    let mut timer = [PollFd::new(dense.sweep_timer(), PollFlags::POLLIN)];
    poll(&mut timer, PollTimeout::from(100_u8)).expect("a poll") == 1
}

/// A slot that is let and left while nobody reads fills the ring buffer by itself.
#[test]
fn an_event_without_room_is_counted_and_swept() {
    let Some(mut dense) = dense(4) else { return };
    let ((ours, mut client), (other, mut late)) = (pair(), pair());
    // The kernel leaves the last place of a ring buffer empty.
    for _ in 1..PAGE_BYTES / EVENT_BYTES {
        dense.add(ours.as_fd(), token(0)).expect("armed");
        client.write_all(b"x").expect("sent");
        (&ours).read_exact(&mut [0]).expect("it has come");
    }
    assert!(dense.delete(ours.as_fd(), 0));
    dense.add(other.as_fd(), token(1)).expect("armed");
    late.write_all(b"DONE").expect("sent");
    let patience = Instant::now() + Duration::from_secs(5);
    while dense.lost() == 0 && Instant::now() < patience {}
    assert_eq!((dense.lost(), dense.sleepers()), (1, 1));
    assert!(!is_sweep_due(&dense), "nobody has looked");
    assert_eq!(told(&mut dense), [], "nobody's events but of who has left");
    assert!(is_sweep_due(&dense));
    assert_eq!(swept(&mut dense, |_| panic!("it is known that it stirred")), [token(1)]);
    assert!(!is_sweep_due(&dense), "one sweep for each loss");
    assert_eq!(dense.found(), 0);
}

/// As if the programs had failed: the socket has lost its tag.
#[test]
fn a_sweep_asks_the_sockets_themselves() {
    let Some(mut dense) = dense(100) else { return };
    let ((quiet, _client), (ours, mut client)) = (pair(), pair());
    dense.add(quiet.as_fd(), token(98)).expect("armed");
    dense.add(ours.as_fd(), token(99)).expect("armed");
    SockRef::from(&ours).set_tcp_notsent_lowat(0).expect("an option");
    client.write_all(b"DONE").expect("sent");
    while !has_something(ours.as_fd()) {}
    assert_eq!(told(&mut dense), []);
    let is_audible = |slot| has_something(if slot == 98 { quiet.as_fd() } else { ours.as_fd() });
    assert_eq!(swept(&mut dense, is_audible), [], "the first 64 slots");
    assert_eq!(swept(&mut dense, is_audible), [token(99)]);
    assert_eq!((dense.found(), dense.lost(), dense.sleepers()), (1, 0, 2));
}

#[test]
fn what_is_not_tcp_is_refused() {
    let Some(mut dense) = dense(4) else { return };
    let (ours, _client) = UnixStream::pair().expect("a pair");
    assert!(matches!(dense.add(ours.as_fd(), token(1)), Err(errno) if errno != Errno::EAGAIN));
    assert!(!dense.delete(ours.as_fd(), 1));
}

/// An heir has the maps alone, and events that came while nobody was there.
#[test]
fn an_heir_hears_what_the_dead_have_armed() {
    use std::os::fd::IntoRawFd;
    let Some(mut dense) = dense(4) else { return };
    let (ours, mut client) = pair();
    dense.add(ours.as_fd(), token(2)).expect("armed");
    let copies = dense.descriptors().map(|map| map.try_clone_to_owned().expect("dup"));
    let [records, events] = copies.map(IntoRawFd::into_raw_fd);
    client.write_all(b"x").expect("sent");
    let mut heir = Dense::inherit(4, records, events).expect("mapped");
    assert_eq!(told_soon(&mut heir), [token(2)]);
    assert!(heir.delete(ours.as_fd(), 2));
}
