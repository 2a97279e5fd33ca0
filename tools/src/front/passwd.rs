//! `torpor passwd`: a line for the users file.

use std::io::{self, BufRead, IsTerminal, Write};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::hash::{Cost, Hash};
use super::users::{LineError, UserName};

/// The line for `user`, with the password that is typed at the terminal, or that is the first line
/// of standard input.
///
/// # Errors
/// The name cannot be a user's, or no password came.
pub fn line(user: &str, cost: Cost) -> io::Result<String> {
    let name = UserName::new(user).ok_or_else(|| io::Error::other(LineError::BadName))?;
    let password = read_password(user)?;
    if password.is_empty() {
        return Err(io::Error::other("an empty password is no password"));
    }
    let hash = Hash::make(password.as_bytes(), cost);
    Ok(format!("{}:{}\n", name.as_str(), hash.as_str()))
}

fn read_password(user: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return first_line();
    }
    let _dark = Dark::new()?;
    eprint!("Password for {user}: ");
    io::stderr().flush()?;
    let password = first_line()?;
    eprint!("\nOnce more: ");
    let again = first_line()?;
    eprintln!();
    if password == again { Ok(password) } else { Err(io::Error::other("these were different")) }
}

fn first_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Dark(Termios);

impl Dark {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut dark = before.clone();
        dark.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &dark)?;
        Ok(Self(before))
    }
}

impl Drop for Dark {
    fn drop(&mut self) {
        // A terminal that has gone shows nothing anyway.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
