//! A simulated client, its bytes and who answers for it.

/// Who answers for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Worker,
    Engine,
    /// Disconnected, one way or the other.
    Nobody,
}

pub struct Client {
    pub sent: Vec<u8>,
    pub pulled: usize,
    pub read: usize,
    pub eof: bool,
    pub reset: bool,
    /// Bytes that may still be written to it.
    pub window: usize,
    pub owner: Owner,
    /// Worker-side: when it next does something.
    pub busy_until_ms: u64,
    pub conn: Option<usize>,
    pub mailbox: Option<usize>,
    /// The version of its mailbox that its worker saw last.
    pub seen: u32,
    pub tag: Vec<u8>,
    pub user: usize,
    pub lives: u32,
    pub kicked: bool,
    /// Kicked while it was the engine's: no worker is to have it any more, but one that has it
    /// in hand already.
    pub dismissed: Option<u64>,
    /// Descriptors of it with the handoff thread.
    pub handed: u32,
    pub byes: u32,
    /// Told that its record was damaged.
    pub damaged: bool,
    /// Shut down by us: a worker that comes late finds nobody.
    pub shut: bool,
    /// What a short write left over.
    pub rest: Vec<u8>,
    pub multiplex: bool,
    /// Bytes of the channel switch that it has taken in this sleep, and since when it wants the
    /// rest.
    pub switch: usize,
    pub torn_ms: Option<u64>,
    pub interval_secs: u64,
    pub beat_ms: Option<u64>,
    pub answered_in: usize,
    pub answered_out: usize,
}

impl Client {
    /// It has half of a channel switch, and makes no sense of anything but the rest.
    pub fn is_torn(&self) -> bool {
        (1..SWITCH.len()).contains(&self.switch)
    }
}

/// Selects the IMAP channel of a multiplexed stream.
pub const SWITCH: [u8; 4] = [3, 0xFE, 0, 0];
