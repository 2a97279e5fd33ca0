//! One engine as its keeper sees it: started, told, listened to, and started again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor_engine::limits::Limits;

use super::helper::Helper;
use super::outage::Outage;
use super::pause::Pause;
use super::sockets::Sockets;
use crate::config::Config;
use crate::engine::SUBCOMMAND;
use crate::estate::Estate;
use crate::link::{Link, Message, Word};

/// The engine of one number. Its process comes and goes; its estate stays, with all clients, and
/// its helper's pid.
pub struct EngineKeeper {
    number: u32,
    helper: Helper,
    estate: Estate,
    process: Option<Process>,
    pause: Pause,
    outage: Outage,
    /// When the engine is to accept anew.
    relisten: Option<Instant>,
}

/// What runs.
struct Process {
    child: Child,
    link: Link,
    /// When it last said that its engine thread answers; none: it does not serve yet.
    heard: Option<Instant>,
    /// True exactly when it was logged that it does not.
    complained: bool,
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
    ) -> io::Result<Self> {
        let mut engine = Self {
            number,
            helper: Helper::start()?,
            estate: Estate::create(config, limits.clone())?,
            process: None,
            pause: Pause::new(PAUSE_MIN, PAUSE_MAX),
            outage: Outage::new(number),
            relisten: None,
        };
        engine.launch(config, sockets)?;
        Ok(engine)
    }

    /// Starts its process and says what it needs to know.
    fn launch(&mut self, config: &Config, sockets: &Sockets) -> io::Result<()> {
        let (link, end) = Link::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("torpor").args([SUBCOMMAND, &self.number.to_string()]);
        command.stdin(Stdio::from(end)).stdout(Stdio::null());
        // A Ctrl-C is for us alone, and what it means is said to the engine by us.
        command.process_group(0);
        let inventory = self.estate.pass_to(&mut command)?;
        let inventory = toml::to_string(&inventory).map_err(io::Error::other)?;
        let child = command.spawn()?;
        self.pause.started();
        let process = self.process.insert(Process { child, link, heard: None, complained: false });
        process.link.send(Word::Config, &share(config, self.number)?, None)?;
        process.link.send(Word::Estate, &inventory, None)?;
        process.link.send(Word::AnvilPid, &self.helper.pid().to_string(), None)?;
        for (word, listener) in sockets.listeners() {
            process.link.send(word, "", Some(listener))?;
        }
        process.link.send(Word::Go, "", None)
    }

    /// Takes note of what it has said and of its end, and starts it again when it is time.
    pub fn look(&mut self, config: &Config, sockets: &Sockets) {
        let number = self.number;
        if let Some(status) = self.ended() {
            self.outage.begin(status, self.estate.lasts(), self.pause.ended());
        }
        if self.process.is_none() && self.pause.is_over() {
            match self.launch(config, sockets) {
                Ok(()) => tracing::info!(
                    event = "engine_started",
                    engine = number,
                    "engine {number} was started again"
                ),
                Err(error) => {
                    // A child that was made and not told enough ends by itself.
                    tracing::error!("engine {number} cannot be started: {error}");
                    self.pause.ended();
                }
            }
        }
    }

    /// It serves: nothing is needed of those before it.
    fn served(&mut self) {
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
        rests.into_iter().chain(self.relisten).min()
    }

    /// Gives it its listener again, when it is time.
    pub fn look_at_listener(&mut self, sockets: &Sockets) {
        if self.relisten.take_if(|at| *at <= Instant::now()).is_some()
            && let Some((word, listener)) = sockets.listeners().next()
        {
            assert_eq!(word, Word::Hibernate, "it comes first");
            self.relisten(word, listener);
        }
    }

    /// Hears it. Silence of a process that serves is logged once.
    pub fn hear(&mut self) {
        while let Some(process) = &mut self.process
            && let Ok(Some(Message { word, text, .. })) = process.link.receive()
        {
            match word {
                Word::Begins => self.estate.begins(text.parse().unwrap_or_default()),
                Word::Ready | Word::Beat => {
                    process.heard = Some(Instant::now());
                    process.complained = false;
                    if word == Word::Ready {
                        self.served();
                    }
                }
                _ => tracing::error!("engine {} says {word:?}", self.number),
            }
        }
        let Some(process) = &mut self.process else { return };
        let silent = process.heard.is_some_and(|heard| heard.elapsed() > SILENCE_MAX);
        if silent && !process.complained {
            process.complained = true;
            tracing::error!(event = "engine_silent", "engine {} does not answer", self.number);
        }
    }

    /// It serves, and its engine thread has answered lately.
    pub fn answers(&self) -> bool {
        let heard = self.process.as_ref().and_then(|process| process.heard);
        heard.is_some_and(|heard| heard.elapsed() <= SILENCE_MAX)
    }

    /// Its end before it ever served.
    pub fn failure(&mut self) -> Option<ExitStatus> {
        let unready = self.process.as_ref().is_some_and(|process| process.heard.is_none());
        if unready { self.ended() } else { None }
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

    /// Somebody has killed the process behind the pid in anvil: sleepers get another.
    pub fn look_at_helper(&mut self) {
        if self.helper.is_running() {
            return;
        }
        match Helper::start() {
            Ok(helper) => {
                self.helper = helper;
                self.tell(Word::AnvilPid, &self.helper.pid().to_string(), None);
            }
            Err(error) => tracing::error!("the helper process cannot be started: {error}"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // One that has ended is not waited for yet, so its pid is nobody else's.
            let _ = kill(Pid::from_raw(process.child.id() as i32), signal);
        }
    }

    /// How its process has ended, once.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.child.try_wait().ok().flatten()?;
        // Its last words.
        self.hear();
        self.process = None;
        Some(status)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Readable when it has said something or ended.
    pub fn link(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|process| process.link.as_fd())
    }

    /// Our children among its processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        let process = self.process.iter().map(|process| process.child.id());
        process.chain([self.helper.pid()])
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
/// Some beats of one a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);
