//! The front: a process that listens to mail clients, lets those in who know their password, and
//! starts a worker for each client that is awake. `torpor serve --maildir` keeps it running.
//!
//! ```text
//!  mail client ──► lobby (gate) ──► client (talk) ──► book (users, hash) ──► crew ──► worker
//!  engine ──► imap-master ──────────────────────────────────────────────────► crew ──► worker
//! ```
//! In reading order: `users` and `hash` (who may log in), `book` (the file as it is now), `gate`
//! (limits, pure), `lobby` (the gate with a clock), `talk` (IMAP before the login, pure), `client`
//! (one connection), `crew` and `roll` (workers and whom they serve), `count`, `control`.
//!
//! Nothing here touches mail. The process inherits its listening sockets, so that it can be
//! killed and started again without turning anybody away: descriptor 0 is where mail clients
//! connect, descriptor 1 is `imap-master`. Workers do not depend on it, and it goes on when its
//! keeper is gone: the next one takes it over, by these two descriptors.

mod book;
mod client;
mod control;
mod count;
mod crew;
mod gate;
pub mod hash;
mod lobby;
pub mod passwd;
mod roll;
mod session;
mod talk;
pub mod users;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use imap_codec::imap_types::secret::Secret;
use nix::sys::signal::SigSet;
use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::config::{self, Config};
use crate::engine::allow_tracing;
use crate::log::Logger;
use crate::serve::ServeOptions;

use book::Book;
use count::Counts;
use crew::Crew;
use lobby::Lobby;
use users::UserName;

pub use control::control_path;
pub use crew::SUBCOMMAND as WORKER;

/// A running front.
pub struct Front {
    knobs: config::Front,
    lobby: Arc<Lobby>,
    book: Book,
    /// Room for hashes that are computed at once.
    hashes: Arc<Semaphore>,
    crew: Arc<Crew>,
    counts: Arc<Counts>,
}

/// The main function of the process, with the options that `torpor serve` was given.
pub fn run(options: &ServeOptions) -> ExitCode {
    match options.load().map_err(io::Error::other).and_then(|config| serve(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor front: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> io::Result<()> {
    if !Uid::effective().is_root() {
        allow_tracing();
    }
    // Serve takes its signals from a descriptor and keeps them blocked; that was inherited.
    SigSet::all().thread_unblock()?;
    let _logger = Logger::start(&config.log, LINES_MAX);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(config.front.hashes_in_flight_max as usize);
    runtime.build()?.block_on(listen(config))
}

/// Serves until SIGTERM, then sees the workers off.
async fn listen(config: &Config) -> io::Result<()> {
    let clients = std::net::TcpListener::from(inherited(io::stdin())?);
    let clients = TcpListener::from_std(clients)?;
    let master = std::os::unix::net::UnixListener::from(inherited(io::stdout())?);
    let master = UnixListener::from_std(master)?;
    let (badges_in, badges) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    nonblocking(&badges)?;
    let front = Arc::new(Front::new(config, badges)?);
    let _control = control::open(config, Arc::clone(&front))?;
    let wakes = tokio::spawn(Arc::clone(&front.crew).take_wakes(master));
    tokio::spawn(read_badges(Arc::clone(&front.crew), badges_in));
    // Those who have no worker yet.
    let mut inside = JoinSet::new();
    let mut second = interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stop, mut again) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut retire = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            accepted = clients.accept() => match accepted {
                Ok((stream, peer)) => {
                    inside.spawn(client::serve(Arc::clone(&front), stream, peer));
                }
                Err(error) => {
                    tracing::error!("a client cannot be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = second.tick() => {
                while inside.try_join_next().is_some() {}
                front.lobby.tidy();
                front.book.look(false);
            }
            _ = again.recv() => front.book.look(true),
            _ = stop.recv() => break,
            _ = retire.recv() => {
                wakes.abort();
                drop(clients);
                // Who has not logged in by then tries again, and finds the next front.
                let _ = timeout(LET_IN_WITHIN, async {
                    while inside.join_next().await.is_some() {}
                })
                .await;
                return Ok(());
            }
        }
    }
    wakes.abort();
    drop(clients);
    front.see_off().await;
    Ok(())
}

impl Front {
    fn new(config: &Config, badges: OwnedFd) -> io::Result<Self> {
        let knobs = config.front.clone();
        let missing = || io::Error::other("maildir or users is missing in [front]");
        let (maildir, users) =
            knobs.maildir.clone().zip(knobs.users.clone()).ok_or_else(missing)?;
        let counts = Arc::new(Counts::default());
        Ok(Self {
            lobby: Arc::new(Lobby::new(&knobs)),
            book: Book::open(users).map_err(io::Error::other)?,
            hashes: Arc::new(Semaphore::new(knobs.hashes_in_flight_max as usize)),
            crew: Arc::new(Crew::new(config, maildir, Arc::clone(&counts), badges)),
            counts,
            knobs,
        })
    }

    /// Compares a password, on a thread of its own.
    async fn check(&self, name: Vec<u8>, password: Secret<Vec<u8>>) -> Option<UserName> {
        let turn = Arc::clone(&self.hashes).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let users = self.book.users();
        let found = tokio::task::spawn_blocking(move || {
            // Kept even if the client leaves meanwhile: the hash goes on.
            let _turn = turn;
            users.check(&name, password.declassify())
        });
        // A hash that panics lets nobody in.
        let found = found.await.ok().flatten();
        self.counts.hashes.add();
        if found.is_none() {
            self.counts.failures.add();
        }
        found
    }

    /// BYE to everybody who is awake.
    async fn see_off(&self) {
        self.crew.roll.end(|_| true);
        let all_gone = async {
            while self.crew.roll.count() > 0 {
                sleep(LOOK).await;
            }
        };
        if timeout(END_WITHIN, all_gone).await.is_err() {
            let left = self.crew.roll.count();
            tracing::warn!("{left} workers have not ended within {} s", END_WITHIN.as_secs());
        }
    }
}

/// Hears from each worker whom it serves.
async fn read_badges(crew: Arc<Crew>, badges: OwnedFd) -> io::Result<()> {
    nonblocking(&badges)?;
    let mut badges = BufReader::new(pipe::Receiver::from_owned_fd(badges)?);
    let mut line = Vec::new();
    // The crew has a writing end, so that the pipe never ends.
    while badges.read_until(b'\n', &mut line).await? > 0 {
        line.pop();
        crew.roll.take_badge(&line);
        line.clear();
    }
    Ok(())
}

/// A socket that serve has bound. Its number stays open, as that of every standard stream.
fn inherited(stream: impl AsFd) -> io::Result<OwnedFd> {
    let socket = stream.as_fd().try_clone_to_owned()?;
    nonblocking(&socket)?;
    Ok(socket)
}

fn nonblocking(descriptor: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "front";
const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);
/// Lines that wait for the reader of standard error.
const LINES_MAX: usize = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Who connects meanwhile waits in the listen queue.
const LET_IN_WITHIN: Duration = Duration::from_secs(2);
/// A worker says BYE at once; one that is in the middle of a long answer may need a moment.
const END_WITHIN: Duration = Duration::from_secs(5);
