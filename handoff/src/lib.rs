//! Both of Dovecot's hibernation protocols, and the thread that gives clients back to workers.
//!
//! ```text
//!  hibernate line ──► line ──► (the engine's record)
//!                                     │ a wake is owed
//!                                     ▼
//!                     queue, window: who next, how many at once
//!                                     │ Wake: request line and client
//!                                     ▼
//!              message ══► thread ──► desk ──► talk ──► master ──► outcome
//!                 ▲                     epoll    sockets   the rules     │
//!                 └═════════════════ Returned: outcome, and the client ◄─┘
//!                                                     unless it is the worker's
//! ```
//! In reading order:
//!
//! * [`line`]: both wire protocols, shared by all sides. Pure, allocates nothing.
//! * [`queue`]: who is woken next; [`window`]: how many at once. Pure, used by the engine's core.
//! * [`message`]: what goes over the two channels; outcomes, and whose fault they were.
//! * [`master`]: one conversation with `imap-master` as a state machine. Pure; the simulator
//!   drives the same one.
//! * [`keep`]: what is left of a conversation when its process is killed.
//! * `bell`: how the threads wake each other.
//! * `talk`, `set`, `desk`, [`thread`]: sockets, epoll set and thread around it. They hold no rule
//!   of their own but this one: read until nothing is left before time or death is reported.
//! * [`delays`]: how long we keep a wake waiting.
//! * `workers`: those that took a client, until their processes end.
//! * [`sys`]: descriptors that travel; the only `unsafe` code here.
//!
//! One rule stands over all: a client's descriptor has one owner at every instant. It travels
//! inside of a `Wake` and a `Returned`, is sent at most once, and only a worker's `+` or the
//! shutdown of the client's connection ends our ownership.

mod bell;
pub mod delays;
mod desk;
pub mod keep;
pub mod line;
pub mod master;
pub mod message;
mod outcome;
pub mod queue;
mod set;
pub mod sys;
mod talk;
pub mod thread;
pub mod window;
mod workers;

pub use thread::{Handoff, HandoffConfig};
