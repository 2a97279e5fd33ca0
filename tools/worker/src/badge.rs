//! Telling the front whom this process serves, so that `torpor who` can name those awake.

use std::io;

use nix::unistd::{getpid, write};
use torpor_handoff::line::escape_into;

use crate::account::Account;

/// Writes `pid TAB user TAB session TAB remote ip LF` to descriptor 1, a pipe that all workers
/// share, in one write so that lines stay whole. A front that does not listen costs the client
/// nothing.
pub fn show(account: &Account) {
    let address = account.rip.map(|address| address.to_string()).unwrap_or_default();
    let mut line = getpid().to_string().into_bytes();
    for field in [&account.user, &account.session, &address] {
        line.push(b'\t');
        escape_into(&mut line, field.as_bytes());
    }
    line.push(b'\n');
    if line.len() <= BADGE_BYTES_MAX {
        let _ = write(io::stdout(), &line);
    }
}

/// Below PIPE_BUF.
const BADGE_BYTES_MAX: usize = 512;
