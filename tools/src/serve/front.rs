//! The keeper of the front: binds its sockets, starts it, and starts it again when it has ended.
//!
//! The sockets belong to this process and are handed down, so that clients and wakes that come
//! while the front is away wait in the listen queues instead of being turned away.

mod listen;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::unistd::User;
use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use super::ServeOptions;
use super::charge::{self, Charge, End};
use super::given::{Given, GivenUnix};
use super::notify::Stored;
use super::orphans;
use super::pause::Pause;
use crate::config::Config;
use crate::front::{SUBCOMMAND, users::Users};
use crate::luggage::Luggage;
use crate::socket::{Mark, Place, uid_of};
use listen::{BACKLOG, listen_at, make_folder};

/// The front of this process. Dropping it ends it and its workers, unless it was taken over.
pub struct FrontKeeper {
    sockets: Sockets,
    options: ServeOptions,
    user: Option<User>,
    process: Option<Charge>,
    /// True exactly when it was told to make room for another.
    is_retired: bool,
    pause: Pause,
}

/// Where it is reached: by mail clients, and by wakes.
struct Sockets {
    clients: OwnedFd,
    address: SocketAddr,
    master: OwnedFd,
    place: Place,
    mark: Mark,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    clients: RawFd,
    address: SocketAddr,
    master: RawFd,
    place: Place,
    mark: Mark,
    process: Option<charge::Note>,
}

impl Sockets {
    /// No wake comes any more.
    fn leave(&self) {
        self.place.remove(self.mark);
    }
}

impl FrontKeeper {
    /// Binds the sockets, unless they are given, and makes `base_dir`. `None`: the configuration
    /// has no front. `living` has outlived its keeper and is taken over.
    ///
    /// # Errors
    /// Names what is missing or cannot be bound; the users file is read to see that it can be.
    pub fn open(
        options: &ServeOptions,
        config: &Config,
        given: &mut Given,
        living: Option<Charge>,
    ) -> io::Result<Option<Self>> {
        let Some((maildir, users)) = config.front.maildir.as_ref().zip(config.front.users.as_ref())
        else {
            return Ok(None);
        };
        Users::load(users).map_err(io::Error::other)?;
        if !maildir.is_dir() {
            let text = format!("maildir {}: there is no such folder", maildir.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let user = user_of(config)?;
        make_folder(&config.base_dir, user.as_ref())?;
        let (clients, address) = match given.take_tcp(config.front.listen) {
            Some(listener) => {
                let address = listener.local_addr()?;
                (OwnedFd::from(listener), address)
            }
            None => listen_at(config.front.listen)?,
        };
        let place = Place {
            path: config.base_dir.join("imap-master"),
            mode: 0o600,
            owner: config.front.user.as_deref().map(uid_of).transpose()?,
            group: None,
            backlog: BACKLOG as u32,
        };
        let mut bound = given.take_unix(&place.path)?.into_iter();
        let bound = bound.find(|GivenUnix { listener, .. }| place.leads_to(listener));
        let (master, mark) = match bound {
            Some(GivenUnix { listener, .. }) => (OwnedFd::from(listener), place.mark()?),
            None => place.bind()?,
        };
        // Workers whose front has died become our children, so that none is forgotten.
        set_child_subreaper(true)?;
        let sockets = Sockets { clients, address, master, place, mark };
        Ok(Some(Self::over(sockets, options, user, living)))
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        let Sockets { clients, address, master, place, mark } = &self.sockets;
        Note {
            clients: luggage.pack(clients),
            address: *address,
            master: luggage.pack(master),
            place: place.clone(),
            mark: *mark,
            process: self.process.as_ref().map(|process| process.note(luggage)),
        }
    }

    /// What the image before this one has noted. A front that has ended is started at once.
    ///
    /// # Errors
    /// A descriptor is not open.
    pub fn unpack(note: Note, options: &ServeOptions, user: Option<User>) -> io::Result<Self> {
        let Note { clients, address, master, place, mark, process } = note;
        let (clients, master) = (inherited(clients)?, inherited(master)?);
        let sockets = Sockets { clients, address, master, place, mark };
        let process = process.map(Charge::unpack).transpose()?;
        Ok(Self::over(sockets, options, user, process))
    }

    fn over(
        sockets: Sockets,
        options: &ServeOptions,
        user: Option<User>,
        process: Option<Charge>,
    ) -> Self {
        let (options, is_retired) = (options.clone(), false);
        let pause = Pause::new(PAUSE_MIN, PAUSE_MAX);
        Self { sockets, options, user, process, is_retired, pause }
    }

    /// Where mail clients connect.
    pub fn address(&self) -> SocketAddr {
        self.sockets.address
    }

    /// The sockets, which are nobody's if we do not keep them, with their names for systemd.
    pub fn own(&self) -> [(Stored, BorrowedFd<'_>); 2] {
        let Sockets { clients, master, .. } = &self.sockets;
        [(Stored::Clients, clients.as_fd()), (Stored::Master, master.as_fd())]
    }

    /// Starts it, unless it was taken over.
    ///
    /// # Errors
    /// No process could be made.
    pub fn start(&mut self) -> io::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let again = |socket: &OwnedFd| socket.as_fd().try_clone_to_owned().map(Stdio::from);
        let mut command = Command::new("/proc/self/exe");
        command.arg0("torpor").arg(SUBCOMMAND).args(self.options.arguments());
        command.stdin(again(&self.sockets.clients)?).stdout(again(&self.sockets.master)?);
        // Passwords are checked on many threads for a moment each; an arena for each of them would
        // keep half a megabyte for good.
        command.env("MALLOC_ARENA_MAX", "1");
        // A Ctrl-C is for us alone: workers that get it would end without BYE.
        command.process_group(0);
        if let Some(user) = &self.user {
            // Root's supplementary groups go along with its uid.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        self.process = Some(Charge::spawn(&mut command)?);
        self.pause.started();
        Ok(())
    }

    /// Starts it again if it has ended; to be called once a second. `others` are our children that
    /// somebody else looks after.
    pub fn look(&mut self, others: &[u32]) {
        orphans::reap(&self.ours(others));
        if let Some(status) = self.ended() {
            if std::mem::take(&mut self.is_retired) {
                tracing::info!(event = "front_replaced", "the front is replaced");
            } else {
                let what = "the front has ended";
                tracing::error!(event = "front_ended", "{what}: {status}; sleepers stay");
            }
            self.pause.ended();
        }
        if self.process.is_none() && self.pause.is_over() {
            match self.start() {
                Ok(()) => tracing::info!(event = "front_started", "the front was started again"),
                Err(error) => tracing::error!("the front cannot be started: {error}"),
            }
        }
    }

    /// Lets it end when nobody is about to log in, and starts another one then. Its workers stay.
    pub fn retire(&mut self) {
        self.is_retired = self.process.is_some();
        self.signal(Signal::SIGUSR1);
    }

    /// Lets it read the users again.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Tells it and its workers to say BYE and end. No wake comes any more.
    pub fn stop(&self, others: &[u32]) {
        self.sockets.leave();
        self.signal(Signal::SIGTERM);
        orphans::signal(&self.ours(others), Signal::SIGTERM);
    }

    /// After [`FrontKeeper::stop`]: waits for the front and its workers, for as long as BYE takes.
    pub fn join(mut self, others: &[u32]) {
        let until = Instant::now() + END_WITHIN;
        loop {
            orphans::reap(&self.ours(others));
            let ended = self.process.is_none() || self.ended().is_some();
            if ended && orphans::list(&self.ours(others)).is_empty() || Instant::now() > until {
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.signal(Signal::SIGKILL);
        orphans::signal(&self.ours(others), Signal::SIGKILL);
    }

    fn ended(&mut self) -> Option<End> {
        let status = self.process.as_mut()?.ended()?;
        self.process = None;
        Some(status)
    }

    fn ours(&self, others: &[u32]) -> Vec<u32> {
        others.iter().copied().chain(self.process.iter().map(Charge::pid)).collect()
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }
}

impl Drop for FrontKeeper {
    fn drop(&mut self) {
        match self.process.take() {
            Some(Charge::Found { .. }) => {}
            // It is a front that did not end when it was told to, or nobody has told it.
            Some(Charge::Child(mut child)) => {
                self.sockets.leave();
                child.kill();
            }
            None => self.sockets.leave(),
        }
    }
}

/// Whom the front runs as, if not as us.
pub fn user_of(config: &Config) -> io::Result<Option<User>> {
    let Some(name) = &config.front.user else { return Ok(None) };
    let missing = || io::Error::other(format!("[front] user: there is no user {name}"));
    User::from_name(name)?.map(Some).ok_or_else(missing)
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The front gives its workers 5 s.
const END_WITHIN: Duration = Duration::from_secs(7);
const LOOK: Duration = Duration::from_millis(10);
