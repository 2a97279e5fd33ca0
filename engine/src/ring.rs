//! The seam between the core and the kernel: plain data down, plain data up.
//!
//! The core names places (a slot, a hibernate connection, the lobby), never descriptor numbers;
//! a [`Ring`] knows which descriptor sits where and nothing of why. Two rings exist: the real one
//! in `sys/` and the simulated kernel of the tests, held together by a fidelity test.

use std::io;

use torpor_handoff::message::{Exited, Reply};

use crate::command::Command;
use crate::report::Counters;
use crate::token::Token;
use crate::watch::{Adopted, WATCHES_PER_NOTIFY_MAX, WatchEvent};

/// A range of the byte arena that travels with a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub at: u32,
    /// Number of bytes.
    pub count: u32,
}

impl Span {
    /// The bytes that the span names in its arena.
    pub fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.at as usize..][..self.count as usize]
    }
}

/// A descriptor that has arrived and belongs to nobody yet: its place in the ring's lobby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its place in the lobby. Must be seated, given to the watcher or dropped.
    pub lobby: u32,
    /// What the kernel says it is.
    pub kind: PassedKind,
    /// `st_dev` major number, as Dovecot's `peer_dev_major`.
    pub dev_major: u32,
    /// `st_dev` minor number.
    pub dev_minor: u32,
    /// `st_ino`.
    pub inode: u64,
}

/// What a descriptor is, asked of the kernel at the moment it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedKind {
    /// A connected TCP stream (IPv4 or IPv6).
    Tcp,
    /// A connected AF_UNIX stream: the socketpair end of a TLS login.
    Unix,
    /// An inotify instance.
    Inotify,
    /// A pipe's read end or another descriptor that can be polled. Accepted as a notify
    /// descriptor, as Dovecot's imap-hibernate does, never as a client.
    Pollable,
    /// Anything else: a file, a directory, a listening or a datagram socket, a ring.
    Other,
}

/// Who is at the other end of a hibernate connection (SO_PEERCRED).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

/// An operation. Those without a token take effect at once and have no completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Multishot accept on the hibernate socket; each connection waits in the lobby.
    Accept { token: Token },
    /// Multishot read of the shared inotify instance, or of the marks, as the token's index says.
    ReadWatch { token: Token },
    /// Multishot read of the doorbell.
    ReadDoorbell { token: Token },
    /// Looks, once, at the epoll set, and waits until it has something to tell: the tokens of ready
    /// items, at most [`ITEMS_MAX`], eight bytes each. An item that is not deleted may be told
    /// again.
    ReadItems { token: Token },
    /// A connection leaves the lobby for place `conn`. No completion.
    SeatConn { passed: Passed, conn: u32 },
    /// A client leaves the lobby for place `slot`. No completion.
    SeatClient { passed: Passed, slot: u32 },
    /// A descriptor of the lobby is closed. No completion.
    Drop { passed: Passed },
    /// recvmsg with descriptors, once; at most [`CONN_RECV_BYTES`] bytes.
    RecvConn { token: Token, conn: u32 },
    /// Sends a short line; the ring keeps a copy until the completion.
    SendConn { token: Token, conn: u32, text: Span },
    /// From now on the connection outlives the engine, until it is closed. No completion.
    HoldConn { conn: u32 },
    /// The connection in this place, if an engine before us held one there, is ours. No completion.
    ClaimConn { conn: u32 },
    /// A connection that an engine before us left in this place, if it did, is closed. No
    /// completion.
    ReleaseConn { conn: u32 },
    /// The client that an engine before us had in this place is ours. No completion.
    ClaimClient { slot: u32 },
    /// The client is not in its place and never comes back: it is a worker's now, or shut down,
    /// or was left behind by an engine that was killed. No completion.
    ReleaseClient { slot: u32 },
    /// Closes the connection, at once. Nothing may be in flight on it. No completion.
    CloseConn { conn: u32 },
    /// recv with POLL_FIRST of at most [`CLIENT_BUFFER_BYTES`]. The kernel's ring ends it with its
    /// first completion; a ring that does not (`more`) ends it after [`CLIENT_RECV_BYTES`].
    RecvClient { token: Token, slot: u32 },
    /// Adds the client to the epoll set (EPOLLIN, EPOLLRDHUP; level-triggered), to be told by this
    /// token, whether or not it was in. Takes effect at once and completes only when it failed, or
    /// when there is something to hear already (EAGAIN).
    AddItem { token: Token, slot: u32 },
    /// Takes the client out of the epoll set, if it is in, at once. No completion.
    DeleteItem { slot: u32 },
    /// Sends without ever waiting (MSG_DONTWAIT); the ring keeps a copy until the completion.
    SendClient { token: Token, slot: u32, text: Span },
    /// Closes our descriptor, at once, and leaves the connection alone: somebody else owns it, or
    /// it ended. No completion.
    CloseClient { slot: u32 },
    /// Waits, once, until the notify descriptor kept for `slot` is readable.
    PollNotify { token: Token, slot: u32 },
    /// Cancels the operation that carries `target`.
    Cancel { token: Token, target: Token },
}

/// One completion. Bytes lie in the inbox's arena, descriptors in the ring's lobby.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The token of the operation.
    pub token: Token,
    /// As the kernel has it: a count, or a negative errno.
    pub result: i32,
    /// True exactly when the kernel still holds the (multishot) operation. False is *terminal*,
    /// whatever `result` says: a positive result may be the last one.
    pub more: bool,
    /// Bytes received.
    pub bytes: Span,
    /// Descriptors received: of a recvmsg, or the new connection of an accept.
    pub passed: [Option<Passed>; PASSED_MAX],
    /// True exactly when the kernel or the ring had to throw descriptors away: MSG_CTRUNC, or
    /// more than [`PASSED_MAX`] in one message.
    pub passed_lost: bool,
    /// Of an accept: who connected.
    pub peer: Peer,
}

impl Completion {
    /// A completion that carries nothing but its result.
    pub fn plain(token: Token, result: i32, more: bool) -> Self {
        let (bytes, peer) = (Span::default(), Peer::default());
        Self { token, result, more, bytes, passed: [None; PASSED_MAX], passed_lost: false, peer }
    }
}

/// What a step of the core takes in: completions, and what the other threads said.
#[derive(Debug, Default)]
pub struct Inbox {
    pub completions: Vec<Completion>,
    /// Of these, so many lie in the kernel's queue until [`Ring::applied`].
    pub taken: u32,
    /// The arena that [`Completion::bytes`] points into.
    pub bytes: Vec<u8>,
    /// Replies of the handoff thread. A client that came back is seated before the step.
    pub replies: Vec<Reply>,
    /// Workers that took a client and have ended.
    pub exited: Vec<Exited>,
    /// Replies of the watcher.
    pub adopted: Vec<Adopted>,
    /// What else the watcher has seen.
    pub watched: Vec<WatchEvent>,
    /// Orders of the operator.
    pub commands: Vec<Command>,
}

impl Inbox {
    /// Room for one batch, so that filling it never allocates.
    pub fn new(replies_max: usize) -> Self {
        Self {
            completions: Vec::with_capacity(BATCH_MAX),
            taken: 0,
            bytes: Vec::with_capacity(BATCH_MAX * CONN_RECV_BYTES),
            replies: Vec::with_capacity(replies_max),
            exited: Vec::with_capacity(EXITED_MAX),
            adopted: Vec::with_capacity(BATCH_MAX),
            watched: Vec::with_capacity(BATCH_MAX),
            commands: Vec::with_capacity(COMMANDS_MAX),
        }
    }

    /// Appends bytes to the arena and says where they lie.
    pub fn keep(&mut self, bytes: &[u8]) -> Span {
        let at = self.bytes.len();
        assert!(at + bytes.len() <= self.bytes.capacity(), "a batch outgrew its arena");
        self.bytes.extend_from_slice(bytes);
        Span { at: at as u32, count: bytes.len() as u32 }
    }

    /// Empty for the next batch.
    pub fn clear(&mut self) {
        self.completions.clear();
        self.taken = 0;
        self.bytes.clear();
        self.replies.clear();
        self.exited.clear();
        self.adopted.clear();
        self.watched.clear();
        self.commands.clear();
    }
}

/// Where descriptors sit and operations go. Implemented by the kernel's ring and by the
/// simulated one.
pub trait Ring {
    /// An owned descriptor, on its way in or out.
    type Descriptor;

    /// Queues an operation; `text` is the arena of its [`Span`]. `false` when the queue is full:
    /// nothing was taken, call [`Ring::enter`] and offer it again.
    fn push(&mut self, op: &Op, text: &[u8]) -> bool;

    /// Submits what is queued and waits at most `wait_ms` for a completion (`None`: for ever,
    /// `Some(0)`: not at all).
    fn enter(&mut self, wait_ms: Option<u32>) -> io::Result<()>;

    /// Copies completions into the inbox until there are none or the batch is full. Those of the
    /// kernel stay in its queue: an engine that is killed before their step has committed leaves
    /// them to its heir.
    fn reap(&mut self, inbox: &mut Inbox);

    /// The step has committed: what [`Ring::reap`] brought last may leave the kernel's queue.
    fn applied(&mut self);

    /// Puts a client (back) into its place.
    fn seat_client(&mut self, slot: u32, client: Self::Descriptor);

    /// Takes a client out of its place; nothing may be in flight on it. What outlives the engine
    /// holds it until [`Op::ReleaseClient`].
    fn unseat_client(&mut self, slot: u32) -> Self::Descriptor;

    /// Takes a notify descriptor out of the lobby, for the watcher.
    fn take_passed(&mut self, passed: Passed) -> Self::Descriptor;

    /// Keeps a notify descriptor that the watcher could not adopt.
    fn seat_notify(&mut self, slot: u32, notify: Self::Descriptor);

    /// Takes a kept notify descriptor out; nothing may be in flight on it.
    fn unseat_notify(&mut self, slot: u32) -> Self::Descriptor;

    /// True when it has marks to read of, beside the shared inotify instance.
    fn has_marks(&self) -> bool {
        false
    }

    /// Writes what this ring counts, and the core knows nothing of.
    fn count(&self, _counters: &mut Counters) {}
}

/// Completions in one batch at most.
pub const BATCH_MAX: usize = 256;
/// Ends of workers in one batch at most.
pub const EXITED_MAX: usize = 64;
/// Orders of the operator in one batch at most.
pub const COMMANDS_MAX: usize = 8;
/// Descriptors that one message may carry. The protocol passes one; the second place lets a
/// sender of two be told so.
pub const PASSED_MAX: usize = 2;
/// Bytes that one recvmsg on a hibernate connection brings at most. A line of Dovecot 2.4 has
/// about 830.
pub const CONN_RECV_BYTES: usize = 4096;
/// Items that one look at the epoll set tells at most.
pub const ITEMS_MAX: usize = 256;
/// Bytes of one [`Op::SendConn`] at most.
pub const CONN_SEND_BYTES: usize = 512;
/// Bytes of one [`Op::SendClient`] at most: the longest tag with `OK Idle completed.` and
/// `+ idling` behind it.
pub const SEND_BYTES: usize = 256;
/// Bytes that one lasting arm of a client brings before the ring ends it, rounded up to
/// whole buffers of [`CLIENT_BUFFER_BYTES`]. Dovecot's input limit: `DONE CRLF <tag> IDLE CRLF`.
pub const CLIENT_RECV_BYTES: usize = 141;
/// Size of one provided buffer.
pub const CLIENT_BUFFER_BYTES: usize = 160;

const _: () = assert!(CLIENT_BUFFER_BYTES >= CLIENT_RECV_BYTES);
const _: () = assert!(ITEMS_MAX * size_of::<u64>() <= CONN_RECV_BYTES, "a batch has room");
const _: () = assert!(SEND_BYTES >= crate::limits::TAG_BYTES_MAX + 64);
const _: () = assert!(WATCHES_PER_NOTIFY_MAX >= 2, "Maildir needs new and cur");
