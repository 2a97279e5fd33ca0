//! What may go wrong. Each seed switches a random half of it on; calm switches all of it off.

/// One fault, by the name that the run prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    QueueFull,
    CompletionLate,
    CompletionOverflow,
    BuffersOut,
    CancelReordered,
    AcceptFails,
    ItemRefused,
    ShortRead,
    WindowClosed,
    WindowNarrow,
    HangUp,
    Reset,
    Flood,
    Split,
    Garbage,
    WorkerHangsUp,
    HostileLine,
    Unadoptable,
    AdoptionLate,
    LateChange,
    WatchOverflow,
    WatchIgnored,
    MasterAbsent,
    MasterFull,
    MasterSilent,
    MasterBadGreeting,
    MasterCloses,
    WorkerRefuses,
    WorkerDies,
    WorkerSilent,
    WorkerLate,
    PartialSend,
    Kick,
    Reload,
    Relisten,
    WallJump,
    Crash,
    CrashAgain,
    Damage,
}

impl Fault {
    pub const ALL: [Self; 39] = [
        Self::QueueFull,
        Self::CompletionLate,
        Self::CompletionOverflow,
        Self::BuffersOut,
        Self::CancelReordered,
        Self::AcceptFails,
        Self::ItemRefused,
        Self::ShortRead,
        Self::WindowClosed,
        Self::WindowNarrow,
        Self::HangUp,
        Self::Reset,
        Self::Flood,
        Self::Split,
        Self::Garbage,
        Self::WorkerHangsUp,
        Self::HostileLine,
        Self::Unadoptable,
        Self::AdoptionLate,
        Self::LateChange,
        Self::WatchOverflow,
        Self::WatchIgnored,
        Self::MasterAbsent,
        Self::MasterFull,
        Self::MasterSilent,
        Self::MasterBadGreeting,
        Self::MasterCloses,
        Self::WorkerRefuses,
        Self::WorkerDies,
        Self::WorkerSilent,
        Self::WorkerLate,
        Self::PartialSend,
        Self::Kick,
        Self::Reload,
        Self::Relisten,
        Self::WallJump,
        Self::Crash,
        Self::CrashAgain,
        Self::Damage,
    ];
}

/// Which faults are on, and how often each struck.
pub struct Faults {
    on: u64,
    pub struck: [u32; Fault::ALL.len()],
    /// The engine is told to give clients up that wait for long.
    pub gives_up: bool,
}

impl Faults {
    pub fn new(on: u64, gives_up: bool) -> Self {
        Self { on, struck: [0; Fault::ALL.len()], gives_up }
    }

    pub fn is_on(&self, fault: Fault) -> bool {
        self.on >> fault as usize & 1 == 1
    }

    pub fn count(&mut self, fault: Fault) {
        self.struck[fault as usize] += 1;
    }

    /// From now on nothing goes wrong. The wall clock has jumped, though, if it has.
    pub fn calm(&mut self) {
        self.on &= 1 << Fault::WallJump as usize;
    }
}
