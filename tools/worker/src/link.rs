//! The connection to the client: what it said and we have not read, what we said and have not sent.
//!
//! The socket never blocks by itself; this is the only place that waits for it. Output is gathered
//! and goes out before anybody waits for input, so pipelined commands are answered in one breath;
//! it never grows beyond `OUTPUT_BYTES`, since a writer waits for a client that does not read.
//! An `io::Error` of a link carries an [`End`].

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd as _;

use crate::end::End;
use crate::limits::{COMMAND_WAIT_MAX, INPUT_BYTES, LINE_BYTES_MAX, OUTPUT_BYTES, WRITE_WAIT_MAX};

/// See the module.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    /// Readable exactly when this process was told to stop.
    stop: Option<OwnedFd>,
    input: Vec<u8>,
    /// Bytes of `input` that are read already: `0 <= start <= input.len()`.
    start: usize,
    output: Vec<u8>,
    input_bytes: u64,
    output_bytes: u64,
}

/// What a wait has brought; several may hold at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is input, or the end of it.
    pub input: bool,
    /// The other descriptor is readable.
    pub other: bool,
}

/// A line, without its line end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// Longer than `LINE_BYTES_MAX`: its beginning; the rest has been read and forgotten.
    TooLong(Vec<u8>),
}

impl Link {
    /// `stop` is a descriptor that becomes readable when this process is to end.
    pub fn new(socket: OwnedFd, stop: Option<OwnedFd>) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL)?);
        fcntl(&socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let (input, output) = (Vec::new(), Vec::with_capacity(OUTPUT_BYTES));
        Ok(Self { socket, stop, input, start: 0, output, input_bytes: 0, output_bytes: 0 })
    }

    /// Puts bytes that the client has sent, but others have read, in front of the socket's. They
    /// count as read here: who reads them for us does not count them.
    pub fn prepend(&mut self, bytes: &[u8]) {
        self.input.splice(..self.start, bytes.iter().copied());
        self.start = 0;
        self.input_bytes += bytes.len() as u64;
    }

    /// Bytes that are here but not read.
    pub fn pending(&self) -> &[u8] {
        &self.input[self.start..]
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Bytes read from and written to the client by this process.
    pub fn totals(&self) -> (u64, u64) {
        (self.input_bytes, self.output_bytes)
    }

    /// Sends what is gathered, then waits until there is input that is not `pending` yet, until
    /// `other` is readable or until the deadline.
    pub fn wait(&mut self, other: Option<BorrowedFd<'_>>, deadline: Instant) -> Result<Ready, End> {
        self.flush()?;
        self.poll(PollFlags::POLLIN, other, deadline)
    }

    /// Reads the next line, of which every byte has to come within `silence` of the one before.
    pub fn line(&mut self, silence: Duration) -> Result<Line, End> {
        let (mut seen, mut is_cut, mut kept) = (0, false, Vec::new());
        loop {
            let pending = &self.input[self.start..];
            if let Some(at) = pending[seen..].iter().position(|&byte| byte == b'\n') {
                let end = seen + at;
                let text = pending[..end].strip_suffix(b"\r").unwrap_or(&pending[..end]);
                let line = if is_cut { Line::TooLong(kept) } else { Line::Whole(text.to_vec()) };
                self.consume(end + 1);
                return Ok(line);
            }
            seen = pending.len();
            if seen > LINE_BYTES_MAX {
                if !is_cut {
                    kept = pending[..LINE_BYTES_MAX].to_vec();
                }
                (is_cut, seen) = (true, 0);
                self.consume(self.input.len() - self.start);
            }
            self.fill(silence)?;
        }
    }

    /// Reads and forgets.
    pub fn skip(&mut self, mut count: u64) -> Result<(), End> {
        let mut piece = [0; INPUT_BYTES];
        while count > 0 {
            let room = usize::try_from(count).unwrap_or(usize::MAX).min(piece.len());
            count -= self.read(&mut piece[..room])? as u64;
        }
        Ok(())
    }

    /// Brings more input; the end of the stream is the end of the session. Waits even where there
    /// is input, so that a client that never stops talking cannot hide an order to stop.
    fn fill(&mut self, silence: Duration) -> Result<(), End> {
        let deadline = Instant::now() + silence;
        loop {
            if !self.wait(None, deadline)?.input && Instant::now() >= deadline {
                return Err(End::Silent);
            }
            if self.try_fill()? {
                return Ok(());
            }
        }
    }

    /// Takes what the socket has; false if it has nothing now.
    pub fn try_fill(&mut self) -> Result<bool, End> {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        let mut piece = [0; INPUT_BYTES];
        match nix::unistd::read(&self.socket, &mut piece) {
            Ok(0) => Err(End::Gone(None)),
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                self.input_bytes += count as u64;
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(error) => Err(End::Gone(Some(error.into()))),
        }
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.input.len());
    }

    fn poll(
        &self,
        wanted: PollFlags,
        other: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<Ready, End> {
        let absent = self.socket.as_fd();
        let mut places = [
            PollFd::new(self.socket.as_fd(), wanted),
            PollFd::new(self.stop.as_ref().map_or(absent, AsFd::as_fd), PollFlags::POLLIN),
            PollFd::new(other.unwrap_or(absent), PollFlags::POLLIN),
        ];
        // An absent descriptor is one that is asked for nothing.
        for (at, is_absent) in [(1, self.stop.is_none()), (2, other.is_none())] {
            if is_absent {
                places[at].set_events(PollFlags::empty());
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that a deadline has passed when its time-out is reported.
        let left = PollTimeout::try_from(left + Duration::from_millis(1));
        match poll(&mut places, left.unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(End::Gone(Some(error.into()))),
        }
        let [input, stop, notice] = places.map(|place| place.any().unwrap_or(true));
        if stop && self.stop.is_some() {
            return Err(End::Stopped);
        }
        Ok(Ready { input, other: notice && other.is_some() })
    }

    /// Sends what is gathered, waiting for a slow client.
    fn send_all(&mut self) -> Result<(), End> {
        let mut sent = 0;
        let mut deadline = Instant::now() + WRITE_WAIT_MAX;
        while sent < self.output.len() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), &self.output[sent..], flags) {
                Ok(count) => {
                    sent += count;
                    self.output_bytes += count as u64;
                    deadline = Instant::now() + WRITE_WAIT_MAX;
                }
                Err(Errno::EAGAIN) if Instant::now() < deadline => {
                    self.poll(PollFlags::POLLOUT, None, deadline)?;
                }
                Err(Errno::EAGAIN) => return Err(End::NotReading),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(End::Gone(Some(error.into()))),
            }
        }
        self.output.clear();
        Ok(())
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.output.len() >= OUTPUT_BYTES {
            self.send_all()?;
        }
        let taken = bytes.len().min(OUTPUT_BYTES);
        self.output.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.send_all()?)
    }
}

impl Read for Link {
    /// Waits for at least one byte; there is no end but an error.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.pending().is_empty() {
            self.fill(COMMAND_WAIT_MAX)?;
        }
        let count = self.pending().len().min(bytes.len());
        bytes[..count].copy_from_slice(&self.pending()[..count]);
        self.consume(count);
        Ok(count)
    }
}
