//! A listening UNIX socket at a path in Dovecot's folder, and whether it is still there.
//!
//! Dovecot unlinks sockets at a reload, and its folder may vanish and come back, so that a path
//! is ours only as long as its inode is the one that we made.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
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
    fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = place(dir.path());
        std::fs::write(&place.path, "mine").expect("written");
        assert!(place.bind().is_err());
        assert_eq!(std::fs::read(&place.path).expect("still there"), b"mine");
    }
}
