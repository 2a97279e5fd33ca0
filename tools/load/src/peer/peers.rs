//! Peers on a TUN device, and their connections accepted on this side.

use std::error::Error;
use std::net::{TcpListener, TcpStream};

use super::Crowd;

/// Peers, and where they connect.
pub struct Peers {
    pub crowd: Crowd,
    listener: TcpListener,
}

impl Peers {
    /// # Errors
    /// There is no TUN device.
    pub fn start(peers_max: u32) -> Result<Self, Box<dyn Error>> {
        let (crowd, listener) = Crowd::start(peers_max)?;
        Ok(Self { crowd, listener })
    }

    /// The next `count` connect; each connection goes to `take`, with its peer's number.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn accept<E>(
        &self,
        count: u32,
        mut take: impl FnMut(u32, TcpStream) -> Result<(), E>,
    ) -> Result<(), Box<dyn Error>>
    where
        E: Into<Box<dyn Error>>,
    {
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            self.crowd.open(batch)?;
            for _ in 0..batch {
                let (stream, from) = self.listener.accept()?;
                let peer = Crowd::peer_at(from).ok_or("a connection from nowhere")?;
                take(peer, stream).map_err(Into::into)?;
            }
            left -= batch;
        }
        Ok(())
    }
}

/// What a listen queue of 4,096 holds for sure.
const BATCH: u32 = 1000;
