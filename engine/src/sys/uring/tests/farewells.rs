//! Sending to clients, and letting them go.

use std::io::{Read, Write};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{getsockopt, sockopt};

use crate::ring::{Op, Ring};
use crate::token::Kind;

use super::rig::{Rig, span, tcp, token, unix};

#[test]
fn a_send_arrives_and_a_full_socket_does_not_wait() {
    let (ours, mut client) = unix();
    let mut rig = Rig::new();
    rig.ring.seat_client(2, ours);
    let token = token(Kind::ClientSend, 2);
    let text = b"* OK Still here\r\n";
    rig.push_text(Op::SendClient { token, slot: 2, text: span(text) }, text);
    let (done, _) = rig.one();
    assert_eq!((done.token, done.result, done.more), (token, 17, false));
    let mut got = [0; 17];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, text);
    let line = [b'z'; 256];
    let mut results = Vec::new();
    while results.last().is_none_or(|result| *result == 256) {
        rig.push_text(Op::SendClient { token, slot: 2, text: span(&line) }, &line);
        results.push(rig.one().0.result);
    }
    let last = *results.last().unwrap();
    assert!(last == -libc::EAGAIN || (1..256).contains(&last), "{last}");
}

#[test]
fn a_send_to_nobody_is_an_error_and_no_signal() {
    let (ours, client) = unix();
    drop(client);
    let mut rig = Rig::new();
    rig.ring.seat_client(2, ours);
    let token = token(Kind::ClientSend, 2);
    rig.push_text(Op::SendClient { token, slot: 2, text: span(b"x") }, b"x");
    assert_eq!(rig.one().0.result, -libc::EPIPE);
}

#[test]
fn closing_leaves_the_session_to_its_other_holder() {
    let (ours, mut client) = tcp();
    let copy = ours.try_clone().unwrap();
    let mut rig = Rig::new();
    rig.ring.seat_client(0, ours);
    rig.push(Op::CloseClient { slot: 0 });
    std::net::TcpStream::from(copy).write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "we hold no descriptor any more");
}

#[test]
fn the_vanish_timeout_is_set_and_taken_back() {
    let ((ours, _client), (other, _peer)) = (tcp(), unix());
    let probe = ours.try_clone().unwrap();
    let mut rig = Rig::new();
    rig.ring.set_vanish_timeout_ms(45_000);
    rig.ring.seat_client(0, ours);
    rig.ring.seat_client(1, other);
    assert_eq!(getsockopt(&probe, sockopt::TcpUserTimeout).unwrap(), 45_000);
    drop(rig.ring.unseat_client(0));
    assert_eq!(getsockopt(&probe, sockopt::TcpUserTimeout).unwrap(), 0);
}

/// In a network of its own, whose loopback then breaks: the kernel gives the silent client up.
#[test]
fn a_vanished_client_is_given_up() {
    let run = || -> Option<()> {
        unshare(CloneFlags::CLONE_NEWNET).ok()?;
        let loopback = |state| {
            let done = Command::new("ip").args(["link", "set", "lo", state]).status();
            done.ok().filter(|status| status.success()).map(drop)
        };
        loopback("up")?;
        let (ours, _client) = tcp();
        let mut rig = Rig::new();
        rig.ring.set_vanish_timeout_ms(300);
        rig.ring.seat_client(0, ours);
        let armed = rig.receive(0);
        rig.turn(0);
        loopback("down")?;
        let token = token(Kind::ClientSend, 0);
        rig.push_text(Op::SendClient { token, slot: 0, text: span(b"* OK\r\n") }, b"* OK\r\n");
        assert_eq!(rig.one().0.result, 6, "the kernel takes the keepalive");
        let (done, _) = rig.one();
        assert_eq!((done.token, done.more), (armed, false));
        assert!([-libc::ETIMEDOUT, -libc::EHOSTUNREACH].contains(&done.result), "{done:?}");
        Some(())
    };
    // Only who may make networks can try; elsewhere the setting itself is tested above.
    if std::thread::spawn(run).join().unwrap().is_none() {
        println!("not tried: no network of its own to be had");
    }
}
