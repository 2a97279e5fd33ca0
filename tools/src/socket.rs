//! A listening UNIX socket at a path in Dovecot's folder, and whether it is still there.
//!
//! Dovecot unlinks sockets at a reload, and its folder may vanish and come back, so that a path
//! is ours only as long as its inode is the one that we made.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, UnixCredentials, bind, connect,
    getsockopt, listen, socket,
};
use nix::unistd::{Gid, Group, Uid, User, chown};
use serde::{Deserialize, Serialize};

/// Where a socket shall be and who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub path: PathBuf,
    pub mode: u32,
    pub owner: Option<u32>,
    pub group: Option<u32>,
    pub backlog: u32,
}

/// Device and inode of the path as we made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    dev: u64,
    inode: u64,
}

/// What is at a path now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The socket that we made.
    Ours,
    /// Nothing, or a socket that nobody listens on.
    Vacant,
    /// A socket on which another program listens, or something that is no socket.
    Taken,
}

impl Place {
    /// Binds and listens. Nobody can connect before owner and mode are set.
    ///
    /// # Errors
    /// Names the path; a path that another program listens on is left alone.
    pub fn bind(&self) -> io::Result<(OwnedFd, Mark)> {
        let named = |what: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {what}: {error}", self.path.display()))
        };
        if self.look(None) == Finding::Taken {
            let text = format!("{}: another program is there", self.path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(named("cannot be removed", error));
            }
            _ => {}
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let address = UnixAddr::new(&self.path)?;
        bind(listener.as_raw_fd(), &address).map_err(|errno| named("bind", errno.into()))?;
        let (owner, group) = (self.owner.map(Uid::from_raw), self.group.map(Gid::from_raw));
        chown(&self.path, owner, group).map_err(|errno| named("chown", errno.into()))?;
        let permissions = std::fs::Permissions::from_mode(self.mode);
        std::fs::set_permissions(&self.path, permissions).map_err(|error| named("chmod", error))?;
        let backlog = Backlog::new(self.backlog as i32)?;
        listen(&listener, backlog).map_err(|errno| named("listen", errno.into()))?;
        Ok((listener, self.mark()?))
    }

    /// The mark of a socket that is there and was found to be ours.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn mark(&self) -> io::Result<Mark> {
        let vanished = || io::Error::other(format!("{}: has vanished", self.path.display()));
        mark_of(&self.path).ok_or_else(vanished)
    }

    /// What is there now; `mark` is what we made there, if we did.
    pub fn look(&self, mark: Option<Mark>) -> Finding {
        let Some(found) = mark_of(&self.path) else { return Finding::Vacant };
        if Some(found) == mark {
            return Finding::Ours;
        }
        let data = std::fs::symlink_metadata(&self.path);
        if data.is_ok_and(|data| !data.file_type().is_socket()) {
            return Finding::Taken;
        }
        match UnixStream::connect(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Finding::Vacant,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::Vacant,
            _ => Finding::Taken,
        }
    }

    /// True exactly when whoever connects to the path gets to this socket, as far as can be told:
    /// to one on which the same process has listened first.
    pub fn leads_to(&self, listener: &UnixListener) -> bool {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(probe) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
            return false;
        };
        let Ok(address) = UnixAddr::new(&self.path) else { return false };
        match connect(probe.as_raw_fd(), &address) {
            Ok(()) => {}
            // Its queue is full, so somebody listens; of this path it can hardly be another.
            Err(Errno::EAGAIN) => return true,
            Err(_) => return false,
        }
        // unix(7): the credentials of who called listen(2), at both ends.
        let listened = |peer: Result<UnixCredentials, Errno>| peer.map(|peer| peer.pid()).ok();
        let there = listened(getsockopt(&probe, PeerCredentials));
        there.is_some() && there == listened(getsockopt(listener, PeerCredentials))
    }

    /// Removes the path if it is still the one that we made.
    pub fn remove(&self, mark: Mark) {
        if self.look(Some(mark)) == Finding::Ours {
            // It may go in this very moment; then it is gone as well.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The uid of a user's name.
///
/// # Errors
/// There is no such user.
pub fn uid_of(name: &str) -> io::Result<u32> {
    let user = User::from_name(name)?;
    user.map(|user| user.uid.as_raw())
        .ok_or_else(|| io::Error::other(format!("there is no user {name}")))
}

/// The gid of a group's name.
///
/// # Errors
/// There is no such group.
pub fn gid_of(name: &str) -> io::Result<u32> {
    let group = Group::from_name(name)?;
    group
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| io::Error::other(format!("there is no group {name}")))
}

fn mark_of(path: &Path) -> Option<Mark> {
    let data = std::fs::symlink_metadata(path).ok()?;
    Some(Mark { dev: data.dev(), inode: data.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> Place {
        let path = dir.join("s");
        Place { path, mode: 0o620, owner: None, group: None, backlog: 8 }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = place(dir.path());
        let (first, mark) = place.bind().expect("bound");
        let mode = std::fs::metadata(&place.path).expect("there").mode();
        assert_eq!(mode & 0o777, 0o620);
        assert_eq!(place.look(Some(mark)), Finding::Ours);
        assert_eq!(place.look(None), Finding::Taken);
        assert!(place.bind().expect_err("it lives").to_string().contains("another program"));
        drop(first);
        assert_eq!(place.look(None), Finding::Vacant);
        let (_second, next) = place.bind().expect("bound again");
        place.remove(mark);
        assert!(mark == next || place.look(Some(next)) == Finding::Ours, "another's is left");
        place.remove(next);
        assert_eq!(place.look(Some(next)), Finding::Vacant);
    }

    #[test]
    fn a_path_leads_to_the_socket_that_was_bound_there_last() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = place(dir.path());
        let first = UnixListener::from(place.bind().expect("bound").0);
        assert!(place.leads_to(&first));
        std::fs::remove_file(&place.path).expect("it was there");
        assert!(!place.leads_to(&first), "the path has gone");
        // By another process.
        let script = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); \
                      s.bind(sys.argv[1]); s.listen(); print(flush=True); time.sleep(60)";
        let mut command = std::process::Command::new("python3");
        command.args(["-c", script]).arg(&place.path).stdout(std::process::Stdio::piped());
        let mut other = command.spawn().expect("python");
        let mut out = other.stdout.take().expect("piped");
        std::io::Read::read_exact(&mut out, &mut [0]).expect("it listens");
        assert!(!place.leads_to(&first), "another program listens there");
        other.kill().expect("it waits");
        other.wait().expect("ours");
        assert!(!place.leads_to(&first), "nobody listens there");
    }

    #[test]
    fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = place(dir.path());
        std::fs::write(&place.path, "mine").expect("written");
        assert!(place.bind().is_err());
        assert_eq!(std::fs::read(&place.path).expect("still there"), b"mine");
    }
}
