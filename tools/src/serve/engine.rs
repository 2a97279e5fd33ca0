//! One engine as its keeper sees it: started or taken over, told, listened to, and started again.

mod aside;
mod end;
mod found;
mod note;
mod process;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use torpor_engine::limits::Limits;

use super::binary::Binary;
use super::charge::End;
use super::helper::Helper;
use super::outage::Outage;
use super::pause::Pause;
use super::sockets::Sockets;
use super::watcher::WatcherKeeper;
use crate::config::Config;
use crate::estate::Estate;
use crate::kit::Kit;
use crate::link::{Link, Message, Word};
use process::Process;

pub use note::Note;

/// The engine of one number. Its process comes and goes; its estate stays, with all clients, and
/// its helper's pid.
pub struct EngineKeeper {
    number: u32,
    helper: Helper,
    estate: Estate,
    watcher: WatcherKeeper,
    process: Option<Process>,
    /// True exactly when one of its processes has served, or was taken over.
    has_clients: bool,
    pause: Pause,
    outage: Outage,
    /// When the engine is to accept anew.
    relisten: Option<Instant>,
    /// How the last process that ended before it served has ended, and of which program it was.
    stumbled: Option<(u32, End)>,
    /// Sleepers that its processes have said BYE to because they were told to stop.
    dismissed: u64,
}

impl EngineKeeper {
    /// Starts the engine of this number. Must be called by a thread that lives as long as it.
    ///
    /// # Errors
    /// No process could be made, or the host has no room for what it needs.
    pub fn start(
        number: u32,
        config: &Config,
        limits: &Limits,
        sockets: &Sockets,
        binary: &Binary,
    ) -> io::Result<Self> {
        let (helper, estate) = (Helper::start()?, Estate::create(config, limits)?);
        let mut engine = Self::new(number, helper, estate, None);
        engine.launch(config, sockets, binary)?;
        Ok(engine)
    }

    fn new(number: u32, helper: Helper, estate: Estate, process: Option<Process>) -> Self {
        let watcher = WatcherKeeper::new(number, &[]);
        let (pause, outage) = (Pause::new(PAUSE_MIN, PAUSE_MAX), Outage::new(number));
        let (has_clients, relisten, stumbled) = (false, None, None);
        Self {
            number,
            helper,
            estate,
            watcher,
            process,
            has_clients,
            pause,
            outage,
            relisten,
            stumbled,
            dismissed: 0,
        }
    }

    /// Starts its process with what it needs to know.
    fn launch(&mut self, config: &Config, sockets: &Sockets, binary: &Binary) -> io::Result<()> {
        let mut outfit = self.estate.outfit();
        let (link, end) = Link::pair()?;
        let (inside, outside) = Link::pair()?;
        let kit = Kit {
            number: self.number,
            config: config.clone(),
            anvil_pid: self.helper.pid(),
            link: outfit.put(end.as_fd())?,
            door: [outfit.put(inside.as_fd())?, outfit.put(outside.as_fd())?],
            listeners: sockets.pass(&mut outfit)?,
            estate: self.estate.pass(&mut outfit)?,
        };
        let process = Process::start(self.number, binary, kit.pack()?, outfit, link)?;
        self.process = Some(process);
        self.pause.started();
        self.launch_watcher(config, binary);
        Ok(())
    }

    /// Takes note of what it has said and of its end, and starts it again when it is time.
    pub fn look(&mut self, config: &Config, sockets: &Sockets, binary: &Binary) {
        let number = self.number;
        if let Some(status) = self.ended() {
            self.outage.begin(status, self.estate.lasts(), self.pause.ended());
        }
        if let Some(process) = &self.process
            && process.ignores_us()
        {
            tracing::error!(event = "engine_silent", "engine {number} does not answer: killed");
            process.signal(Signal::SIGKILL);
        }
        if self.process.is_none() && self.pause.is_over() {
            match self.launch(config, sockets, binary) {
                Ok(()) => tracing::info!(
                    event = "engine_started",
                    engine = number,
                    "engine {number} was started again"
                ),
                Err(error) => {
                    tracing::error!("engine {number} cannot be started: {error}");
                    self.pause.ended();
                }
            }
        }
    }

    /// It serves: nothing is needed of those before it.
    fn served(&mut self) {
        self.has_clients = true;
        self.outage.end();
        if self.estate.serves() {
            // What the dead had armed is cleared away some time from now, and until then its
            // accept takes the news of a connection that the new one should have had.
            self.relisten = Some(Instant::now() + CLEARED_AWAY);
        }
    }

    /// When it next wants a look, but for what it says.
    pub fn due(&self) -> Option<Instant> {
        let rests = self.process.is_none().then(|| self.pause.due());
        let watcher = self.process.as_ref().and_then(|_| self.watcher.due());
        rests.into_iter().chain(self.relisten).chain(watcher).min()
    }

    /// Gives it its listener again, when it is time.
    pub fn look_at_listener(&mut self, sockets: &Sockets) {
        if self.relisten.take_if(|at| *at <= Instant::now()).is_some() {
            self.relisten(Word::Hibernate, sockets.hibernate());
        }
    }

    /// Hears it. Silence of a process that serves is logged once.
    pub fn hear(&mut self) {
        while let Some(process) = &mut self.process
            && let Some(Message { word, text, .. }) = process.said()
        {
            match word {
                Word::Begins => self.estate.begins(text.parse().unwrap_or_default()),
                Word::Beat => process.answered(),
                Word::Ready => {
                    process.answered();
                    self.served();
                }
                Word::Dismissed => self.dismissed += text.parse::<u64>().unwrap_or_default(),
                _ => tracing::error!("engine {} says {word:?}", self.number),
            }
        }
        if self.process.as_mut().is_some_and(Process::falls_silent) {
            tracing::error!(event = "engine_silent", "engine {} does not answer", self.number);
        }
    }

    /// It serves, and its engine thread has answered lately.
    pub fn answers(&self) -> bool {
        self.process.as_ref().is_some_and(Process::answers)
    }

    /// It runs and has served, and its engine thread does not answer.
    pub fn hangs(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.heard.is_some() && !process.answers())
    }

    /// Gives it a socket that was bound anew.
    pub fn relisten(&self, word: Word, listener: BorrowedFd<'_>) {
        self.tell(word, "", Some(listener));
    }

    /// Gives it another configuration.
    pub fn reload(&self, config: &Config) {
        match share(config, self.number) {
            Ok(text) => self.tell(Word::Config, &text, None),
            Err(error) => tracing::error!("reload: {error}"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Ends its process, unless it is of this program; another one follows.
    pub fn retire(&mut self, serial: u32) {
        if self.process.as_ref().is_some_and(|process| process.serial != serial) {
            self.outage.plan();
            self.signal(Signal::SIGKILL);
        }
    }

    /// It serves, and is of this program.
    pub fn serves_as(&self, serial: u32) -> bool {
        let serves = |process: &Process| process.serial == serial && process.heard.is_some();
        self.process.as_ref().is_some_and(serves)
    }

    /// How a process of this program has ended before it served.
    pub fn stumbled(&self, serial: u32) -> Option<End> {
        self.stumbled.filter(|(of, _)| *of == serial).map(|(_, status)| status)
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// True exactly when clients outlive its process.
    pub fn lasts(&self) -> bool {
        self.estate.lasts()
    }

    /// Clients that it may have.
    pub fn slots_max(&self) -> u32 {
        self.estate.limits().slots_max
    }

    /// True exactly when another keeper has started what runs.
    pub fn is_found(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_found)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Readable when it has said something or ended.
    pub fn link(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(AsFd::as_fd)
    }

    /// Our children among its processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        let process = self.process.as_ref().map(Process::pid);
        process.into_iter().chain([self.helper.pid()]).chain(self.watcher.pids())
    }

    fn tell(&self, word: Word, text: &str, descriptor: Option<BorrowedFd<'_>>) {
        let Some(process) = &self.process else { return };
        if let Err(error) = process.link.send(word, text, descriptor) {
            let number = self.number;
            tracing::error!("engine {number} was not told {word:?}: {error}");
        }
    }
}

/// The configuration of one engine: its part of the workers.
fn share(config: &Config, number: u32) -> io::Result<String> {
    toml::to_string(&config.share(number)).map_err(io::Error::other)
}

/// Once may be anything. From the second end on an engine that ends at once is given time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// A crash loop logs about once a minute.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// In which the kernel has cleared a closed ring away (10 ms on Linux 6.18), generously.
const CLEARED_AWAY: Duration = Duration::from_millis(100);
