//! torpor alone, with its built-in worker.

use std::io;
use std::path::PathBuf;

use super::{HIBERNATE_SECS, Stage, check_files};
use crate::dovecot::{Endpoint, Mailbox, Options, raise_open_files};
use crate::own::Own;
use crate::{engine, front, watcher};

/// A `torpor serve --maildir` in a temporary folder.
pub struct OwnStage {
    own: Own,
    clients: u32,
}

impl OwnStage {
    /// Starts it, with a mail in every INBOX.
    ///
    /// # Errors
    /// Too many clients for this host, or torpor does not start.
    pub fn set(clients: u32) -> io::Result<Self> {
        // This process has one descriptor a client, torpor as well.
        check_files(clients, 1, raise_open_files())?;
        let config = format!(
            "hibernate_after_ms = {}\nworkers_max = {WORKERS_MAX}\n",
            u64::from(HIBERNATE_SECS) * 1000
        );
        let own = Own::start(&std::env::current_exe()?, clients + 1, &config)?;
        for number in 1..=clients + 1 {
            let mailbox = own.mailbox(&Options::user(number));
            mailbox.deliver(&Mailbox::message("welcome"))?;
        }
        Ok(Self { own, clients })
    }
}

impl Stage for OwnStage {
    fn endpoint(&self) -> Endpoint {
        self.own.endpoint()
    }

    fn mailbox(&self, user: &str) -> Mailbox {
        self.own.mailbox(user)
    }

    fn worker_pids(&self) -> Vec<i32> {
        self.own.pids(front::WORKER)
    }

    fn torpor_pids(&self) -> Vec<i32> {
        let mut pids = vec![self.own.pid()];
        pids.extend(self.own.pids(engine::SUBCOMMAND));
        pids.extend(self.own.pids(watcher::SUBCOMMAND));
        pids.extend(self.own.pids(front::SUBCOMMAND));
        pids
    }

    fn base_dir(&self) -> PathBuf {
        self.own.base_dir()
    }

    fn awake_max(&self) -> u32 {
        WORKERS_MAX / 2
    }

    fn hint(&self) -> &'static str {
        ""
    }

    fn invitation(&self) -> String {
        let user = Options::user(self.clients + 1);
        format!(
            "\nIt stays up for your own mail client: IMAP without TLS at {}, user {user}, password \
             pw.\nLet it idle for {HIBERNATE_SECS} s and look:  torpor who --maildir {}\n\
             Deliver to it:  cp MESSAGE {}/\nCtrl-C ends everything.",
            self.own.endpoint().address,
            self.own.maildir().display(),
            self.own.mailbox(&user).path().join("new").display()
        )
    }
}

/// Twice as many as are woken before they go back to sleep.
const WORKERS_MAX: u32 = 1024;
