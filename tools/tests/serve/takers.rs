//! Workers that take every client they are given, and say so to it: once each.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use torpor_handoff::sys::fd::receive;

/// The users whose clients were taken.
type Taken = Arc<Mutex<HashSet<String>>>;

/// The listener on `imap-master`, for as long as the test runs.
pub struct Takers {
    taken: Taken,
}

impl Takers {
    pub fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a free path");
        let taken = Taken::default();
        let list = Arc::clone(&taken);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let list = Arc::clone(&list);
                thread::spawn(move || take(socket, &list));
            }
        });
        Self { taken }
    }

    /// How many different clients were taken.
    pub fn taken(&self) -> usize {
        self.taken.lock().expect("no taker panics").len()
    }
}

/// One worker. Whoever asks and dies on the way is no defect of its own.
fn take(mut socket: UnixStream, taken: &Taken) -> Option<()> {
    socket.write_all(b"VERSION\timap-master\t1\t0\n").ok()?;
    let (mut bytes, mut client) = (Vec::new(), None);
    while bytes.iter().filter(|byte| **byte == b'\n').count() < 2 || client.is_none() {
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).ok()?;
        let mut buffer = [0; 4096];
        match receive(socket.as_fd(), &mut buffer) {
            Ok(mut received) if received.count > 0 => {
                client = client.or(received.passed.fds[0].take());
                bytes.extend_from_slice(&buffer[..received.count]);
            }
            Err(Errno::EAGAIN) => {}
            _ => return None,
        }
    }
    let text = String::from_utf8(bytes).expect("a line of text");
    let line = text.lines().nth(1).expect("behind VERSION");
    let user = line.split('\t').next().expect("a user").to_owned();
    let client = client.expect("seen above");
    socket.write_all(b"+\n").ok()?;
    let mut stream = UnixStream::from(client);
    stream.write_all(format!("taken {user}\r\n").as_bytes()).ok()?;
    let is_first = taken.lock().expect("no taker panics").insert(user.clone());
    assert!(is_first, "{user} was given away twice");
    Some(())
}
