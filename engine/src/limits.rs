//! Every bound and every time of the engine, in one place.
//!
//! [`Limits`] are fixed at start, because memory is reserved from them; [`Knobs`] may change at a
//! reload. Relations between constants are asserted at compile time, relations between configured
//! values by [`Limits::check`], which names the field in each refusal.

use torpor_handoff::line::Modseq;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::mailboxes::Debounce;
use crate::ring::{BATCH_MAX, ITEMS_MAX, Peer};

/// Bounds that memory is reserved from.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Limits {
    /// Clients asleep at once. Each costs a 64-byte record, its cold bytes and a descriptor.
    pub slots_max: u32,
    /// Hibernate connections at once; those beyond wait in the listen queue.
    pub conns_max: u32,
    /// Bytes of one hibernate line, newline included.
    pub line_bytes_max: u32,
    /// Blocks of the cold store.
    pub cold_blocks_max: u32,
    /// Mailboxes watched at once.
    pub mailboxes_max: u32,
    /// Conversations with imap-master at once; the window moves below it.
    pub handoffs_in_flight_max: u32,
    /// Sends to clients in flight at once.
    pub sends_in_flight_max: u32,
    /// Clients that doze at once, each with a recv of its own in the ring, whose memory the ring
    /// never gives back; those beyond sleep at once.
    pub dozers_max: u32,
}

/// What may change while the engine runs. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// In-flight plus awake sessions at most, so that logins always find a worker.
    pub workers_max: u32,
    /// A woken session that was not seen again counts as awake for at most this long.
    pub awake_age_ms_max: u64,
    /// A client that has sent input is given up (BYE) after waiting this long while the queue
    /// stands still. 0: never.
    pub input_wait_ms_max: u64,
    /// The same for a client whose mailbox changed. 0: never.
    pub change_wait_ms_max: u64,
    /// A hibernate connection that does not finish is closed after this long; after the last `+`
    /// a worker that does not close is taken to have done so.
    pub conn_timeout_ms: u64,
    /// A refused client is offered again after this long at first; doubles up to the maximum.
    pub retry_ms_min: u64,
    /// See `retry_ms_min`.
    pub retry_ms_max: u64,
    /// A client dozes for this long after it fell asleep or was answered, then sinks into the epoll
    /// set. A keepalive ends a doze early. 0: it sinks at once.
    pub doze_ms: u64,
    /// A mailbox changed at most this long before hibernation is taken for changed.
    pub late_change_ms: u64,
    /// How long changes of a mailbox are gathered before its sleepers wake.
    pub debounce: Debounce,
    /// Sessions that a worker would not restore as they were stay with theirs.
    pub keep_awake: KeepAwake,
    /// Uids that may hibernate clients; empty: whomever the socket's mode lets in.
    pub peer_uids: Vec<u32>,
    /// Gids likewise; a peer is allowed when its uid or its gid is.
    pub peer_gids: Vec<u32>,
}

/// Which sessions are refused, so that their worker keeps them: see `line::Modseq` for what
/// Dovecot's worker would tell them differently after a sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAwake {
    /// None, as with stock imap-hibernate.
    Nobody,
    /// Those with QRESYNC: they would hear EXPUNGE, which RFC 7162 section 3.2.10 forbids.
    #[default]
    Qresync,
    /// Those with CONDSTORE too: they would hear of a changed flag without its MODSEQ.
    Condstore,
}

impl KeepAwake {
    /// True when a session with this on is refused.
    pub fn refuses(self, modseq: Modseq) -> bool {
        match self {
            Self::Nobody => false,
            Self::Qresync => modseq >= Modseq::Qresync,
            Self::Condstore => modseq >= Modseq::Condstore,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            slots_max: 16_384,
            conns_max: 1024,
            line_bytes_max: 1 << 20,
            cold_blocks_max: 16_384 * 16,
            mailboxes_max: 16_384,
            handoffs_in_flight_max: 64,
            sends_in_flight_max: 1024,
            dozers_max: 4096,
        }
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            workers_max: 850,
            awake_age_ms_max: 60_000,
            input_wait_ms_max: 300_000,
            change_wait_ms_max: 0,
            conn_timeout_ms: 30_000,
            retry_ms_min: 200,
            retry_ms_max: 10_000,
            doze_ms: 30_000,
            late_change_ms: 600,
            debounce: Debounce { window_ms: 1, delay_ms_max: 1000 },
            keep_awake: KeepAwake::default(),
            peer_uids: Vec::new(),
            peer_gids: Vec::new(),
        }
    }
}

/// A limit that cannot work. The message names the field and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value} is out of range: {why}")]
pub struct LimitError {
    pub field: &'static str,
    pub value: u64,
    pub why: &'static str,
}

impl Limits {
    /// Compares the bounds with each other; the first that cannot work is named.
    pub fn check(&self) -> Result<(), LimitError> {
        let rules = [
            ("slots_max", self.slots_max, 1, SLOTS_MAX, "1 to 16,777,216 clients"),
            ("conns_max", self.conns_max, 1, 65_536, "1 to 65,536 connections"),
            ("line_bytes_max", self.line_bytes_max, 1024, 1 << 24, "1 KiB to 16 MiB"),
            ("cold_blocks_max", self.cold_blocks_max, 1, u32::MAX - 1, "at least one block"),
            ("mailboxes_max", self.mailboxes_max, 1, u32::MAX - 1, "at least one mailbox"),
            ("handoffs_in_flight_max", self.handoffs_in_flight_max, 1, 4096, "1 to 4,096"),
            ("sends_in_flight_max", self.sends_in_flight_max, 1, 65_536, "1 to 65,536"),
            ("dozers_max", self.dozers_max, 0, DOZERS_MAX, "0 to 24,576: a ring holds no more"),
        ];
        for (field, value, least, most, why) in rules {
            if !(least..=most).contains(&value) {
                return Err(LimitError { field, value: value.into(), why });
            }
        }
        Ok(())
    }
}

impl Limits {
    /// Completions that may wait at once: of each dozer, and of each client that is looked at, its
    /// bytes and the cancel that came too late for them; of each send its end; of each connection
    /// two operations and their cancels; the rest is constant.
    pub fn completions(&self) -> u32 {
        let armed = (self.dozers_max + ITEMS_MAX as u32).min(self.slots_max);
        armed * 2 + self.sends_in_flight_max + self.conns_max * 4 + 256
    }

    /// As numbers, for the memory that is made from them; back by [`Limits::from_words`].
    pub fn words(&self) -> [u32; LIMIT_WORDS] {
        zerocopy::transmute!(self.clone())
    }

    /// See [`Limits::words`]; to be checked.
    pub fn from_words(words: [u32; LIMIT_WORDS]) -> Self {
        zerocopy::transmute!(words)
    }

    /// Sessions that can be counted as awake.
    pub fn awake_max(&self) -> u32 {
        AWAKE_MAX.min(self.slots_max)
    }
}

impl Knobs {
    /// True when this worker may hibernate clients.
    pub fn allows(&self, peer: Peer) -> bool {
        let open = self.peer_uids.is_empty() && self.peer_gids.is_empty();
        open || self.peer_uids.contains(&peer.uid) || self.peer_gids.contains(&peer.gid)
    }

    /// Compares the times with each other; the first that cannot work is named.
    pub fn check(&self) -> Result<(), LimitError> {
        let debounce = self.debounce;
        let rules = [
            ("workers_max", u64::from(self.workers_max), 1, 1 << 20, "1 to 1,048,576 workers"),
            ("conn_timeout_ms", self.conn_timeout_ms, 100, 3_600_000, "0.1 s to 1 h"),
            ("retry_ms_min", self.retry_ms_min, 1, self.retry_ms_max, "1 to retry_ms_max"),
            ("doze_secs", self.doze_ms / 1000, 0, 86_400, "0 to a day"),
            ("debounce_ms", debounce.window_ms, 0, debounce.delay_ms_max, "0 to debounce_ms_max"),
            ("debounce_ms_max", debounce.delay_ms_max, 0, 60_000, "at most a minute"),
            ("retry_ms_max", self.retry_ms_max, 1, 3_600_000, "at most 1 h"),
            (
                "late_change_ms",
                self.late_change_ms,
                0,
                900,
                "0 to 900, below the shortest \
              hibernation time of 1 s, or a woken client would wake for ever",
            ),
        ];
        for (field, value, least, most, why) in rules {
            if !(least..=most).contains(&value) {
                return Err(LimitError { field, value, why });
            }
        }
        Ok(())
    }
}

/// Numbers that [`Limits`] are.
pub const LIMIT_WORDS: usize = 8;
/// Slots that 24 bits of generation and 32 of index leave comfortable room for.
pub const SLOTS_MAX: u32 = 1 << 24;
/// Dozers whose completions, with those of all else by default, fit the largest ring.
pub const DOZERS_MAX: u32 = 24_576;
/// Sessions that can be counted as awake: more workers than any Dovecot runs.
pub const AWAKE_MAX: u32 = 1 << 16;
/// Blocks kept back for each client beyond its line: three for input, three for output left over.
pub const COLD_BLOCKS_PER_SLOT: u32 = 6;
/// Longest VERSION line that is read.
pub const CONN_HELLO_BYTES_MAX: usize = 128;
/// Timers that one step lets expire: keepalives beyond it wait for the next step.
pub const EXPIRIES_PER_STEP: usize = 256;
/// Wakes that one step dispatches or queues from one mailbox event.
pub const WAKES_PER_STEP: usize = 256;
/// Longest tag that a DONE+IDLE may bring and still be answered asleep, as in Dovecot.
pub const TAG_BYTES_MAX: usize = 128;

const _: () = assert!(EXPIRIES_PER_STEP >= BATCH_MAX / 2, "timers must keep up with input");
