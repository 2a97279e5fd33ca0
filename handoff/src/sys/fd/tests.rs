//! Descriptors over real socketpairs, counted by the sockets they belong to, and control buffers
//! made by hand.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use nix::sys::socket::recv;

use super::*;

#[test]
fn a_descriptor_rides_on_its_byte() {
    let (here, there) = UnixStream::pair().unwrap();
    let (mine, sent) = UnixStream::pair().unwrap();
    (&here).write_all(b"VERSION\n").unwrap();
    assert_eq!(send_with_fd(here.as_fd(), b"u", sent.as_fd()), Ok(1));
    (&here).write_all(b"ser\n").unwrap();
    drop(sent);
    // The read ends behind the byte that carries it, wherever that is.
    let mut buffer = [0; 64];
    let received = receive(there.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..received.count], b"VERSION\nu");
    assert!(!received.truncated && received.passed.pidfd.is_none());
    assert_eq!(received.passed.count(), 1);
    let [Some(fd), None, None, None] = received.passed.fds else { panic!("one descriptor") };
    (&mine).write_all(b"x").unwrap();
    let mut text = [0; 1];
    File::from(fd).read_exact(&mut text).unwrap();
    assert_eq!(receive(there.as_fd(), &mut buffer).unwrap().count, 4);
    assert_eq!(receive(there.as_fd(), &mut buffer).unwrap_err(), Errno::EAGAIN);
    drop(here);
    assert_eq!(receive(there.as_fd(), &mut buffer).unwrap().count, 0);
}

#[test]
fn a_mark_is_read_by_whoever_holds_the_socket() {
    let (here, _there) = UnixStream::pair().unwrap();
    let held = here.try_clone().unwrap();
    assert_eq!(mark_of(held.as_fd()), 0);
    for number in [1, 7, 1 << 31, u32::MAX, 0] {
        mark(here.as_fd(), number).unwrap();
        assert_eq!(mark_of(held.as_fd()), number);
    }
}

/// What is peeked at comes once, then the end; and all of it once more from the start.
#[test]
fn peeks_go_on_and_take_nothing() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut buffer = [0; 64];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
    let mut peek = || {
        let count = recv(here.as_raw_fd(), &mut buffer, flags)?;
        Ok::<_, Errno>(buffer[..count].to_vec())
    };
    peek_from_start(here.as_fd()).unwrap();
    there.write_all(b"-not").unwrap();
    assert_eq!(peek().unwrap(), b"-not");
    assert_eq!(peek().unwrap_err(), Errno::EAGAIN);
    there.write_all(b" today\n").unwrap();
    assert_eq!(peek().unwrap(), b" today\n");
    drop(there);
    assert_eq!(peek().unwrap(), b"", "its end");
    peek_from_start(here.as_fd()).unwrap();
    assert_eq!(peek().unwrap(), b"-not today\n");
    assert_eq!(peek().unwrap(), b"");
}

#[test]
fn too_many_descriptors_are_closed() {
    for sent in 1..=40usize {
        let (here, there) = UnixStream::pair().unwrap();
        let (mine, other) = UnixStream::pair().unwrap();
        let fds = vec![other.as_raw_fd(); sent];
        let rights = [ControlMessage::ScmRights(&fds)];
        let part = [IoSlice::new(b"u")];
        sendmsg::<()>(here.as_raw_fd(), &part, &rights, MsgFlags::empty(), None).unwrap();
        drop(other);
        let mut buffer = [0; 8];
        let received = receive(there.as_fd(), &mut buffer).unwrap();
        let kept = received.passed.fds.iter().flatten().count();
        assert_eq!(kept, sent.min(FDS_MAX));
        assert_eq!(received.truncated || received.passed.surplus > 0, sent > FDS_MAX, "{sent}");
        // With everything received dropped, nobody holds the other end: EOF.
        drop(received);
        assert_eq!((&mine).read(&mut buffer).unwrap(), 0, "{sent}: a descriptor was leaked");
    }
}

#[test]
fn the_sender_is_named_by_its_pidfd() {
    let (here, there) = UnixStream::pair().unwrap();
    if set_passpidfd(there.as_fd()) == Err(Errno::ENOPROTOOPT) {
        return; // A kernel before 6.5 has nothing to show.
    }
    (&here).write_all(b"x").unwrap();
    let mut buffer = [0; 8];
    let received = receive(there.as_fd(), &mut buffer).unwrap();
    assert_eq!(received.passed.count(), 0);
    let pidfd = received.passed.pidfd.expect("kernel 6.5 and later");
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    assert!(info.contains(&format!("Pid:\t{}\n", std::process::id())), "{info}");
}

#[test]
fn a_control_buffer_is_read_message_by_message() {
    let mut control = message(libc::SOL_SOCKET, libc::SCM_RIGHTS, &[5, 0, 0, 0, 6, 0, 0, 0]);
    control.extend(message(libc::SOL_SOCKET, SCM_PIDFD, &[7, 0, 0, 0]));
    control.extend(message(libc::SOL_SOCKET, SCM_PIDFD, &[0xFF; 4]));
    control.extend(message(libc::IPPROTO_TCP, libc::SCM_RIGHTS, &[9, 0, 0, 0]));
    let read: Vec<Vec<RawFd>> =
        parse_control(&control).map(|message| message.fds().collect()).collect();
    assert_eq!(read, [vec![5, 6], vec![7], vec![], vec![]]);
    let pidfds: Vec<bool> = parse_control(&control).map(|message| message.is_pidfd()).collect();
    assert_eq!(pidfds, [false, true, true, false]);
}

#[test]
fn a_broken_control_buffer_ends_the_reading() {
    let whole = [
        message(libc::SOL_SOCKET, libc::SCM_RIGHTS, &[5, 0, 0, 0]),
        message(libc::SOL_SOCKET, SCM_PIDFD, &[7, 0, 0, 0]),
    ]
    .concat();
    for end in 0..whole.len() {
        let count = parse_control(&whole[..end]).count();
        assert_eq!(count, usize::from(end >= 20) + usize::from(end >= 44), "{end}");
    }
    // Every length a header may claim, the impossible ones included.
    for length in (0..64).chain([usize::MAX - 8, usize::MAX]) {
        let mut control = whole.clone();
        control[..8].copy_from_slice(&length.to_ne_bytes());
        assert!(parse_control(&control).count() <= 2);
    }
}

fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (HEADER_BYTES + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}
