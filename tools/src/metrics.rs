//! The Prometheus endpoint: one thread, one connection at a time, every step bounded.

mod http;
mod values;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::Builder;

use crate::control::Service;

/// Binds the endpoint.
///
/// # Errors
/// Names the address that cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("metrics.listen = {address}: {error}"))
    };
    TcpListener::bind(address).map_err(named)
}

/// Serves `GET /metrics` until the process ends. Several engines may accept from one endpoint;
/// each answers for all.
///
/// # Errors
/// No thread could be made.
pub fn start(listener: TcpListener, service: Service) -> io::Result<()> {
    let serve = move || {
        for stream in listener.incoming().flatten() {
            // Whoever asked has gone, or asked in a way that has no answer.
            let _ = http::answer(&stream, || values::text(&service));
        }
    };
    Builder::new().name("torpor-metrics".into()).spawn(serve).map(drop)
}
