//! The private Dovecot itself: start, reload, stop, start again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::client::Client;
use super::config;
use super::mail::Mailbox;
use super::options::{Options, Owner, Version};
use super::process::{Process, descendants};
use super::stream::Endpoint;

/// A running Dovecot. Dropping it ends it and its children, and removes a folder of its own.
#[derive(Debug)]
pub struct Dovecot {
    // The process comes first, so that it has ended before its folder is removed.
    process: Option<Process>,
    options: Options,
    dir: PathBuf,
    port: u16,
    tls_port: u16,
    _own_dir: Option<TempDir>,
}

impl Dovecot {
    /// Starts a Dovecot and returns once it greets.
    ///
    /// # Errors
    /// Not root, no Dovecot, a folder too long for socket paths, or a Dovecot that ends early;
    /// then the error holds the end of its log.
    pub fn start(options: &Options) -> io::Result<Dovecot> {
        if !nix::unistd::geteuid().is_root() {
            return Err(io::Error::other("a private Dovecot must be started as root"));
        }
        if options.version == Version::V24 && options.root.is_none() {
            require_installed(Version::V24)?;
        }
        let (dir, own_dir) = match &options.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let own = tempfile::Builder::new().prefix("torpor-").tempdir()?;
                (own.path().to_path_buf(), Some(own))
            }
        };
        if dir.as_os_str().len() > DIR_BYTES_MAX || !dir.is_absolute() {
            let text = format!("dir {} must be absolute, of {DIR_BYTES_MAX} bytes", dir.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        std::fs::create_dir_all(&dir)?;
        let port = if options.port == 0 { free_port()? } else { options.port };
        let tls_port = if options.tls_port == 0 { free_port()? } else { options.tls_port };
        config::write(options, &dir, port, tls_port)?;
        let options = options.clone();
        let mut server = Dovecot { process: None, options, dir, port, tls_port, _own_dir: own_dir };
        server.start_again()?;
        Ok(server)
    }

    /// Starts Dovecot again in the same folder after [`Dovecot::stop`].
    ///
    /// # Errors
    /// As [`Dovecot::start`].
    pub fn start_again(&mut self) -> io::Result<()> {
        assert!(self.process.is_none(), "stop it before starting it again");
        if let Some(place) = self.place_in_root() {
            std::fs::create_dir_all(place)?;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", LAUNCH, "sh"]).arg(&self.dir);
        command.args(self.options.root.as_deref());
        self.process = Some(Process::spawn(&command)?);
        self.wait_until_ready()
    }

    /// Stops Dovecot as its init script would, and waits for the last of its processes.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Duration::from_secs(20));
        }
    }

    /// Has Dovecot read its configuration again (SIGHUP) and waits until it greets.
    ///
    /// # Errors
    /// Dovecot is stopped or did not come back.
    pub fn reload(&mut self) -> io::Result<()> {
        let seen = self.log().matches("SIGHUP received").count();
        let process = self.process.as_mut().ok_or_else(|| io::Error::other("it is stopped"))?;
        process.signal(Signal::SIGHUP)?;
        let deadline = Instant::now() + READY_WITHIN;
        while self.log().matches("SIGHUP received").count() == seen {
            if Instant::now() > deadline {
                return Err(self.failure("did not reload"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.wait_until_ready()
    }

    /// Runs `doveadm` against this Dovecot and returns what it printed, errors included.
    ///
    /// # Errors
    /// Dovecot is stopped, or doveadm could not be started.
    pub fn doveadm(&self, arguments: &[&str]) -> io::Result<String> {
        let pid = self.pid().ok_or_else(|| io::Error::other("doveadm needs a running Dovecot"))?;
        let output = Command::new("nsenter")
            .args(["--target", &pid.to_string(), "--mount", "--root", "--wd=/"])
            .args(["/usr/bin/doveadm", "-c"])
            .arg(self.dir.join("etc/dovecot.conf"))
            .args(arguments)
            .output()?;
        let both = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&both).into_owned())
    }

    /// Pid of the master, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The imap processes that exist now: one for each client that is awake, and spare ones.
    pub fn imap_pids(&self) -> Vec<i32> {
        let family = self.pid().map(descendants).unwrap_or_default();
        family.iter().filter(|relative| relative.name == "imap").map(|imap| imap.pid).collect()
    }

    /// The users whose sessions an imap process serves at this moment.
    pub fn awake_users(&self) -> BTreeSet<String> {
        let titles = self.imap_pids().into_iter().filter_map(|pid| {
            let title = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            // `imap [USER IP COMMAND]`, by `verbose_proctitle`.
            let title = String::from_utf8_lossy(&title).into_owned();
            let user = title.split_once('[')?.1.split([' ', ']']).next()?;
            Some(user.to_owned())
        });
        titles.collect()
    }

    /// The folder of everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of the sockets.
    pub fn base_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Where a client connects to, on the loopback address.
    pub fn endpoint(&self, tls: bool) -> Endpoint {
        let port = if tls { self.tls_port } else { self.port };
        Endpoint { address: ([127, 0, 0, 1], port).into(), tls }
    }

    /// The INBOX of a user, for deliveries.
    pub fn mailbox(&self, user: &str) -> Mailbox {
        let maildir = self.dir.join("mail").join(user).join("Maildir");
        Mailbox::new(maildir, self.options.mail_uid, self.options.mail_gid)
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.dir.join("log/dovecot.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Where the folder appears inside the root of an unpacked Dovecot.
    fn place_in_root(&self) -> Option<PathBuf> {
        let root = self.options.root.as_ref()?;
        Some(root.join(self.dir.strip_prefix("/").unwrap_or(&self.dir)))
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            let process = self.process.as_mut().ok_or_else(|| io::Error::other("it is stopped"))?;
            if process.wait(Duration::from_millis(10)).is_some() {
                self.process = None;
                return Err(self.failure("ended while it was starting"));
            }
            if Instant::now() > deadline {
                return Err(self.failure("is not ready"));
            }
        }
    }

    fn is_ready(&self) -> bool {
        let own_hibernate = self.options.owner == Owner::Stock;
        self.dir.join("run/imap-master").exists()
            && (!own_hibernate || self.dir.join("run/imap-hibernate").exists())
            && Client::connect(self.endpoint(false)).is_ok()
    }

    /// An error that ends with the last lines Dovecot wrote.
    fn failure(&self, what: &str) -> io::Error {
        let stdout = std::fs::read_to_string(self.dir.join("log/stdout")).unwrap_or_default();
        let text = stdout + &self.log();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n  ");
        io::Error::other(format!("the private Dovecot {what}:\n  {tail}"))
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
        if let Some(place) = self.place_in_root() {
            // Empty once the namespace of the mounts has gone; anything else is not ours.
            let _ = std::fs::remove_dir(place);
        }
    }
}

fn require_installed(version: Version) -> io::Result<()> {
    if Version::installed()? == version {
        return Ok(());
    }
    let text = "root: the installed Dovecot is not 2.4; unpack one (tests/lib/root24 DIR) and set \
                TORPOR_ROOT24";
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// A port below the range that outgoing connections take theirs from.
fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = u16::try_from(std::process::id() % 11_000).map_err(io::Error::other)?;
    for _ in 0..12_000 {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(from) % 12_000;
        let port = 20_000 + offset;
        if std::net::TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free between 20000 and 32000"))
}

/// Runs Dovecot in the foreground; in a root of its own when a second argument names one. The
/// mounts lie in this command's namespace and vanish with its last process.
const LAUNCH: &str = r#"
ulimit -n "$(ulimit -Hn)"
exec < /dev/null > "$1/log/stdout" 2>&1
[ $# = 1 ] && exec /usr/sbin/dovecot -F -c "$1/etc/dovecot.conf"
mount --bind /proc "$2/proc" && mount --bind /dev "$2/dev" && mount --bind "$1" "$2$1" &&
exec chroot "$2" /usr/sbin/dovecot -F -c "$1/etc/dovecot.conf"
"#;

/// `sun_path` holds 108 bytes; the longest name below is `/run/srv.imap-hibernate/<pid>`.
const DIR_BYTES_MAX: usize = 70;

const READY_WITHIN: Duration = Duration::from_secs(20);
