//! What may go wrong, and what each seed draws of it.

use torpor_engine::limits::{KeepAwake, Knobs, Limits};
use torpor_engine::mailboxes::Debounce;
use torpor_handoff::master::Timeouts;

use crate::random::Random;

/// The enum, and a list of all of it.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One kind of mishap. The comments say whose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        const ALL: [Fault; Fault::COUNT] = [$(Fault::$name,)*];

        impl Fault {
            pub const COUNT: usize = [$(stringify!($name),)*].len();
        }
    };
}

faults! {
    // The kernel.
    CqOverflow,
    BuffersShort,
    CompletionDelay,
    CompletionReorder,
    CancelAlready,
    CancelLate,
    AcceptFails,
    RecvFails,
    SendShort,
    SendBlocked,
    SendFails,
    SqFull,
    MultishotEnds,
    ReadShort,
    WatchReadEnds,
    ConnRecvFails,
    PassedLost,
    ItemRefused,
    // The worker that hibernates.
    LineSplit,
    LineEndless,
    LineLong,
    LineEscape,
    LineField,
    LineNul,
    VersionWrong,
    TwoDescriptors,
    NoDescriptor,
    WrongDescriptor,
    WrongInode,
    WrongPeer,
    NotifyWrong,
    NotifyAbsent,
    NotifyText,
    NotifyEarly,
    DescriptorLate,
    SecondLine,
    WorkerHangsUp,
    WorkerStalls,
    CloseLate,
    // The client.
    DoneSplit,
    DoneIdle,
    LongTag,
    Pipelined,
    Garbage,
    Flood,
    HangUp,
    HalfClose,
    Reset,
    // The mailbox.
    WatchOverflow,
    WatchIgnored,
    ChangeInAdoption,
    ChangeLate,
    NotAdopted,
    WatcherSlow,
    // The operator.
    Who,
    Kick,
    Reload,
    Relisten,
    Stop,
    // imap-master.
    MasterAbsent,
    MasterFull,
    MasterSilent,
    MasterMute,
    MasterRefuses,
    MasterDiesEarly,
    MasterDiesLate,
    MasterLate,
    MasterHalfLine,
    MasterWrongVersion,
    MasterOutage,
    // The time.
    ClockJump,
    Stall,
    // Our own end.
    Crash,
    CrashAgain,
    KeeperKilled,
    /// Engine and keeper within one moment: all is lost.
    BothKilled,
    Upgrade,
    UpgradeFails,
}

impl Fault {
    pub fn bit(self) -> u128 {
        1 << self as u32
    }
}

/// The names, in order, for the tally.
pub fn names() -> Vec<String> {
    ALL.iter().map(|fault| format!("{fault:?}")).collect()
}

/// What a seed has drawn.
pub struct Swarm {
    /// Bits of the faults that may happen.
    pub enabled: u128,
    pub clients: u32,
    pub users: u32,
    pub boxes: u32,
    pub sq: u32,
    pub cq: u32,
    pub buffers: u32,
    /// True when an armed recv of a client goes on after its first completion.
    pub lasting: bool,
    /// True when clients sleep densely: who has spoken before is not taken (EAGAIN), and who has
    /// spoken is told once.
    pub dense: bool,
    /// Longest pause between ticks, milliseconds.
    pub pace_ms: u32,
    /// Longest pause between two deeds of a client or worker, milliseconds.
    pub rest_ms: u32,
    pub limits: Limits,
    pub knobs: Knobs,
    pub timeouts: Timeouts,
}

impl Swarm {
    pub fn draw(random: &mut Random) -> Self {
        let mut enabled = 0;
        for fault in ALL {
            // Those that end everything, or many, come less often.
            let rare = matches!(fault, Fault::Stop | Fault::MasterOutage | Fault::MasterMute);
            if random.one_in(if rare { 4 } else { 2 }) {
                enabled |= fault.bit();
            }
        }
        // A script has bytes for a few.
        let clients = random.range(1, if random.is_scripted() { 4 } else { 24 });
        let limits = Self::limits(random);
        Self {
            enabled,
            clients,
            users: random.range(1, clients),
            boxes: random.range(1, 6),
            sq: random.pick(&[2, 4, 16, 64]),
            cq: random.pick(&[1, 2, 4, 8, 16, 64]),
            buffers: random.range(1, 8),
            lasting: random.one_in(2),
            // Without a draw of its own, so that every seed goes on as it did.
            dense: clients % 2 == 1,
            pace_ms: random.pick(&[4, 16, 40]),
            rest_ms: random.pick(&[1000, 3000, 8000]),
            knobs: Self::knobs(random),
            timeouts: Timeouts {
                version_ms: random.ms(200, 2000),
                ack_ms: random.ms(300, 3000),
                exit_ms: random.ms(50, 500),
            },
            limits,
        }
    }

    fn limits(random: &mut Random) -> Limits {
        Limits {
            slots_max: random.range(1, 16),
            conns_max: random.range(1, 6),
            line_bytes_max: 2048,
            cold_blocks_max: random.pick(&[24, 60, 120, 400]),
            mailboxes_max: random.pick(&[1, 2, 16]),
            handoffs_in_flight_max: random.range(1, 8),
            sends_in_flight_max: random.pick(&[1, 2, 8]),
            dozers_max: random.pick(&[0, 1, 3, 16, 16]),
        }
    }

    pub fn knobs(random: &mut Random) -> Knobs {
        Knobs {
            workers_max: random.pick(&[1, 2, 4, 32, 32]),
            awake_age_ms_max: random.ms(AWAKE_AGE_MS_MIN, 5000),
            input_wait_ms_max: random.pick(&[0, 0, 2000, 20_000]),
            change_wait_ms_max: random.pick(&[0, 0, 0, 5000]),
            conn_timeout_ms: random.ms(300, 3000),
            retry_ms_min: random.ms(1, 50),
            retry_ms_max: random.ms(100, 2000),
            doze_ms: random.pick(&[0, 100, 1000, 30_000]),
            late_change_ms: random.pick(&[0, 300, 600]),
            debounce: Debounce {
                window_ms: random.pick(&[0, 0, 1, 50, 400]),
                delay_ms_max: random.pick(&[400, 1000]),
            },
            keep_awake: KeepAwake::default(),
            peer_uids: vec![WORKER_UID],
            peer_gids: Vec::new(),
        }
    }
}

/// The least `awake_age_ms_max` that is drawn.
pub const AWAKE_AGE_MS_MIN: u32 = 500;
/// The uid of workers that are let in.
pub const WORKER_UID: u32 = 1000;
