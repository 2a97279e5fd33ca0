//! A TUN device in a network namespace of its own, and who has which address behind it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{Backlog, listen};
use tappers::{Interface, Tun};

/// The device. Its namespace goes with the last socket in it.
pub struct Device(Tun);

impl Device {
    /// Moves the calling thread into a new network namespace and opens a device there.
    ///
    /// # Errors
    /// The process may not, or the kernel or iproute2 lacks something.
    pub fn open() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let mut tun = Tun::new_named(Interface::new(NAME)?)?;
        tun.set_nonblocking(true)?;
        // A child lives in the namespace of the thread that starts it.
        let address = format!("{SERVER}/8");
        ip(&["address", "add", &address, "dev", NAME])?;
        ip(&["link", "set", NAME, "up", "txqueuelen", QUEUE])?;
        Ok(Self(tun))
    }

    /// A listening socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// The thread is not the device's.
    pub fn listen() -> io::Result<TcpListener> {
        let listener = TcpListener::bind(server())?;
        // std's own queue is of 128. One that is full drops the last packet of a handshake, and
        // with SYN cookies the kernel then knows of no connection that the peer believes in.
        listen(&listener, Backlog::new(QUEUE_MAX)?)?;
        Ok(listener)
    }

    /// The next packet; `None` when there is none now.
    ///
    /// # Errors
    /// The device is gone.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match self.0.recv(buffer) {
            Ok(count) => Ok(Some(&buffer[..count])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// The device is gone.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.0.send(packet).map(drop)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What this process lacks for peers on a TUN device, in words; `None`: nothing.
pub fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root");
    }
    (!Path::new("/dev/net/tun").exists()).then_some("/dev/net/tun")
}

/// Where the server listens.
pub fn server() -> SocketAddrV4 {
    SocketAddrV4::new(SERVER, PORT)
}

/// Each peer has an address of its own, as phones have.
pub fn address(peer: u32) -> SocketAddrV4 {
    assert!(peer < PEERS_MAX, "peer {peer} has no address");
    SocketAddrV4::new(Ipv4Addr::from_bits(FIRST_PEER.to_bits() + peer), PEER_PORT)
}

/// The peer that has an address.
pub fn peer_at(address: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(address) = address else { return None };
    let peer = address.ip().to_bits().checked_sub(FIRST_PEER.to_bits())?;
    (peer < PEERS_MAX && address.port() == PEER_PORT).then_some(peer)
}

fn ip(words: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(words).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| io::Error::other(format!("ip: {text}")))
}

const NAME: &str = "torpor0";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PORT: u16 = 143;
const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
const PEER_PORT: u16 = 40_000;
/// Packets that wait for us before the kernel drops one: a batch of keepalives of some engines.
const QUEUE: &str = "20000";
/// Connections that wait to be accepted: somaxconn of a new namespace.
const QUEUE_MAX: i32 = 4096;
/// 10.64.0.1 to 10.127.255.255.
pub const PEERS_MAX: u32 = (64 << 16) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_an_address_and_every_address_its_peer() {
        for peer in [0, 1, 255, 65_536, PEERS_MAX - 1] {
            assert_eq!(peer_at(address(peer).into()), Some(peer));
        }
        assert_eq!(address(PEERS_MAX - 1).ip(), &Ipv4Addr::new(10, 127, 255, 255));
        assert_eq!(peer_at(server().into()), None);
        assert_eq!(peer_at("10.128.0.0:40000".parse().expect("an address")), None);
        assert_eq!(peer_at("[::1]:40000".parse().expect("an address")), None);
    }
}
