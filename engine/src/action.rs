//! What a step of the core wants done, in order.

use torpor_handoff::message::Wake;

use crate::command::Answer;
use crate::report::Report;
use crate::ring::{Op, Span};
use crate::watch::WatchOrder;

/// One thing to do. Text lies in the arena of the [`Actions`].
#[derive(Debug)]
pub enum Action {
    /// For the ring.
    Ring(Op),
    /// Unseat the client in its slot and give it to the handoff thread.
    Wake(Wake<()>),
    /// For the watcher.
    Watch(WatchOrder),
    /// For log, anvil and metrics.
    Report(Report),
    /// For the operator.
    Answer(Answer),
    /// Everybody has been told good-bye and nothing is in flight: the engine may end.
    Stopped,
}

/// The actions of one step and their text. Reused, so that a step never allocates.
#[derive(Debug)]
pub struct Actions {
    pub list: Vec<Action>,
    pub bytes: Vec<u8>,
}

impl Actions {
    /// Room for the largest step: [`ACTIONS_MAX`] actions and [`ACTION_BYTES_MAX`] of text.
    pub fn new() -> Self {
        let list = Vec::with_capacity(ACTIONS_MAX);
        Self { list, bytes: Vec::with_capacity(ACTION_BYTES_MAX) }
    }

    /// Adds one action.
    pub fn push(&mut self, action: Action) {
        assert!(self.list.len() < ACTIONS_MAX, "a step outgrew its actions");
        self.list.push(action);
    }

    /// Adds an operation of the ring.
    pub fn ring(&mut self, op: Op) {
        self.push(Action::Ring(op));
    }

    /// Appends text and says where it lies.
    pub fn text(&mut self, bytes: &[u8]) -> Span {
        let at = self.bytes.len();
        assert!(at + bytes.len() <= ACTION_BYTES_MAX, "a step outgrew its text");
        self.bytes.extend_from_slice(bytes);
        Span { at: at as u32, count: bytes.len() as u32 }
    }

    /// Bytes of text that still fit.
    pub fn room(&self) -> usize {
        ACTION_BYTES_MAX - self.bytes.len()
    }

    /// True when a step has used more of it than most do.
    pub fn is_large(&self) -> bool {
        self.list.len() > ACTIONS_KEPT || self.bytes.len() > ACTION_BYTES_KEPT
    }

    /// Empty for the next step.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }
}

impl Default for Actions {
    fn default() -> Self {
        Self::new()
    }
}

/// A batch of completions, replies, expiries and wakes leads to at most eight actions each.
pub const ACTIONS_MAX: usize = 16_384;
/// Text of one step. What would not fit is cut (a card) or waits for the next step (a send).
pub const ACTION_BYTES_MAX: usize = 4 << 20;
/// A storm may need all of it; the memory of so much is kept.
const ACTIONS_KEPT: usize = 1024;
const ACTION_BYTES_KEPT: usize = 256 * 1024;
