//! All peers, told what to do from outside.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use thiserror::Error;

use super::device::{self, Device, PEERS_MAX};
use super::tcb::{PAYLOAD_BYTES_MAX, Tally};
use super::thread::Thread;

/// Peers on a thread of their own. Dropping it resets whoever is connected and ends the thread.
pub struct Crowd {
    /// `None` exactly while it ends.
    orders: Option<Sender<Order>>,
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What the peers are told.
#[derive(Debug)]
pub enum Order {
    /// The next so many connect.
    Open(u32),
    Say(Vec<u32>, Vec<u8>),
    Finish(Vec<u32>),
    Reset(Vec<u32>),
    Count(Sender<Tally>),
}

/// Why there is no crowd, or none any more.
#[derive(Debug, Error)]
pub enum CrowdError {
    #[error("peers on a TUN device: {0}")]
    Host(#[from] io::Error),
    #[error("peers on a TUN device: {0} at most, {1} are wanted")]
    Many(u32, u32),
    #[error("peers on a TUN device: their thread has ended")]
    Ended,
}

impl Crowd {
    /// Makes the namespace and the device, with room for so many peers. The listener is where they
    /// will connect; accept as many as you have [opened](Self::open).
    ///
    /// # Errors
    /// See [`device::missing`].
    pub fn start(peers_max: u32) -> Result<(Self, TcpListener), CrowdError> {
        if peers_max > PEERS_MAX {
            return Err(CrowdError::Many(PEERS_MAX, peers_max));
        }
        let bell = Arc::new(
            EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
                .map_err(io::Error::from)?,
        );
        let (orders, inbox) = channel();
        let (ready, readiness) = channel();
        let rung = Arc::clone(&bell);
        let live = move || {
            let opened = Device::open().and_then(|device| Ok((device, Device::listen()?)));
            let (device, told) = match opened {
                Ok((device, listener)) => (Some(device), Ok(listener)),
                Err(error) => (None, Err(error)),
            };
            let heard = ready.send(told).is_ok();
            match device.filter(|_| heard) {
                Some(device) => Thread::new(device, rung, inbox, peers_max).run(),
                None => Ok(()),
            }
        };
        let thread = std::thread::Builder::new().name("peers".to_owned()).spawn(live)?;
        let listener = readiness.recv().map_err(|_| CrowdError::Ended)??;
        Ok((Self { orders: Some(orders), bell, thread: Some(thread) }, listener))
    }

    /// The next `count` peers connect; their numbers follow those of the last ones. Returns at
    /// once: somebody has to accept them, before more than 4,096 wait.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn open(&self, count: u32) -> Result<(), CrowdError> {
        self.order(Order::Open(count))
    }

    /// Each of these peers sends `bytes`, at most 1024.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn say(&self, peers: Vec<u32>, bytes: &[u8]) -> Result<(), CrowdError> {
        assert!(!bytes.is_empty() && bytes.len() <= PAYLOAD_BYTES_MAX, "{} bytes", bytes.len());
        self.order(Order::Say(peers, bytes.to_vec()))
    }

    /// Each of these peers sends FIN.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn finish(&self, peers: Vec<u32>) -> Result<(), CrowdError> {
        self.order(Order::Finish(peers))
    }

    /// Each of these peers sends RST.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn reset(&self, peers: Vec<u32>) -> Result<(), CrowdError> {
        self.order(Order::Reset(peers))
    }

    /// What the peers have met so far; all earlier orders are carried out first.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn tally(&self) -> Result<Tally, CrowdError> {
        let (sender, tally) = channel();
        self.order(Order::Count(sender))?;
        tally.recv().map_err(|_| CrowdError::Ended)
    }

    /// The number of the peer at the other end of an accepted socket.
    pub fn peer_at(address: SocketAddr) -> Option<u32> {
        device::peer_at(address)
    }

    fn order(&self, order: Order) -> Result<(), CrowdError> {
        let orders = self.orders.as_ref().ok_or(CrowdError::Ended)?;
        orders.send(order).map_err(|_| CrowdError::Ended)?;
        self.bell.write(1).map_err(io::Error::from)?;
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.orders = None;
        // A thread that has ended hears nothing and needs nothing.
        let _ = self.bell.write(1);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("peers on a TUN device: {error}");
        }
    }
}
