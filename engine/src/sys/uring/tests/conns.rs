//! Hibernate connections and what comes over them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::sys::stat::{fstat, major, minor};
use nix::unistd::pipe;

use crate::ring::{Op, PassedKind};
use crate::token::Kind;

use super::rig::{Rig, Seen, kinds, pass, span, tcp, token, unix};

#[test]
fn accept_goes_on_and_names_the_peer() {
    let mut rig = Rig::new();
    rig.push(Op::Accept { token: token(Kind::Accept, 0) });
    rig.turn(0);
    for _ in 0..3 {
        let worker = rig.connect();
        let (done, _) = rig.one();
        assert_eq!((done.result, done.more, done.peer.pid), (0, true, std::process::id()));
        assert_eq!(done.peer.uid, nix::unistd::getuid().as_raw());
        let passed = done.passed[0].expect("the connection");
        rig.push(Op::Drop { passed });
        let end = (&worker).read(&mut [0; 1]).unwrap();
        assert_eq!(end, 0, "a dropped connection is closed");
    }
    assert_eq!(rig.cancel(token(Kind::Accept, 0)).0.result, -libc::ECANCELED);
}

fn message(rig: &mut Rig) -> Seen {
    rig.push(Op::RecvConn { token: token(Kind::ConnRecv, 1), conn: 1 });
    let seen = rig.one();
    assert!(!seen.0.more, "a recvmsg is armed once");
    seen
}

fn forget(rig: &mut Rig, seen: &Seen) {
    for passed in seen.0.passed.iter().flatten() {
        rig.push(Op::Drop { passed: *passed });
    }
}

#[test]
fn lines_and_descriptors_arrive_as_the_kernel_cuts_them() {
    let mut rig = Rig::new();
    let worker = rig.conn(1);
    let ((client, _far), (tls, _away)) = (tcp(), unix());
    pass(&worker, b"VERSION\n", &[]);
    pass(&worker, b"u", &[client.as_raw_fd()]);
    pass(&worker, b"1\tstate\n", &[]);
    pass(&worker, b"\n", &[rig.inotify_raw(), tls.as_raw_fd()]);
    let first = message(&mut rig);
    assert_eq!((&first.1[..], kinds(&first.0.passed)), (&b"VERSION\nu"[..], vec![PassedKind::Tcp]));
    let (stat, passed) = (fstat(&client).unwrap(), first.0.passed[0].unwrap());
    assert_eq!(passed.inode, stat.st_ino);
    assert_eq!(u64::from(passed.dev_major), major(stat.st_dev));
    assert_eq!(u64::from(passed.dev_minor), minor(stat.st_dev));
    let second = message(&mut rig);
    assert_eq!(second.1, b"1\tstate\n\n");
    assert_eq!(kinds(&second.0.passed), [PassedKind::Inotify, PassedKind::Unix]);
    assert!(!first.0.passed_lost && !second.0.passed_lost);
    forget(&mut rig, &first);
    forget(&mut rig, &second);
}

/// Three and forty descriptors: two are shown, the rest is closed, and it is said so.
#[test]
fn superfluous_descriptors_are_closed_and_reported() {
    for count in [3, 40] {
        let mut rig = Rig::new();
        let worker = rig.conn(1);
        let (reader, writer) = pipe().unwrap();
        pass(&worker, b"x", &vec![writer.as_raw_fd(); count]);
        drop(writer);
        let seen = message(&mut rig);
        assert_eq!((seen.1.len(), kinds(&seen.0.passed).len(), seen.0.passed_lost), (1, 2, true));
        forget(&mut rig, &seen);
        let end = File::from(reader).read(&mut [0; 1]).unwrap();
        assert_eq!(end, 0, "no copy of the writer is left");
    }
}

#[test]
fn what_arrives_is_told_apart() {
    let (listener, _) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), ());
    let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (reader, writer) = pipe().unwrap();
    let file = File::open("/proc/self/stat").unwrap();
    let directory = File::open("/").unwrap();
    let ring = io_uring::IoUring::new(2).unwrap();
    let epoll = nix::sys::epoll::Epoll::new(nix::sys::epoll::EpollCreateFlags::empty()).unwrap();
    let mut rig = Rig::new();
    let worker = rig.conn(1);
    let bell = rig.bell.as_raw_fd();
    for (raw, kind) in [
        (listener.as_raw_fd(), PassedKind::Other),
        (datagram.as_raw_fd(), PassedKind::Other),
        (reader.as_raw_fd(), PassedKind::Pollable),
        (writer.as_raw_fd(), PassedKind::Other),
        (file.as_raw_fd(), PassedKind::Other),
        (directory.as_raw_fd(), PassedKind::Other),
        (bell, PassedKind::Pollable),
        (epoll.0.as_raw_fd(), PassedKind::Other),
        (worker.as_raw_fd(), PassedKind::Unix),
    ] {
        pass(&worker, b"x", &[raw]);
        let seen = message(&mut rig);
        assert_eq!(kinds(&seen.0.passed), [kind], "descriptor {raw}");
        forget(&mut rig, &seen);
    }
    // A ring cannot even be passed; the kernel refuses to send it.
    drop(ring);
}

#[test]
fn a_reply_is_sent_and_the_end_is_seen() {
    let mut rig = Rig::new();
    let worker: UnixStream = rig.conn(1);
    let token = token(Kind::ConnSend, 1);
    rig.push_text(Op::SendConn { token, conn: 1, text: span(b"+\n") }, b"+\n");
    let (done, _) = rig.one();
    assert_eq!((done.token, done.result, done.more), (token, 2, false));
    let mut got = [0; 2];
    (&worker).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"+\n");
    (&worker).write_all(&[b'l'; 5000]).unwrap();
    drop(worker);
    assert_eq!(message(&mut rig).1.len(), 4096);
    assert_eq!(message(&mut rig).1.len(), 904);
    let (done, bytes) = message(&mut rig);
    assert_eq!((done.result, bytes.len()), (0, 0));
    rig.push(Op::CloseConn { conn: 1 });
    assert!(rig.turn(0).is_empty());
}

#[test]
fn a_waiting_recvmsg_can_be_cancelled() {
    let mut rig = Rig::new();
    let _worker = rig.conn(1);
    let token = token(Kind::ConnRecv, 1);
    rig.push(Op::RecvConn { token, conn: 1 });
    assert!(rig.turn(10).is_empty());
    let (done, _) = rig.cancel(token);
    assert_eq!((done.result, done.more), (-libc::ECANCELED, false));
    rig.push(Op::CloseConn { conn: 1 });
    assert!(rig.turn(0).is_empty());
}
