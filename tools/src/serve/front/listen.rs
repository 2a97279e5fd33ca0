//! Where the front is reached: its folder, and its socket for mail clients.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};
use nix::unistd::{User, chown};

/// The folder of the sockets, open to its owner alone. One that is there is left as it is.
pub fn make_folder(path: &Path, owner: Option<&User>) -> io::Result<()> {
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
pub fn listen_at(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
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
pub const BACKLOG: i32 = 4096;
