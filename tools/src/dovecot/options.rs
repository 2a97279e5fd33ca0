//! What a private Dovecot is asked to be.

use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The configuration dialect and worker protocol of a Dovecot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2.3.x, as in Debian 12.
    V23,
    /// 2.4.x, as in Debian 13.
    V24,
}

impl Version {
    /// The version of the Dovecot that this machine has installed.
    ///
    /// # Errors
    /// Says the line that installs Dovecot when there is none.
    pub fn installed() -> io::Result<Version> {
        let output = Command::new("/usr/sbin/dovecot").arg("--version").output();
        let text = match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) => {
                let text = "no Dovecot on this machine: apt-get install dovecot-imapd";
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
        };
        match text.get(..4) {
            Some("2.3.") => Ok(Version::V23),
            Some("2.4.") => Ok(Version::V24),
            _ => Err(io::Error::other(format!("Dovecot {} is neither 2.3 nor 2.4", text.trim()))),
        }
    }
}

/// Who listens on `base_dir/imap-hibernate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Dovecot's own listener is off (`mode = 0`); torpor makes the socket.
    Torpor,
    /// Dovecot's own imap-hibernate service.
    Stock,
}

/// Everything that can differ between two private Dovecots.
#[derive(Clone, Debug)]
pub struct Options {
    pub version: Version,
    /// Root folder of an unpacked Dovecot; `None` runs the installed one.
    pub root: Option<PathBuf>,
    /// Folder for configuration, sockets, logs and mail; `None` makes a temporary one that goes
    /// away with the server. UNIX socket paths limit it to 70 bytes.
    pub dir: Option<PathBuf>,
    /// Addresses to listen on, in Dovecot's syntax.
    pub listen: String,
    /// Plaintext port; 0 takes a free one.
    pub port: u16,
    /// TLS port; 0 takes a free one.
    pub tls_port: u16,
    /// Users `u00001`, `u00002`, ... all with the password `pw`.
    pub users: u32,
    /// Seconds in IDLE before an imap worker hibernates its client; 0 never does.
    pub hibernate_timeout_secs: u32,
    pub owner: Owner,
    /// `process_limit` of service imap.
    pub imap_process_limit: u32,
    /// Sessions that one imap process serves before it exits.
    pub service_count: u32,
    /// imap processes kept waiting for work.
    pub imap_min_avail: u32,
    /// `imap_idle_notify_interval`, in seconds; 0 sends no keepalives.
    pub idle_notify_secs: u32,
    /// `mail_debug`.
    pub debug: bool,
    /// Owner of all mail.
    pub mail_uid: u32,
    pub mail_gid: u32,
    /// Lines put at the end of the configuration.
    pub extra_config: String,
}

impl Options {
    /// The stock limits of Dovecot, 100 users, hibernation after one second.
    ///
    /// The root of an unpacked 2.4 is `TORPOR_ROOT24`, else `target/dovecot-2.4` where that is.
    pub fn new(version: Version) -> Options {
        let root = match version {
            Version::V23 => None,
            Version::V24 => root24(),
        };
        Options {
            version,
            root,
            dir: None,
            listen: "127.0.0.1".to_owned(),
            port: 0,
            tls_port: 0,
            users: 100,
            hibernate_timeout_secs: 1,
            owner: Owner::Torpor,
            imap_process_limit: 1024,
            service_count: 1,
            imap_min_avail: 0,
            idle_notify_secs: 120,
            debug: false,
            mail_uid: 5000,
            mail_gid: 5000,
            extra_config: String::new(),
        }
    }

    /// The name of user `number`, counted from 1.
    pub fn user(number: u32) -> String {
        assert!(number >= 1, "users are counted from 1");
        format!("u{number:05}")
    }
}

fn root24() -> Option<PathBuf> {
    let unpacked = || PathBuf::from("target/dovecot-2.4").canonicalize().ok();
    let root = std::env::var_os("TORPOR_ROOT24").map(PathBuf::from).or_else(unpacked);
    root.filter(|root| root.join(".ready").exists())
}
