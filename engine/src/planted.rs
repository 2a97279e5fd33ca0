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
    /// The window of a mailbox that changed ends, and nobody is woken.
    WindowForgotten,
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
    /// A line of memory is written without being kept first.
    JournalForgotten,
    /// A record is changed and keeps its old seal.
    SealForgotten,
    /// An heir takes the slot of a sleeper for a free one.
    LiveSlotFreed,
    /// An heir forgets who was queued.
    QueueForgotten,
    /// An heir forgets what was being sent.
    SendForgotten,
    /// An heir does not look at what had completed.
    CompletionsForgotten,
    /// A step does not write down how many completions it has applied.
    AppliedForgotten,
    /// The hibernate connection is not held when the last `+` goes out.
    ConnNotHeld,
    /// The conversation is not held when the client goes to a worker.
    TalkNotHeld,
    /// An heir believes in items of the epoll set that are ONESHOT: an event that the killed engine
    /// had fetched does not come again.
    ItemOneshot,
    /// An heir goes on counting under the ring of the dead.
    RingKept,
    /// An heir lets as many go as if nobody were awake.
    AwakeForgotten,
    /// An heir waits for workers that the accept of the dead was woken for.
    AcceptTrusted,
    /// An heir does not look at what the dead engine had read of the shared inotify instance.
    EventsForgotten,
    /// An heir forgets mailboxes whose sleepers were owed a wake.
    ChangedForgotten,
    /// An heir believes a line of mailboxes that is damaged.
    TornMailboxTrusted,
    /// Whose mailbox was damaged sleeps on, and nobody wakes him.
    TornMailboxDeaf,
    /// An heir keeps the watches that nobody sleeps on.
    StrayKept,
    /// A new keeper believes that it holds an estate, and does not.
    EstateForgotten,
}

impl Bug {
    /// Those that show in any order of wakes, whatever counts as awake, and without a keeper: all
    /// but [`Bug::QueueInverted`], [`Bug::ExitForgotten`], [`Bug::AwakeForgotten`],
    /// [`Bug::AcceptTrusted`], [`Bug::EstateForgotten`], [`Bug::CRASH`] and [`Bug::DAMAGE`].
    pub const ALL: [Self; 36] = [
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
        Self::WindowForgotten,
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

    /// Those that show when an engine is killed and another takes over.
    pub const CRASH: [Self; 14] = [
        Self::JournalForgotten,
        Self::SealForgotten,
        Self::LiveSlotFreed,
        Self::QueueForgotten,
        Self::SendForgotten,
        Self::CompletionsForgotten,
        Self::AppliedForgotten,
        Self::ConnNotHeld,
        Self::TalkNotHeld,
        Self::ItemOneshot,
        Self::RingKept,
        Self::EventsForgotten,
        Self::ChangedForgotten,
        Self::StrayKept,
    ];

    /// Those that show when memory is damaged meanwhile, and the world can tell.
    pub const DAMAGE: [Self; 2] = [Self::TornMailboxTrusted, Self::TornMailboxDeaf];
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

/// A place where the simulator may kill the engine: each write to memory that outlives it, each
/// commit. What is killed unwinds with [`Killed`], and whatever holds its memory may take it over.
#[cfg(feature = "planted")]
pub fn kill_point() {
    let left = KILL_IN.get();
    if left > 0 {
        KILL_IN.set(left - 1);
        if left == 1 {
            std::panic::resume_unwind(Box::new(Killed));
        }
    }
}

/// Nobody is ever killed by what is shipped.
#[cfg(not(feature = "planted"))]
pub const fn kill_point() {}

/// The engine was killed.
#[cfg(feature = "planted")]
pub struct Killed;

/// Kills the engine of this thread at the kill point of this number from now; 0: at none.
#[cfg(feature = "planted")]
pub fn kill_in(points: u64) {
    KILL_IN.set(points);
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
    static KILL_IN: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}
