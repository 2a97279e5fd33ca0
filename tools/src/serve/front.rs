//! The keeper of the front: binds its sockets, starts it, and starts it again when it has ended.
//!
//! The sockets belong to this process and are handed down, so that clients and wakes that come
//! while the front is away wait in the listen queues instead of being turned away.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};
use nix::unistd::{Pid, User, chown};

use super::ServeOptions;
use super::given::Given;
use super::orphans;
use super::pause::Pause;
use crate::config::Config;
use crate::front::{SUBCOMMAND, users::Users};
use crate::socket::{Mark, Place, uid_of};

/// The front of this process. Dropping it ends it and its workers.
pub struct FrontKeeper {
    clients: OwnedFd,
    address: SocketAddr,
    master: OwnedFd,
    place: Place,
    mark: Mark,
    options: ServeOptions,
    user: Option<User>,
    child: Option<Child>,
    pause: Pause,
}

impl FrontKeeper {
    /// Binds the sockets and makes `base_dir`. `None`: the configuration has no front.
    ///
    /// # Errors
    /// Names what is missing or cannot be bound; the users file is read to see that it can be.
    pub fn open(
        options: &ServeOptions,
        config: &Config,
        given: &mut Given,
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
        let user = config.front.user.as_deref().map(user_of).transpose()?;
        make_folder(&config.base_dir, user.as_ref())?;
        let (clients, address) = match given.take_tcp(config.front.listen) {
            Some(listener) => (OwnedFd::from(listener), config.front.listen),
            None => listen_at(config.front.listen)?,
        };
        let place = Place {
            path: config.base_dir.join("imap-master"),
            mode: 0o600,
            owner: config.front.user.as_deref().map(uid_of).transpose()?,
            group: None,
            backlog: BACKLOG as u32,
        };
        let (master, mark) = place.bind()?;
        // Workers whose front has died become our children, so that none is forgotten.
        set_child_subreaper(true)?;
        let options = options.clone();
        let pause = Pause::new(PAUSE_MIN, PAUSE_MAX);
        let keeper =
            Self { clients, address, master, place, mark, options, user, child: None, pause };
        Ok(Some(keeper))
    }

    /// Where mail clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it. Must be called by a thread that lives as long as the front shall.
    ///
    /// # Errors
    /// No process could be made.
    pub fn start(&mut self) -> io::Result<()> {
        let again = |socket: &OwnedFd| socket.as_fd().try_clone_to_owned().map(Stdio::from);
        let mut command = Command::new("/proc/self/exe");
        command.arg0("torpor").arg(SUBCOMMAND).args(self.options.arguments());
        command.stdin(again(&self.clients)?).stdout(again(&self.master)?);
        // Passwords are checked on many threads for a moment each; an arena for each of them would
        // keep half a megabyte for good.
        command.env("MALLOC_ARENA_MAX", "1");
        // A Ctrl-C is for us alone: workers that get it would end without BYE.
        command.process_group(0);
        if let Some(user) = &self.user {
            // Root's supplementary groups go along with its uid.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        self.child = Some(command.spawn()?);
        self.pause.started();
        Ok(())
    }

    /// Starts it again if it has ended; to be called once a second. `others` are our children that
    /// somebody else looks after.
    pub fn look(&mut self, others: &[u32]) {
        orphans::reap(&self.ours(others));
        if let Some(status) = self.ended() {
            tracing::error!(event = "front_ended", "the front has ended: {status}; sleepers stay");
            self.pause.ended();
        }
        if self.child.is_none() && self.pause.is_over() {
            match self.start() {
                Ok(()) => tracing::info!(event = "front_started", "the front was started again"),
                Err(error) => tracing::error!("the front cannot be started: {error}"),
            }
        }
    }

    /// Lets it read the users again.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Tells it and its workers to say BYE and end. No wake comes any more.
    pub fn stop(&self, others: &[u32]) {
        self.place.remove(self.mark);
        self.signal(Signal::SIGTERM);
        orphans::signal(&self.ours(others), Signal::SIGTERM);
    }

    /// After [`FrontKeeper::stop`]: waits for the front and its workers, for as long as BYE takes.
    pub fn join(mut self, others: &[u32]) {
        let until = Instant::now() + END_WITHIN;
        loop {
            orphans::reap(&self.ours(others));
            let ended = self.child.is_none() || self.ended().is_some();
            if ended && orphans::list(&self.ours(others)).is_empty() || Instant::now() > until {
                break;
            }
            std::thread::sleep(LOOK);
        }
        orphans::signal(&self.ours(others), Signal::SIGKILL);
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    fn ours(&self, others: &[u32]) -> Vec<u32> {
        others.iter().copied().chain(self.child.iter().map(Child::id)).collect()
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // One that has ended is not waited for yet, so its pid is nobody else's.
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
    }
}

impl Drop for FrontKeeper {
    fn drop(&mut self) {
        self.place.remove(self.mark);
        if let Some(mut child) = self.child.take() {
            // It is a front that did not end when it was told to, or nobody has told it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn user_of(name: &str) -> io::Result<User> {
    let user = User::from_name(name)?;
    user.ok_or_else(|| io::Error::other(format!("[front] user: there is no user {name}")))
}

/// The folder of the sockets, open to its owner alone. One that is there is left as it is.
fn make_folder(path: &Path, owner: Option<&User>) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("base_dir {}: {error}", path.display()))
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(named)?,
    }
    let (uid, gid) = (owner.map(|user| user.uid), owner.map(|user| user.gid));
    chown(path, uid, gid).map_err(|errno| named(errno.into()))
}

/// A listening socket with a queue for storms, which the standard library's has not.
fn listen_at(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let named = |errno: nix::errno::Errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("listen = {address}: {error}"))
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(named)?;
    listen(&socket, Backlog::new(BACKLOG)?).map_err(named)?;
    let bound: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let port = bound.as_sockaddr_in().map(|bound| bound.port());
    let port = port.or_else(|| bound.as_sockaddr_in6().map(|bound| bound.port()));
    Ok((socket, SocketAddr::new(address.ip(), port.unwrap_or_else(|| address.port()))))
}

/// Connections that wait to be accepted; see net.core.somaxconn.
const BACKLOG: i32 = 4096;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The front gives its workers 5 s.
const END_WITHIN: Duration = Duration::from_secs(7);
const LOOK: Duration = Duration::from_millis(10);
