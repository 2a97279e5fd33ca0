//! Bugs that the simulator plants to see whether it finds them.
//!
//! Switchable in the test build only: without the `planted` feature every switch is the constant
//! `false` and leaves nothing in the binary.

/// What goes wrong when it is planted. Each is a fault that such engines have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A recv that ended with data is not armed again.
    RearmForgotten,
    /// Bytes that arrive while a cancel is in flight are dropped.
    BytesDroppedInCancel,
    /// A client is handed over before its recv has ended.
    HandedBeforeJoin,
    /// A parcel is not given back.
    ParcelLeaked,
    /// An empty buffer pool is taken for a hang-up.
    StarvedIsHangUp,
    /// A cancel names itself.
    CancelMissesTarget,
    /// A refused client is not queued again.
    RetryForgotten,
    /// A departed client's descriptor stays open.
    CloseForgotten,
    /// Events of watches that are being adopted are dropped.
    OrphanDropped,
    /// An overflow of the shared inotify instance is ignored.
    OverflowIgnored,
    /// A keepalive is timed twice.
    BeatTwice,
    /// The tag of a DONE+IDLE is not taken over.
    TagKept,
    /// A kept notify descriptor is forgotten at the wake.
    NotifyForgotten,
    /// A change that was seen during the hand-over is forgotten.
    ChangeForgotten,
    /// A kick while a client is handed over is forgotten.
    StopForgetsHanded,
    /// A kick hits every user.
    KickHitsAll,
    /// The rest of a short write is dropped.
    RestDropped,
    /// Bytes that were answered asleep are not counted.
    InputUncounted,
    /// A hibernation that breaks keeps its slot.
    SlotKept,
    /// A client is armed before its worker has let go.
    ArmedTooEarly,
    /// Input that decides nothing yet is forgotten.
    PartialForgotten,
    /// A mailbox is left by one and forgotten by all.
    MailboxForgotten,
    /// Accept is not armed again after it has ended.
    AcceptForgotten,
    /// The shared inotify instance is not read again after a read has ended.
    WatchReadForgotten,
    /// Changed mailboxes go before people who wait.
    QueueInverted,
    /// A cancel goes out under the token of its target.
    CancelSharesToken,
    /// A client that leaves is told BYE each time something of it ends.
    ByeTwice,
    /// The notify descriptor of a hibernation that breaks stays open.
    RetiredTooLate,
    /// The vault keeps the socket of a client that a worker has taken.
    PlaceKept,
    /// A sleeper's item stays in the epoll set when it is woken.
    ItemKept,
    /// A sleeper goes into the epoll set while its recv is in flight.
    SunkUnjoined,
    /// A dozer's recv is cancelled and no item takes its place.
    SunkDeaf,
    /// A sleeper that the epoll set told of is taken out and not looked at.
    StirForgotten,
    /// The epoll set is not looked at again.
    ItemsForgotten,
    /// A sleeper that the epoll set does not take is believed to be in.
    RefusedDeaf,
    /// A sleeper that had spoken before it was armed is believed to be in.
    SpokenDeaf,
    /// A worker's end makes no room for the next one.
    ExitForgotten,
}

impl Bug {
    /// Those that show in any order of wakes, whatever counts as awake: all but
    /// [`Bug::QueueInverted`] and [`Bug::ExitForgotten`].
    pub const ALL: [Self; 35] = [
        Self::RearmForgotten,
        Self::BytesDroppedInCancel,
        Self::HandedBeforeJoin,
        Self::ParcelLeaked,
        Self::StarvedIsHangUp,
        Self::CancelMissesTarget,
        Self::RetryForgotten,
        Self::CloseForgotten,
        Self::OrphanDropped,
        Self::OverflowIgnored,
        Self::BeatTwice,
        Self::TagKept,
        Self::NotifyForgotten,
        Self::ChangeForgotten,
        Self::StopForgetsHanded,
        Self::KickHitsAll,
        Self::RestDropped,
        Self::InputUncounted,
        Self::SlotKept,
        Self::ArmedTooEarly,
        Self::PartialForgotten,
        Self::MailboxForgotten,
        Self::AcceptForgotten,
        Self::WatchReadForgotten,
        Self::CancelSharesToken,
        Self::ByeTwice,
        Self::RetiredTooLate,
        Self::PlaceKept,
        Self::ItemKept,
        Self::SunkUnjoined,
        Self::SunkDeaf,
        Self::StirForgotten,
        Self::ItemsForgotten,
        Self::RefusedDeaf,
        Self::SpokenDeaf,
    ];
}

/// True exactly when this bug is planted on this thread.
#[cfg(feature = "planted")]
pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Nothing is ever planted in what is shipped.
#[cfg(not(feature = "planted"))]
pub const fn planted(_bug: Bug) -> bool {
    false
}

/// Plants a bug on this thread, or none.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
}
