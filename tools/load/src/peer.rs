//! Mail clients without sockets: the far side of a TUN device answers TCP itself.
//!
//! ```text
//!  Crowd ──Order──> thread ── Tcb, Tcb, Tcb, ... (16 bytes a peer)
//!                      │ Segment out, Heard in
//!                      ▼
//!                   Device ──packets── the kernel's TCP ── listener, accepted sockets
//!                   └────────── one network namespace ───────────┘
//! ```
//! So the kernel memory that a million connections take is the server's alone, and a million of
//! them fit one machine. The namespace is the thread's own: nothing of it can be reached from
//! outside, but sockets accepted there may be passed to any process. It takes CAP_SYS_ADMIN,
//! CAP_NET_ADMIN and `/dev/net/tun`.
//!
//! A peer opens as a phone does (MSS, SACK permitted, timestamps, window scale), takes data in
//! order, acknowledges at once and hangs up or resets when told. It does not retransmit what it
//! says: the device loses nothing on the way in. What the kernel sends and the device drops, the
//! kernel sends again.

mod crowd;
mod device;
mod peers;
mod segment;
mod tcb;
mod thread;

pub use crowd::{Crowd, CrowdError};
pub use device::missing;
pub use peers::Peers;
pub use tcb::Tally;
