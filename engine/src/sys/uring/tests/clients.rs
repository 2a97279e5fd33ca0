//! Receiving from clients.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::ring::{CLIENT_BUFFER_BYTES, Op, Ring};
use crate::token::Kind;

use super::rig::{Rig, tcp, token, unix};

#[test]
fn bytes_come_and_the_client_is_armed_again() {
    for nonblocking in [false, true] {
        let (ours, mut client) = tcp();
        client.set_nodelay(true).unwrap();
        let socket = std::net::TcpStream::from(ours.try_clone().unwrap());
        socket.set_nonblocking(nonblocking).unwrap();
        let mut rig = Rig::new();
        rig.ring.seat_client(3, ours);
        let token = rig.receive(3);
        assert!(rig.turn(20).is_empty(), "an idle client says nothing");
        client.write_all(b"DO").unwrap();
        let (done, bytes) = rig.one();
        assert_eq!((done.token, done.result, &bytes[..]), (token, 2, &b"DO"[..]));
        assert!(!done.more, "each arm brings one piece");
        rig.receive(3);
        client.write_all(b"NE\r\n").unwrap();
        assert_eq!(rig.one().1, b"NE\r\n");
        rig.receive(3);
        assert_eq!(rig.cancel(token).0.result, -libc::ECANCELED);
        drop(rig.ring.unseat_client(3));
    }
}

#[test]
fn an_orderly_end_is_zero_and_terminal() {
    let ends: [(OwnedFd, Box<dyn Fn()>); 2] = {
        let ((tcp, a), (unix, b)) = (tcp(), unix());
        let (a, b) = (move || a.shutdown(Shutdown::Write), move || b.shutdown(Shutdown::Write));
        [(tcp, Box::new(move || a().unwrap())), (unix, Box::new(move || b().unwrap()))]
    };
    for (ours, end) in ends {
        let mut rig = Rig::new();
        rig.ring.seat_client(0, ours);
        rig.receive(0);
        end();
        let (done, bytes) = rig.one();
        assert_eq!((done.result, done.more, bytes.len()), (0, false, 0));
        drop(rig.ring.unseat_client(0));
    }
}

#[test]
fn a_reset_is_an_error_and_terminal() {
    let (ours, client) = tcp();
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&client, sockopt::Linger, &linger).unwrap();
    let mut rig = Rig::new();
    rig.ring.seat_client(0, ours);
    rig.receive(0);
    rig.turn(0);
    drop(client);
    let (done, _) = rig.one();
    assert_eq!((done.result, done.more), (-libc::ECONNRESET, false));
}

/// The flooder's own bytes stay in its socket, and the pool is hardly touched.
#[test]
fn a_flooder_gets_no_more_than_one_buffer() {
    let (ours, mut client) = unix();
    client.write_all(&[b'x'; 20_000]).unwrap();
    let mut rig = Rig::new();
    rig.ring.seat_client(0, ours);
    rig.receive(0);
    let (done, bytes) = rig.one();
    assert_eq!((bytes.len(), done.more), (CLIENT_BUFFER_BYTES, false));
    assert!(rig.turn(20).is_empty(), "the arm has ended");
    let mut left = std::os::unix::net::UnixStream::from(rig.ring.unseat_client(0));
    drop(client);
    assert_eq!(left.read_to_end(&mut Vec::new()).unwrap(), 20_000 - CLIENT_BUFFER_BYTES);
}

/// Sixteen clients and sixteen buffers, one of them short: nobody loses a byte.
#[test]
fn an_empty_pool_ends_the_arm_and_keeps_the_bytes() {
    let mut rig = Rig::new();
    let mut clients = Vec::new();
    for slot in 0..16 {
        let (ours, client) = unix();
        rig.ring.seat_client(slot, ours);
        rig.receive(slot);
        clients.push(client);
    }
    assert!(rig.turn(20).is_empty(), "an empty socket is not even tried");
    for client in &mut clients {
        // Two pieces each, so that thirty-two buffers are wanted at once.
        client.write_all(&[b'y'; 170]).unwrap();
    }
    let mut got = [0; 16];
    let mut starved = 0;
    for _ in 0..10 {
        for (done, bytes) in rig.turn(20) {
            let slot = done.token.index();
            got[slot as usize] += bytes.len();
            starved += usize::from(done.result == -libc::ENOBUFS);
            if !done.more {
                rig.receive(slot);
            }
        }
    }
    assert_eq!(got, [170; 16], "with {starved} starved arms");
}

/// The kernel gets more buffers where a burst finds too few, and the next one finds enough.
#[test]
fn a_burst_widens_the_pool_for_the_next_one() {
    let mut rig = Rig::of(512);
    let mut clients: Vec<_> = (0..400).map(|slot| seated(&mut rig, slot)).collect();
    let starved = [(); 3].map(|()| {
        clients.iter_mut().for_each(|client| client.write_all(b"DONE\r\n").expect("room"));
        // An engine that is late: the kernel goes on with some at each call.
        (0..clients.len()).for_each(|_| rig.ring.enter(Some(0)).expect("enter"));
        let (mut heard, mut starved) = (0, 0);
        while heard < 6 * clients.len() {
            for (done, bytes) in rig.wait(1) {
                heard += bytes.len();
                starved += usize::from(done.result == -libc::ENOBUFS);
                if !done.more {
                    rig.receive(done.token.index());
                }
            }
        }
        starved
    });
    assert!(starved[0] > 0, "all buffers were given at once: {starved:?}");
    assert_eq!(starved[2], 0, "starved in each burst: {starved:?}");
}

fn seated(rig: &mut Rig, slot: u32) -> std::os::unix::net::UnixStream {
    let (ours, client) = unix();
    rig.ring.seat_client(slot, ours);
    rig.receive(slot);
    client
}

#[test]
fn cancel_leaves_the_bytes_in_the_socket() {
    let (ours, mut client) = tcp();
    let mut rig = Rig::new();
    rig.ring.seat_client(1, ours);
    let target = rig.receive(1);
    rig.turn(0);
    client.write_all(b"DONE\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(5));
    let own = token(Kind::CancelRecv, 1);
    rig.push(Op::Cancel { token: own, target });
    let seen = rig.wait(2);
    let taken: Vec<u8> = seen.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let mut left = [0; 16];
    let mut socket = std::net::TcpStream::from(rig.ring.unseat_client(1));
    socket.set_nonblocking(true).unwrap();
    let count = socket.read(&mut left).unwrap_or(0);
    assert_eq!([&taken[..], &left[..count]].concat(), b"DONE\r\n");
}

#[test]
fn a_cancel_without_target_is_enoent() {
    let mut rig = Rig::new();
    let (own, target) = (token(Kind::CancelRecv, 1), token(Kind::ClientRecv, 1));
    rig.push(Op::Cancel { token: own, target });
    let (done, _) = rig.one();
    assert_eq!((done.token, done.result, done.more), (own, -libc::ENOENT, false));
}

#[test]
#[should_panic(expected = "client 0 has operations in flight")]
fn an_armed_client_cannot_be_let_go() {
    let (ours, _client) = tcp();
    let mut rig = Rig::new();
    rig.ring.seat_client(0, ours);
    rig.receive(0);
    rig.ring.unseat_client(0);
}

/// The submission queue is shorter than a step may be: what does not fit is offered again.
#[test]
fn a_full_queue_takes_nothing() {
    let mut rig = Rig::new();
    let cancel = Op::Cancel { token: token(Kind::CancelRecv, 1), target: token(Kind::ConnRecv, 1) };
    let taken = (0..5000).take_while(|_| rig.ring.push(&cancel, b"")).count();
    assert_eq!(taken, 1024);
    let mut seen = 0;
    while seen < taken {
        let batch = rig.turn(0).len();
        assert!(batch <= crate::ring::BATCH_MAX);
        seen += batch;
    }
    assert!(rig.ring.push(&cancel, b""));
}

/// More completions than the queue holds: they come nevertheless, and a client's bytes are
/// among them.
#[test]
fn an_overflow_loses_nothing() {
    let (ours, mut client) = unix();
    let mut rig = Rig::new();
    rig.ring.seat_client(1, ours);
    let armed = rig.receive(1);
    rig.turn(0);
    let cancel = Op::Cancel { token: token(Kind::CancelRecv, 1), target: token(Kind::Notify, 1) };
    for _ in 0..4 {
        while rig.ring.push(&cancel, b"") {}
        rig.ring.enter(Some(0)).unwrap();
    }
    client.write_all(b"DONE\r\n").unwrap();
    rig.ring.enter(Some(10)).unwrap();
    let seen = rig.wait(4 * 1024 + 1);
    assert!(rig.ring.overflows() > 0, "the queue was too long for this test");
    let of_client: Vec<_> = seen.iter().filter(|(done, _)| done.token == armed).collect();
    let [(done, bytes)] = of_client[..] else { panic!("{of_client:?}") };
    assert_eq!((&bytes[..], done.more), (&b"DONE\r\n"[..], false));
    drop(rig.ring.unseat_client(1));
}

/// Bytes and the end lie ready when the arm comes, or come together afterwards: EOF on TCP and on
/// AF_UNIX, and a reset.
#[test]
fn an_end_behind_bytes_is_not_lost() {
    let reset = || {
        let (ours, client) = tcp();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&client, sockopt::Linger, &linger).unwrap();
        (ours, Box::new(client) as Box<dyn Write>)
    };
    let pair = |(ours, client)| (ours, Box::new(client) as Box<dyn Write>);
    for armed_first in [true, false] {
        let (unix, unix_client) = unix();
        let unix = (unix, Box::new(unix_client) as Box<dyn Write>);
        for ((ours, mut client), end) in [(pair(tcp()), 0), (unix, 0), (reset(), -libc::ECONNRESET)]
        {
            let mut rig = Rig::new();
            rig.ring.seat_client(0, ours);
            if armed_first {
                rig.receive(0);
                rig.turn(0);
            }
            client.write_all(b"DO").unwrap();
            drop(client);
            std::thread::sleep(Duration::from_millis(10));
            if !armed_first {
                rig.receive(0);
            }
            assert_eq!(rig.one().1, b"DO");
            rig.receive(0);
            let (done, _) = rig.one();
            assert_eq!((done.result, done.more), (end, false));
        }
    }
}
