//! The crew: worker processes, one per awake client.
//!
//! A worker is this program anew with a socket as its descriptor 0 (see `torpor_worker`). How many
//! there are at once is bounded by room, which is given out in the order in which it was asked
//! for, so that logins and wakes cannot starve each other.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::count::Counts;
use super::roll::{Awake, Roll};
use super::users::UserName;
use crate::config::Config;

/// All workers of this front.
pub struct Crew {
    maildir: PathBuf,
    base_dir: PathBuf,
    hibernate_after_ms: u64,
    permits: Arc<Semaphore>,
    counts: Arc<Counts>,
    pub roll: Roll,
    /// Copies of it are the workers' descriptor 1, on which each says whom it serves.
    badges: OwnedFd,
}

/// Room for one worker.
#[derive(Debug)]
pub struct Room {
    /// Gives the room back when it is dropped.
    _permit: OwnedSemaphorePermit,
}

/// A client that has just logged in.
#[derive(Debug)]
pub struct Fresh {
    pub user: UserName,
    pub session: String,
    pub tag: String,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// What it sent behind its login.
    pub input: Vec<u8>,
}

impl Crew {
    /// Of a front whose mail homes lie in `maildir`.
    pub fn new(config: &Config, maildir: PathBuf, counts: Arc<Counts>, badges: OwnedFd) -> Self {
        let front = &config.front;
        Self {
            maildir,
            base_dir: config.base_dir.clone(),
            hibernate_after_ms: front.hibernate_after_ms,
            permits: Arc::new(Semaphore::new(front.workers_max as usize)),
            counts,
            roll: Roll::default(),
            badges,
        }
    }

    /// Waits for room.
    pub async fn room(&self) -> Room {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Room { _permit: permit.expect("the semaphore is never closed") }
    }

    /// The same, for at most `wait`.
    pub async fn room_within(&self, wait: Duration) -> Option<Room> {
        tokio::time::timeout(wait, self.room()).await.ok()
    }

    /// Starts a worker for a client that has just logged in, and says its pid.
    ///
    /// # Errors
    /// No process could be made; the client is closed unless the caller has a copy.
    pub fn start_fresh(
        self: &Arc<Self>,
        room: Room,
        client: OwnedFd,
        fresh: &Fresh,
    ) -> io::Result<u32> {
        let remote_ip = fresh.peer.ip().to_canonical().to_string();
        let user = fresh.user.as_str().to_owned();
        let awake = Awake { user, session: fresh.session.clone(), remote_ip };
        let pid = self.start(room, client, self.fresh_arguments(fresh), awake)?;
        self.counts.workers_fresh.add();
        Ok(pid)
    }

    /// Starts a worker for a connection that was accepted on `imap-master`.
    ///
    /// # Errors
    /// No process could be made; the connection is closed, and the engine asks again.
    fn start_woken(self: &Arc<Self>, room: Room, connection: OwnedFd) -> io::Result<()> {
        self.start(room, connection, vec!["--woken".into()], Awake::default())?;
        self.counts.workers_woken.add();
        Ok(())
    }

    /// Accepts the engine's connections for as long as there is room; those beyond wait in the
    /// listen queue, and the engine's window follows.
    pub async fn take_wakes(self: Arc<Self>, master: UnixListener) {
        loop {
            let room = self.room().await;
            let accepted = master.accept().await.and_then(|(connection, _)| connection.into_std());
            let started =
                accepted.and_then(|connection| self.start_woken(room, OwnedFd::from(connection)));
            if let Err(error) = started {
                tracing::error!("a worker cannot be started: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn fresh_arguments(&self, fresh: &Fresh) -> Vec<OsString> {
        let home = self.maildir.join(fresh.user.as_str());
        let ip = |address: SocketAddr| address.ip().to_canonical().to_string();
        let port = |address: SocketAddr| address.port().to_string();
        let words: [(&str, OsString); 9] = [
            ("--user", fresh.user.as_str().into()),
            ("--home", home.into()),
            ("--session", (&fresh.session).into()),
            ("--tag", (&fresh.tag).into()),
            ("--lip", ip(fresh.local).into()),
            ("--lport", port(fresh.local).into()),
            ("--rip", ip(fresh.peer).into()),
            ("--rport", port(fresh.peer).into()),
            ("--input", STANDARD.encode(&fresh.input).into()),
        ];
        let given = words.into_iter().filter(|(_, value)| !value.is_empty());
        given.flat_map(|(name, value)| [name.into(), value]).collect()
    }

    fn start(
        self: &Arc<Self>,
        room: Room,
        socket: OwnedFd,
        arguments: Vec<OsString>,
        awake: Awake,
    ) -> io::Result<u32> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("torpor").arg(SUBCOMMAND).arg("--base-dir").arg(&self.base_dir);
        command.args(["--hibernate-after-ms", &self.hibernate_after_ms.to_string()]);
        command.args(arguments);
        command.stdin(Stdio::from(socket)).stdout(Stdio::from(self.badges.try_clone()?));
        let child = command.spawn().inspect_err(|_| self.counts.workers_unstarted.add())?;
        let pid = child.id().expect("it was not waited for yet");
        self.roll.add(pid, awake);
        tokio::spawn(Arc::clone(self).attend(child, pid, room));
        Ok(pid)
    }

    /// Waits for a worker's end.
    async fn attend(self: Arc<Self>, mut child: Child, pid: u32, room: Room) {
        let ended = child.wait().await;
        let awake = self.roll.remove(pid);
        drop(room);
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => self.say_broken(pid, &awake, status),
            Err(error) => tracing::error!("worker {pid} cannot be waited for: {error}"),
        }
    }

    fn say_broken(&self, pid: u32, awake: &Awake, status: ExitStatus) {
        self.counts.workers_broken.add();
        let Awake { user, session, .. } = awake;
        tracing::error!(
            event = "worker_broken",
            user,
            session,
            pid,
            "worker {pid} of user <{user}> session <{session}> ended: {status}"
        );
    }
}

/// No process can be made: a moment for others to end.
const PAUSE: Duration = Duration::from_millis(50);
/// The hidden subcommand.
pub const SUBCOMMAND: &str = "worker";
