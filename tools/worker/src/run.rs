//! The two ways in which a worker begins.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use torpor_store::{Home, StoreError};

use crate::account::{Account, Options};
use crate::badge;
use crate::end::End;
use crate::link::Link;
use crate::reply::Reply;
use crate::session::Session;
use crate::stop::stop_descriptor;
use crate::unhibernate;

/// A client that has just logged in.
#[derive(Debug)]
pub struct Login {
    pub account: Account,
    /// Of the login command, which the worker answers.
    pub tag: String,
    /// What the client sent behind its login.
    pub input: Vec<u8>,
}

/// Why a client could not be served at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Host: the socket is none, or signals cannot be heard.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Host: the user's mail directory cannot be had.
    #[error("{}: {source}", .home.display())]
    Home { home: std::path::PathBuf, source: StoreError },
    #[error("Failed to unhibernate client: {0}")]
    Refused(#[from] unhibernate::Refusal),
}

/// Serves a fresh client until its end.
pub fn run_fresh(client: OwnedFd, options: Options, login: Login) -> Result<End, RunError> {
    badge::show(&login.account);
    let mut link = Link::new(client, Some(stop_descriptor()?))?;
    link.prepend(&login.input);
    let account = login.account;
    let home = match Home::open(&account.home) {
        Ok(home) => home,
        Err(source) => {
            // The client hears it if it still listens; the error goes to the log either way.
            let refusal = Reply::no("Internal error occurred.").code("UNAVAILABLE");
            let _ = refusal.write(&mut link, Some(&login.tag)).and_then(|()| link.flush());
            return Err(RunError::Home { home: account.home, source });
        }
    };
    Ok(Session::new(link, account, options, home).greet_and_run(&login.tag))
}

/// Serves a client that the engine gives back until its end.
pub fn run_woken(master: OwnedFd, options: Options) -> Result<End, RunError> {
    let ours = |account: &Account| {
        badge::show(account);
        stop_descriptor().map(Some)
    };
    Ok(unhibernate::run_woken(master, options, ours)?)
}
