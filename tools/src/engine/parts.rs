//! The engine thread, and the parts that are joined to it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::{ClockId, clock_gettime};
use torpor_engine::core::Now;
use torpor_engine::drive::Driver;
use torpor_engine::limits::Limits;
use torpor_engine::sys::uring::KernelRing;
use torpor_engine::watcher::{Connections, Marks, Post};

use super::handoff::HandoffThread;
use super::heir::{Heir, Succession};
use crate::config::Config;
use crate::desk::{Bell, DeskEnds, EngineDesk};

/// Everything that runs once the engine is up.
pub struct Parts {
    pub engine: JoinHandle<()>,
    /// Hears once that the engine serves.
    pub begun: Receiver<()>,
    pub limits: Limits,
    /// Becomes readable when the engine thread ends.
    pub ended: Arc<EventFd>,
    pub listening: Listening,
    /// Takes a watcher, and another when that one is dead.
    pub watchers: Connections,
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
pub type Engine = Driver<KernelRing, HandoffThread, Post, EngineDesk>;

impl Parts {
    /// Starts all of it for the clients that come to `listener`, and those who are here; `marks` if
    /// they were asked for.
    pub fn bring_up(
        config: &Config,
        heir: Heir,
        listener: OwnedFd,
        marks: Option<Marks>,
    ) -> io::Result<Self> {
        let doorbell = event()?;
        let again = || doorbell.as_fd().try_clone_to_owned();
        let (core, lasting, watch, succession) = heir.into_parts();
        let limits = core.limits().clone();
        let handoff = HandoffThread::start(config, lasting.talks(&limits), again()?)?;
        let marked = marks.as_ref().map(Marks::source).transpose()?;
        // Under its own number, so that a new keeper finds it.
        let shared = watch.try_clone()?;
        let tell = |line: &str| tracing::error!("{line}");
        let watcher = Post::start(&limits, again()?, shared, marks, tell)?;
        let watchers = watcher.connections();
        let bell = Bell::new(again()?);
        let (desk, ends) = EngineDesk::open(bell.clone(), config.anvil.enabled);
        let (listeners, taken) = bounded(LISTENERS_MAX);
        let listening = Listening { listeners, bell };
        let mut ring = KernelRing::new(&limits, lasting, listener, watch, again()?)?;
        if let Some(marked) = marked {
            ring.set_marks(marked);
        }
        ring.set_vanish_timeout_ms(config.sleep.vanish_timeout_ms);
        if config.engines > 1 {
            ring.take_turns();
        }
        let driver = Driver::join(core, ring, handoff, watcher, desk);
        let ended = Arc::new(event()?);
        let bell = LastBell(Arc::clone(&ended));
        let (begins, begun) = bounded(1);
        let engine = Builder::new().name("torpor-engine".into()).spawn(move || {
            let _bell = bell;
            if let Err(error) = run(driver, succession, &begins, &taken) {
                // As a kill would end it: nothing is to go on without the engine.
                panic!("the engine has ended: {error}");
            }
        })?;
        Ok(Self { engine, begun, limits, ended, listening, watchers, ends })
    }
}

/// The engine thread: begins, then turn after turn until the core has stopped.
fn run(
    mut engine: Engine,
    succession: Succession,
    begins: &Sender<()>,
    listeners: &Receiver<OwnedFd>,
) -> io::Result<()> {
    succession.accede(&mut engine)?;
    // The main thread waits for it.
    let _ = begins.send(());
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

pub fn now() -> Now {
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
pub fn seed() -> u64 {
    (now().wall_us ^ u64::from(std::process::id()) << 40) | 1
}

/// New listeners that the engine has not taken yet.
const LISTENERS_MAX: usize = 4;
