//! The states of a client, and what leads from one to the next.
//!
//! ```text
//!            Offer          Give           Settle
//!   Free ──────────► Offered ─────► Given ─────────► Asleep ◄──┐ DONE+IDLE and keepalives
//!    ▲                  │             │ (changed)      │  └────┘ are answered here
//!    │◄─── Withdraw ────┘             ▼                │ Input, Change, Cut
//!    │                              Queued ◄───────────┘
//!    │                              │   ▲
//!    │                        Grant ▼   │ Return
//!    │                            Joining ──Join──► Handed ──Take, Lose──► Free
//!    │        Sink and Stir change how a sleeper is heard, not where it is
//!    │        HangUp, Kick, GiveUp (from Asleep, Queued, Joining)
//!    └──Depart── Leaving ◄──────────────┘
//! ```
//!
//! `Offered`: the worker still owns the client and we hold a copy. From `Given` on it is ours.
//! `Joining` and `Leaving` wait until the kernel holds nothing of it. The table is pinned by a
//! snapshot of every event in every state.

/// Where a client is in its life. The number is what lies in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nobody.
    Free = 0,
    /// Its line is accepted; the last `+` is not out yet, so its worker owns it.
    Offered = 1,
    /// Ours, but its worker has not closed the hibernate connection: hands off.
    Given = 2,
    /// Armed.
    Asleep = 3,
    /// Owed a wake. Still armed unless the client itself has spoken.
    Queued = 4,
    /// Its turn has come; waiting until nothing is in flight.
    Joining = 5,
    /// With the handoff thread.
    Handed = 6,
    /// Going; waiting until nothing is in flight.
    Leaving = 7,
}

/// What happens to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// Its line and descriptor are accepted.
    Offer = 0,
    /// The hibernate connection broke before the last `+`.
    Withdraw = 1,
    /// The last `+` is out.
    Give = 2,
    /// The worker has closed the hibernate connection; the client sleeps.
    Settle = 3,
    /// The client said something for a worker.
    Input = 4,
    /// Its mailbox changed.
    Change = 5,
    /// A write to it was cut short.
    Cut = 6,
    /// It hung up, or writing to it fails for ever.
    HangUp = 7,
    /// The queue lets it go next.
    Grant = 8,
    /// Nothing is in flight any more and it goes to the handoff thread.
    Join = 9,
    /// A worker said `+`.
    Take = 10,
    /// It came back from the handoff thread.
    Return = 11,
    /// The worker fell silent with the descriptor in hand; the socket is shut down.
    Lose = 12,
    /// An operator ends it.
    Kick = 13,
    /// It has waited for a worker for too long.
    GiveUp = 14,
    /// Nothing is in flight any more and its descriptor is closed.
    Depart = 15,
    /// Its doze is over: from now on the epoll set hears it.
    Sink = 16,
    /// The epoll set has told of it: it is looked at, and dozes.
    Stir = 17,
}

impl State {
    /// All states, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Free,
        Self::Offered,
        Self::Given,
        Self::Asleep,
        Self::Queued,
        Self::Joining,
        Self::Handed,
        Self::Leaving,
    ];

    /// Back from the record.
    pub fn from_code(code: u8) -> Self {
        Self::ALL[usize::from(code)]
    }

    /// Where the event leads; `None` when it cannot happen here. An event that is remembered in a
    /// flag, to be acted on later, leads back to where it came from.
    pub fn on(self, event: Event) -> Option<Self> {
        use Event as E;
        use State as S;
        match (self, event) {
            (S::Free, E::Offer) => Some(S::Offered),
            (S::Offered, E::Withdraw) => Some(S::Free),
            (S::Offered, E::Give) => Some(S::Given),
            (S::Given, E::Settle) => Some(S::Asleep),
            (S::Asleep, E::Input | E::Change | E::Cut) => Some(S::Queued),
            (S::Asleep | S::Queued | S::Joining, E::HangUp | E::Kick) => Some(S::Leaving),
            (S::Queued, E::Grant) => Some(S::Joining),
            (S::Queued, E::GiveUp) => Some(S::Leaving),
            (S::Joining, E::Join) => Some(S::Handed),
            (S::Handed, E::Take | E::Lose) => Some(S::Free),
            (S::Handed, E::Return) => Some(S::Queued),
            (S::Leaving, E::Depart) => Some(S::Free),
            (S::Queued | S::Joining, E::Input | E::Cut) => Some(self),
            (S::Offered | S::Given, E::Change) => Some(self),
            (S::Given | S::Handed, E::Kick) => Some(self),
            (S::Leaving, E::HangUp) => Some(self),
            (S::Asleep | S::Queued, E::Sink | E::Stir) => Some(self),
            _ => None,
        }
    }
}

impl Event {
    /// All events, in the order of a life.
    pub const ALL: [Self; 18] = [
        Self::Offer,
        Self::Withdraw,
        Self::Give,
        Self::Settle,
        Self::Input,
        Self::Change,
        Self::Cut,
        Self::HangUp,
        Self::Grant,
        Self::Join,
        Self::Take,
        Self::Return,
        Self::Lose,
        Self::Kick,
        Self::GiveUp,
        Self::Depart,
        Self::Sink,
        Self::Stir,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn codes_are_positions() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!((state as usize, State::from_code(state as u8)), (index, state));
        }
        for (index, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, index);
        }
    }

    /// Every event in every state. A change of behaviour is a visible change of this table.
    #[test]
    fn every_event_in_every_state() {
        let mut table = String::new();
        for state in State::ALL {
            for event in Event::ALL {
                let next = match state.on(event) {
                    Some(next) => format!("{next:?}"),
                    None => "-".to_string(),
                };
                writeln!(table, "{:8} {:9} {next}", format!("{state:?}"), format!("{event:?}"))
                    .expect("a string takes everything");
            }
        }
        insta::assert_snapshot!(table);
    }
}
