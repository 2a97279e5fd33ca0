//! The Prometheus endpoint: one thread, one connection at a time, every step bounded.

mod http;
mod values;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::Builder;

use crate::control::Service;

/// Serves `GET /metrics` at `address` until the process ends; returns where it listens.
///
/// # Errors
/// The address cannot be bound.
pub fn start(address: SocketAddr, service: Service) -> io::Result<SocketAddr> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("metrics.listen = {address}: {error}"))
    };
    let listener = TcpListener::bind(address).map_err(named)?;
    let bound = listener.local_addr()?;
    Builder::new().name("torpor-metrics".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asked has gone, or asked in a way that has no answer.
            let _ = http::answer(&stream, || values::text(&service));
        }
    })?;
    Ok(bound)
}
