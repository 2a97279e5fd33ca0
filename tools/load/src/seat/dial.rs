//! A connection on the ring.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;
use tokio_uring::net::TcpStream;

/// Connects, from an address of our own choice if there is one.
pub async fn dial(
    server: SocketAddr,
    source: Option<IpAddr>,
    receive_bytes: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        socket.bind((source, 0).into())?;
    }
    let stream = socket.connect(server).await?.into_std()?;
    stream.set_nodelay(true)?;
    // On the ring, a read of a nonblocking socket would return at once instead of waiting.
    stream.set_nonblocking(false)?;
    Ok(TcpStream::from_std(stream))
}
