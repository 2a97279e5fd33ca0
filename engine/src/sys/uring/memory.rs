//! Everything that an operation in the kernel may name.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use io_uring::Submitter;

use crate::limits::Limits;
use crate::ring::{CLIENT_BUFFER_BYTES, CONN_RECV_BYTES, ITEMS_MAX};

use super::super::buffers::Buffers;
use super::super::main_ring::{
    WATCH_BUFFER_BYTES, WATCH_BUFFERS, client_buffers, client_bytes, received_bytes,
};
use super::super::messages::Messages;
use super::super::shared::Shared;
use super::super::texts::Texts;
use super::super::window::Window;

/// Messages of connections, texts to clients, the two groups of provided buffers, and events.
pub struct Memory {
    pub messages: Messages,
    pub texts: Texts,
    pub client_buffers: Buffers,
    pub watch_buffers: Buffers,
    /// What a look at the epoll set brings: `ITEMS_MAX` of struct epoll_event.
    pub events: Shared,
}

impl Memory {
    /// As much as the limits ask for; what clients say comes into `received`.
    pub fn new(limits: &Limits, received: &OwnedFd) -> io::Result<Self> {
        let received = Arc::new(Window::new(received, 0, received_bytes(limits))?);
        let clients = client_buffers(limits);
        let behind = client_bytes(limits);
        let buffers = |group, count, bytes: usize, start| {
            Buffers::new(group, count, bytes, Arc::clone(&received), start)
        };
        Ok(Self {
            messages: Messages::new(limits.conns_max),
            texts: Texts::new(limits.sends_in_flight_max),
            client_buffers: buffers(CLIENT_GROUP, clients, CLIENT_BUFFER_BYTES, 0),
            events: Shared::new(ITEMS_MAX * size_of::<libc::epoll_event>()),
            watch_buffers: buffers(WATCH_GROUP, WATCH_BUFFERS, WATCH_BUFFER_BYTES as usize, behind),
        })
    }

    /// Makes the buffer groups known to the ring.
    pub fn register(&self, ring: &Submitter) -> io::Result<()> {
        self.client_buffers.register(ring)?;
        self.watch_buffers.register(ring)
    }

    /// Never gives any of it back.
    pub fn leak(&mut self) {
        self.messages.leak();
        self.texts.leak();
        self.client_buffers.leak();
        self.watch_buffers.leak();
        self.events.leak();
    }
}

pub const CLIENT_GROUP: u16 = 0;
/// Shared by the inotify instance and the doorbell.
pub const WATCH_GROUP: u16 = 1;
const _: () = assert!(WATCH_BUFFER_BYTES >= 16 + 256, "the longest inotify event must fit");
const _: () = assert!(WATCH_BUFFER_BYTES as usize <= CONN_RECV_BYTES, "a batch has room for it");
