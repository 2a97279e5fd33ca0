//! The engine thread, and the parts that are joined to it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::{ClockId, clock_gettime};
use torpor_engine::core::{Core, Now};
use torpor_engine::drive::Driver;
use torpor_engine::limits::Limits;
use torpor_engine::memory::Memory;
use torpor_engine::sys::dense::Dense;
use torpor_engine::sys::lasting::Lasting;
use torpor_engine::sys::uring::KernelRing;
use torpor_engine::watcher::{Marks, ThreadWatcher};

use super::handoff::HandoffThread;
use crate::config::Config;
use crate::desk::{Bell, DeskEnds, EngineDesk};

/// Everything that runs once the engine is up.
pub struct Parts {
    pub engine: JoinHandle<io::Result<()>>,
    /// Becomes readable when the engine thread ends.
    pub ended: Arc<EventFd>,
    pub listening: Listening,
    pub ends: DeskEnds,
}

/// Gives the engine thread its listeners.
pub struct Listening {
    listeners: Sender<OwnedFd>,
    bell: Bell,
}

impl Listening {
    /// Accepts come from this socket from now on.
    pub fn relisten(&self, listener: OwnedFd) {
        // The engine takes listeners far faster than paths are looked at.
        if self.listeners.try_send(listener).is_ok() {
            self.bell.ring();
        }
    }
}

/// The engine of this process.
type Engine = Driver<KernelRing, HandoffThread, ThreadWatcher, EngineDesk>;

impl Parts {
    /// Starts all of it for the clients that come to `listener`; `dense` and `marks` if they were
    /// asked for.
    pub fn bring_up(
        config: &Config,
        limits: &Limits,
        listener: OwnedFd,
        dense: Option<io::Result<Dense>>,
        marks: Option<Marks>,
    ) -> io::Result<Self> {
        let doorbell = event()?;
        let again = || doorbell.as_fd().try_clone_to_owned();
        let mut lasting = Lasting::create(limits)?;
        let handoff = HandoffThread::start(config, lasting.talks(limits), again()?)?;
        let marked = marks.as_ref().map(Marks::source).transpose()?;
        let (watcher, watch) = ThreadWatcher::start(again()?, config.ways(marks))?;
        let bell = Bell::new(again()?);
        let (desk, ends) = EngineDesk::open(bell.clone(), config.anvil.enabled);
        let (listeners, taken) = bounded(LISTENERS_MAX);
        let listening = Listening { listeners, bell };
        if let Some(dense) = dense {
            use_dense(&mut lasting, dense);
        }
        let mut ring = KernelRing::new(limits, lasting, listener, watch, again()?)?;
        if let Some(marked) = marked {
            ring.set_marks(marked);
        }
        ring.set_vanish_timeout_ms(config.sleep.vanish_timeout_ms);
        if config.engines > 1 {
            ring.take_turns();
        }
        let memory = Memory::new(limits, config.sleep.cold_dir.as_deref())?;
        let core = Core::with_memory(limits, config.knobs(), seed(), memory);
        let driver = Driver::new(core, ring, handoff, watcher, desk)?;
        let ended = Arc::new(event()?);
        let bell = LastBell(Arc::clone(&ended));
        let engine = Builder::new().name("torpor-engine".into()).spawn(move || {
            let _bell = bell;
            run(driver, &taken)
        })?;
        Ok(Self { engine, ended, listening, ends })
    }
}

/// Without the privilege, or on a kernel that cannot, sleepers get items as always.
fn use_dense(lasting: &mut Lasting, dense: io::Result<Dense>) {
    if let Err(error) = dense.and_then(|dense| lasting.items.use_dense(dense)) {
        tracing::warn!("sleep.dense: {error}; sleepers cost 222 bytes more each");
    }
}

/// The loop of the engine thread: turn after turn until the core has stopped.
fn run(mut engine: Engine, listeners: &Receiver<OwnedFd>) -> io::Result<()> {
    loop {
        if let Ok(listener) = listeners.try_recv() {
            engine.ring.relisten(listener);
            engine.desk.relisten();
        }
        let wait_ms = match engine.core.next_deadline_ms() {
            _ if engine.desk.is_behind() || !listeners.is_empty() => Some(0),
            None => None,
            Some(at) => Some(at.saturating_sub(now().mono_ms).min(u32::MAX.into()) as u32),
        };
        if engine.turn(wait_ms, now)? {
            return Ok(());
        }
    }
}

/// Rings when the engine thread ends, by whatever way.
struct LastBell(Arc<EventFd>);

impl Drop for LastBell {
    fn drop(&mut self) {
        // The counter of an eventfd that is rung once cannot be full.
        let _ = self.0.write(1);
    }
}

fn event() -> io::Result<EventFd> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    Ok(EventFd::from_flags(flags)?)
}

fn now() -> Now {
    let read = |clock| {
        let time = clock_gettime(clock).expect("Linux has had both clocks since 2.6.39");
        Duration::from(time)
    };
    Now {
        mono_ms: read(ClockId::CLOCK_BOOTTIME).as_millis() as u64,
        wall_us: read(ClockId::CLOCK_REALTIME).as_micros() as u64,
    }
}

/// For the jitter of retries alone: different in each process that starts.
fn seed() -> u64 {
    (now().wall_us ^ u64::from(std::process::id()) << 40) | 1
}

/// New listeners that the engine has not taken yet.
const LISTENERS_MAX: usize = 4;
