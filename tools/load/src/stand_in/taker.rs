//! A worker that does nothing but speak: it takes each woken client, answers `a1 OK` and hangs up.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::sys::fd::receive;

/// When the parts of one conversation were over, as the worker saw them.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// The connection was accepted.
    pub connected: Instant,
    /// Its VERSION is about to be written.
    pub greeted: Instant,
    /// The descriptor is here.
    pub taken: Instant,
}

/// Listens on `base_dir/imap-master` with threads that never end; each talk is told.
///
/// # Errors
/// There is such a socket already.
pub fn start(base_dir: &Path, threads: usize) -> io::Result<Receiver<Talk>> {
    let listener = UnixListener::bind(base_dir.join("imap-master"))?;
    let (talks, told) = channel();
    for _ in 0..threads {
        let (listener, talks) = (listener.try_clone()?, talks.clone());
        thread::spawn(move || serve(&listener, &talks));
    }
    Ok(told)
}

fn serve(listener: &UnixListener, talks: &Sender<Talk>) {
    while let Ok((stream, _)) = listener.accept() {
        let connected = Instant::now();
        // What breaks here, torpor sees as well, and offers the client again.
        let Ok(talk) = converse(stream, connected) else { continue };
        if talks.send(talk).is_err() {
            return;
        }
    }
}

fn converse(mut stream: UnixStream, connected: Instant) -> io::Result<Talk> {
    let greeted = Instant::now();
    stream.write_all(MASTER_VERSION)?;
    let mut version = vec![0; MASTER_VERSION.len()];
    stream.read_exact(&mut version)?;
    let (client, taken) = take(&stream)?;
    stream.write_all(b"+\n")?;
    // A client that has gone is nobody's fault.
    let _ = send(client.as_raw_fd(), b"a1 OK done\r\n", MsgFlags::MSG_NOSIGNAL);
    Ok(Talk { connected, greeted, taken })
}

/// The client rides on the first byte of the line.
fn take(stream: &UnixStream) -> io::Result<(OwnedFd, Instant)> {
    let (mut client, mut taken) = (None, None);
    let mut buffer = [0; 8192];
    loop {
        let received = match receive(stream.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => {
                wait(stream)?;
                continue;
            }
            other => other?,
        };
        if let Some(fd) = received.passed.fds.into_iter().flatten().next() {
            taken = Some(Instant::now());
            client = Some(fd);
        }
        if received.count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer[..received.count].contains(&b'\n') {
            return client.zip(taken).ok_or_else(|| io::Error::other("a line without a client"));
        }
    }
}

fn wait(stream: &UnixStream) -> io::Result<()> {
    let mut asked = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::from(5000_u16))?;
    Ok(())
}
