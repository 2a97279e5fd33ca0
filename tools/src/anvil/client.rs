//! The thread that tells anvil.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use torpor_engine::report::Event;

use super::walk::Walk;
use super::wire::{Dialect, Sleep, V24_GREETING, connect, disconnect};
use crate::card::Card;
use crate::desk::{DeskEnds, Note, NotePool, Orders, Page, Paper};

/// What the thread works with.
struct Anvil {
    path: PathBuf,
    papers: Receiver<Paper>,
    pool: NotePool,
    orders: Orders,
    pid: Arc<AtomicU32>,
    greets: Arc<AtomicBool>,
    /// Of the page that is waited for.
    number: u64,
}

/// Starts the thread; it ends with the desk. `pid` stands for all sleepers and may change;
/// `greets` becomes true when anvil is of 2.4 and will look for an admin socket.
pub fn start(
    base_dir: &Path,
    ends: &DeskEnds,
    pid: Arc<AtomicU32>,
    greets: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    let anvil = Anvil {
        path: base_dir.join("anvil"),
        papers: ends.papers.clone(),
        pool: ends.paper_pool.clone(),
        orders: ends.orders.clone(),
        pid,
        greets,
        number: 0,
    };
    Builder::new().name("torpor-anvil".into()).spawn(move || anvil.run())
}

impl Anvil {
    fn run(mut self) {
        let mut told = false;
        loop {
            match Line::open(&self.path) {
                Ok(line) => {
                    told = false;
                    self.greets.store(line.dialect == Dialect::V24, Ordering::Relaxed);
                    tracing::debug!("anvil: connected, {:?}", line.dialect);
                    match self.tell(line) {
                        Ok(()) => return,
                        Err(error) => tracing::warn!("anvil: {error}; registering anew"),
                    }
                }
                Err(error) if !told => {
                    let path = self.path.display();
                    tracing::warn!("{path}: {error}: doveadm who does not show sleepers yet");
                    told = true;
                }
                Err(_) => {}
            }
            if !self.rest() {
                return;
            }
        }
    }

    /// Registers everybody, then passes events on. `Ok`: the desk has ended.
    fn tell(&mut self, mut line: Line) -> io::Result<()> {
        let pid = self.pid.load(Ordering::Relaxed);
        let (mut walk, mut asked) = (Walk::At(0), self.ask(0)?);
        loop {
            match self.papers.recv_timeout(PATROL) {
                Ok(Paper::Note(note)) => {
                    if walk.passes(note.slot) {
                        line.note(pid, &note);
                    }
                    self.pool.recycle(note);
                }
                // Another number: of a walk that was never finished.
                Ok(Paper::Page(number, page)) if number == self.number => {
                    line.page(pid, &page);
                    walk = Walk::after(page.answer.cursor);
                    if let Walk::At(cursor) = walk {
                        asked = self.ask(cursor)?;
                    }
                }
                Ok(Paper::Page(..)) => {}
                Err(RecvTimeoutError::Timeout) => line.check()?,
                Err(RecvTimeoutError::Disconnected) => return line.flush(),
            }
            if line.is_long() {
                line.flush()?;
            } else if self.papers.is_empty() {
                line.flush()?;
                thread::sleep(GATHER);
            }
            if let Walk::At(cursor) = walk
                && asked.elapsed() > PAGE_TIMEOUT
            {
                // The page was lost in a crowd of events.
                asked = self.ask(cursor)?;
            }
            if self.pid.load(Ordering::Relaxed) != pid {
                return Err(io::Error::other("the helper process was ended by somebody"));
            }
        }
    }

    /// Asks for a page of sleepers, under a new number.
    fn ask(&mut self, cursor: u32) -> io::Result<Instant> {
        self.number += 1;
        self.orders.who_on_paper(self.number, cursor).map_err(io::Error::other)?;
        Ok(Instant::now())
    }

    /// Lets a second of events pass; they will be in the next walk. `false`: the desk has ended.
    fn rest(&self) -> bool {
        let until = Instant::now() + REST;
        while Instant::now() < until {
            match self.papers.recv_deadline(until) {
                Ok(Paper::Note(note)) => self.pool.recycle(note),
                Ok(Paper::Page(..)) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            if self.papers.is_empty() {
                thread::sleep(GATHER);
            }
        }
        true
    }
}

/// The connection to anvil. Lines are collected and written together.
struct Line {
    stream: UnixStream,
    dialect: Dialect,
    out: Vec<u8>,
}

impl Line {
    /// Connects and finds out what is spoken: 2.4 greets, 2.3 waits.
    fn open(path: &Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
        let mut greeting = [0; 256];
        let dialect = match stream.read(&mut greeting) {
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(count) if greeting[..count].starts_with(V24_GREETING) => Dialect::V24,
            Ok(count) => {
                let text = String::from_utf8_lossy(&greeting[..count]).into_owned();
                return Err(io::Error::other(format!("an unknown greeting: {text:?}")));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Dialect::V23,
            Err(error) => return Err(error),
        };
        stream.write_all(dialect.hello())?;
        Ok(Self { stream, dialect, out: Vec::new() })
    }

    fn note(&mut self, pid: u32, note: &Note) {
        let card = Card::parse(note.card());
        let Note { slot, generation, started_us, .. } = *note;
        let sleep = Sleep { slot, generation, started_us };
        let text = match note.event {
            Event::Hibernated => connect(self.dialect, pid, sleep, &card),
            _ => disconnect(self.dialect, pid, sleep, &card),
        };
        self.out.extend(text.unwrap_or_default());
    }

    fn page(&mut self, pid: u32, page: &Page) {
        for sleeper in page.sleepers() {
            let (slot, generation) = (sleeper.slot, sleeper.generation);
            let sleep = Sleep { slot, generation, started_us: sleeper.started_us };
            let text = connect(self.dialect, pid, sleep, &sleeper.card);
            self.out.extend(text.unwrap_or_default());
        }
    }

    fn is_long(&self) -> bool {
        self.out.len() > OUT_BYTES
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Anvil says nothing that we want to hear, but its end is to be noticed.
    fn check(&self) -> io::Result<()> {
        let mut said = [0; 256];
        match recv(self.stream.as_raw_fd(), &mut said, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Between two looks whether anvil is still there.
const PATROL: Duration = Duration::from_secs(1);
/// Events of so long are taken up at once: to be woken for each costs more than to write it, the
/// engine thread as well. Much less than the channel has room for.
const GATHER: Duration = Duration::from_millis(5);
/// Before anvil is tried again.
const REST: Duration = Duration::from_secs(1);
/// Anvil of 2.4 greets as soon as it accepts.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The engine answers within a step.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Written at once, at most and a page.
const OUT_BYTES: usize = 16 << 10;
