//! The engine of torpor: it keeps hibernated IMAP connections asleep and wakes each the moment
//! something happens.
//!
//! ```text
//!  imap worker                             engine                                 imap worker
//!    │ line + client (+ notify)                                                       ▲
//!    ▼                                                                                │
//!  Ring ──completions──►  Core: offer ─► Record in Slots ─► asleep ─► queue ─► wake ──┤
//!    ▲                                                                                │
//!    └──operations──────  Actions ◄──────────────────────────────────── Handoff ◄─────┘
//!                                                                        replies: + − gone
//! ```
//!
//! Data flows one way: line, record, slots, core, actions; and back only as completions and
//! replies. The core knows no syscall and no clock, the ring knows no policy, and `unsafe` lies
//! in `sys` alone. Read the modules in this order:

// What a client is.
pub mod record;
pub mod state;
pub mod token;

// Where clients and their words are kept, whoever of us lives.
pub mod cold;
pub mod image;
pub mod mailboxes;
pub mod memory;
pub mod near;
pub mod places;
pub mod sends;
pub mod slots;

// When and why they stir.
pub mod awake;
pub mod idle;
pub mod keepalive;
pub mod marks;
pub mod watch;
pub mod wheel;

// What the core hears and says.
pub mod action;
pub mod command;
pub mod limits;
pub mod report;
pub mod ring;

// Bugs on purpose, for the simulator.
pub mod planted;

// The machine, and the loop around it.
pub mod core;
pub mod drive;

// The kernel.
pub mod probe;
pub mod sys;
pub mod watcher;
