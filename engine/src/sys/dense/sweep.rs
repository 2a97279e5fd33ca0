//! The slow sweep over dense sleepers: the belt to the programs' braces.
//!
//! An event that finds the ring buffer full has left its record told, and nobody knows. It is
//! counted, a count that has grown starts a sweep, and a timer starts one every few minutes
//! whatever happens, which also asks each socket itself. A sweep looks at some records at a time,
//! so that nobody waits for it; its timer stays readable until it is through.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::{ARMED, Dense, RECORD_BYTES, TOLD};

/// When the next one is, and how far this one has come.
pub struct Sweep {
    timer: TimerFd,
    next: u32,
    /// The count of lost events when the last one began.
    lost: u64,
    found: u64,
}

impl Sweep {
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let sweep = Self { timer, next: 0, lost: 0, found: 0 };
        sweep.set(Duration::from_secs(SWEEP_SECS));
        Ok(sweep)
    }

    /// So many events were lost by now: if that is news, one begins at once, or after the one
    /// that is under way.
    pub fn hurry(&self, lost: u64) {
        if self.next == 0 && lost != self.lost {
            self.set(Duration::from_nanos(1));
        }
    }

    fn set(&self, first: Duration) {
        let every = TimeSpec::from_duration(Duration::from_secs(SWEEP_SECS));
        let times = Expiration::IntervalDelayed(TimeSpec::from_duration(first), every);
        self.timer.set(times, TimerSetTimeFlags::empty()).expect("a valid time");
    }
}

impl Dense {
    /// Readable while a sweep is due or under way.
    pub fn sweep_timer(&self) -> BorrowedFd<'_> {
        self.sweep.timer.as_fd()
    }

    /// Events for which there was no room.
    pub fn lost(&self) -> u64 {
        self.records.get(self.slots as usize * RECORD_BYTES)
    }

    /// Stirs of which the programs knew nothing.
    pub fn found(&self) -> u64 {
        self.sweep.found
    }

    /// Goes on with the sweep that is due and appends at most as many tokens. `is_audible`: the
    /// client in this slot has something to hear.
    pub fn sweep(&mut self, most: usize, is_audible: impl Fn(u32) -> bool, out: &mut Vec<u8>) {
        if self.sweep.next == 0 {
            self.sweep.lost = self.lost();
        }
        let end = self.slots.min(self.sweep.next + SLOTS_PER_LOOK.min(most as u32));
        for slot in self.sweep.next..end {
            match self.state(slot) {
                TOLD => self.name(slot, out),
                ARMED if is_audible(slot) => {
                    self.sweep.found += 1;
                    self.name(slot, out);
                }
                _ => {}
            }
        }
        self.sweep.next = end;
        if end == self.slots {
            self.sweep.next = 0;
            // Nobody else reads it.
            let _ = self.sweep.timer.wait();
            self.sweep.hurry(self.lost());
        }
    }
}

/// Between two sweeps. Each costs a sleeper a number for the moment and one recv.
const SWEEP_SECS: u64 = 300;
/// Sockets that are asked before others have their turn.
const SLOTS_PER_LOOK: u32 = 64;
