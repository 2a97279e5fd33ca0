//! Connections held by this process itself: by nothing, by epoll, and by a tokio task each.

use std::error::Error;
use std::net::TcpStream;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::Builder;
use torpor_load::peer::Peers;

use super::scale::{Scale, Weight};

/// A connection that nobody waits for.
///
/// # Errors
/// No TUN device, or no descriptors.
pub fn bare(clients: u32) -> Result<Weight, Box<dyn Error>> {
    let mut held = Vec::with_capacity(clients as usize + 1);
    weigh(clients, |stream| {
        held.push(stream);
        Ok(())
    })
}

/// A connection that an epoll set waits for.
///
/// # Errors
/// As [`bare`].
pub fn epoll(clients: u32) -> Result<Weight, Box<dyn Error>> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut held = Vec::with_capacity(clients as usize + 1);
    weigh(clients, |stream| {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
        epoll.add(&stream, EpollEvent::new(flags, held.len() as u64))?;
        held.push(stream);
        Ok(())
    })
}

/// A connection whose task waits for a line: what one would write without torpor.
///
/// # Errors
/// As [`bare`].
pub fn tokio(clients: u32) -> Result<Weight, Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    weigh(clients, |stream| {
        stream.set_nonblocking(true)?;
        runtime.block_on(async {
            tokio::spawn(serve(tokio::net::TcpStream::from_std(stream)?));
            // It runs up to its first wait.
            tokio::task::yield_now().await;
            Ok(())
        })
    })
}

async fn serve(stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(b"a1 OK\r\n").await?;
        line.clear();
    }
    Ok(())
}

/// One comes before the first look, so that what it brings to life is nobody's weight.
fn weigh(
    clients: u32,
    mut hold: impl FnMut(TcpStream) -> Result<(), Box<dyn Error>>,
) -> Result<Weight, Box<dyn Error>> {
    let peers = Peers::start(clients + 1)?;
    let own = [std::process::id() as i32];
    peers.accept(1, |_, stream| hold(stream))?;
    let before = Scale::settled(&own)?;
    peers.accept(clients, |_, stream| hold(stream))?;
    Ok(before.until(&Scale::read(&own)?, clients))
}
