//! A listening socket that is served by threads of its own.
//!
//! One thread accepts, and looks after the socket's path where that is its business; each
//! connection gets a thread, up to a maximum.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::socket::{Finding, Mark, Place};

/// The running station. Dropping it removes the socket.
#[derive(Debug)]
pub struct Station {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Station {
    /// Serves wherever `place` says at the moment (`None`: nowhere), at most `conns_max`
    /// connections at once; those beyond are closed.
    pub fn open(
        name: &'static str,
        conns_max: usize,
        place: impl Fn() -> Option<Place> + Send + 'static,
        serve: impl Fn(UnixStream) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let mut desk = Desk { name, conns_max, listener: None, bound: None, told: false };
        Self::run(name, serve, move |serve, stopped| {
            while !stopped() {
                desk.look(place());
                desk.accept(serve);
            }
            desk.leave();
        })
    }

    /// Serves a socket that somebody else has bound, and whichever comes after it.
    pub fn attend(
        name: &'static str,
        conns_max: usize,
        listeners: Receiver<OwnedFd>,
        serve: impl Fn(UnixStream) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let mut desk = Desk { name, conns_max, listener: None, bound: None, told: false };
        Self::run(name, serve, move |serve, stopped| {
            while !stopped() {
                desk.listener = listeners.try_recv().ok().map(UnixListener::from).or(desk.listener);
                desk.accept(serve);
            }
        })
    }

    fn run<S: Fn(UnixStream) + Send + Sync + 'static>(
        name: &'static str,
        serve: S,
        run: impl FnOnce(&Arc<S>, &dyn Fn() -> bool) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = Builder::new().name(format!("torpor-{name}")).spawn(move || {
            run(&Arc::new(serve), &move || told.load(Ordering::Relaxed));
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

struct Desk {
    name: &'static str,
    conns_max: usize,
    listener: Option<UnixListener>,
    /// Where `listener` is, if we have bound it.
    bound: Option<(Place, Mark)>,
    /// True exactly when it was logged that the socket cannot be made.
    told: bool,
}

impl Desk {
    /// Makes the socket if it is not there.
    fn look(&mut self, place: Option<Place>) {
        if let Some((bound, mark)) = &self.bound
            && Some(bound) == place.as_ref()
            && bound.look(Some(*mark)) == Finding::Ours
        {
            return;
        }
        self.leave();
        let Some(place) = place else { return };
        match place.bind() {
            Ok((listener, mark)) => {
                self.bound = Some((place, mark));
                self.listener = Some(UnixListener::from(listener));
                self.told = false;
            }
            // Dovecot's folder has gone; it comes back with Dovecot.
            Err(_) if place.path.parent().is_none_or(|dir| !dir.is_dir()) => {}
            Err(error) if !self.told => {
                tracing::warn!("{} socket: {error}", self.name);
                self.told = true;
            }
            Err(_) => {}
        }
    }

    /// Waits a moment for a connection.
    fn accept(&self, serve: &Arc<impl Fn(UnixStream) + Send + Sync + 'static>) {
        let Some(listener) = &self.listener else {
            std::thread::sleep(Duration::from_millis(LOOK_MS.into()));
            return;
        };
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        // A signal or a failure ends the wait early; the caller comes back.
        let _ = poll(&mut fds, PollTimeout::from(LOOK_MS));
        let Ok((stream, _)) = listener.accept() else { return };
        // Each connection's thread has one of the references.
        if Arc::strong_count(serve) > self.conns_max || prepare(&stream).is_err() {
            return;
        }
        let serve = Arc::clone(serve);
        let thread = Builder::new().name(format!("torpor-{}-conn", self.name));
        if let Err(error) = thread.spawn(move || serve(stream)) {
            tracing::warn!("{} socket: {error}", self.name);
        }
    }

    fn leave(&mut self) {
        if let Some((place, mark)) = self.bound.take() {
            place.remove(mark);
            self.listener = None;
        }
    }
}

/// See [`lines`].
pub type Lines = Box<dyn Iterator<Item = Vec<u8>>>;

/// Lines of a connection, each bounded; the last piece of a line that is too long ends them.
pub fn lines(stream: &UnixStream, bytes_max: u64) -> io::Result<Lines> {
    let descriptor: OwnedFd = stream.as_fd().try_clone_to_owned()?;
    let mut reader = BufReader::new(UnixStream::from(descriptor));
    Ok(Box::new(std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = reader.by_ref().take(bytes_max).read_until(b'\n', &mut line);
        read.ok()?;
        (line.pop() == Some(b'\n')).then_some(line)
    })))
}

fn prepare(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))
}

const LOOK_MS: u16 = 500;
/// A connection that neither asks nor reads is closed.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(path: &std::path::Path) -> Station {
        let path = path.to_owned();
        let place = move || {
            let path = path.clone();
            Some(Place { path, mode: 0o600, owner: None, group: None, backlog: 4 })
        };
        let echo = |mut stream: UnixStream| {
            for line in lines(&stream, 8).expect("a descriptor") {
                stream.write_all(&line).expect("echoed");
            }
        };
        Station::open("test", 2, place, echo).expect("a thread")
    }

    fn connect(path: &std::path::Path) -> UnixStream {
        let tries = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            UnixStream::connect(path).ok()
        });
        tries.expect("the station is open")
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_connection_and_the_path_comes_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("s");
        let station = open(&path);
        for _ in 0..2 {
            let mut stream = connect(&path);
            stream.write_all(b"abc\n123456789\n").expect("sent");
            let mut echoed = String::new();
            // The rest of the line lies unread, so the end may come as a reset.
            let _ = stream.read_to_string(&mut echoed);
            assert_eq!(echoed, "abc");
            std::fs::remove_file(&path).expect("it was there");
        }
        connect(&path);
        drop(station);
        assert!(!path.exists(), "it takes its socket along");
    }
}
