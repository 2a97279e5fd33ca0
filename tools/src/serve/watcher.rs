//! The watcher of one engine as its keeper sees it: started with it, and started again.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::binary::Binary;
use super::offspring::Offspring;
use super::pause::Pause;
use crate::config::Config;
use crate::link::{Link, Word};
use crate::watcher::SUBCOMMAND;

/// The watcher of the engine of one number.
pub struct WatcherKeeper {
    number: u32,
    process: Option<Offspring>,
    /// Those of engines that are gone; they end by themselves.
    formers: Vec<Offspring>,
    pause: Pause,
    /// When there may be another.
    due: Instant,
}

impl WatcherKeeper {
    /// None yet, but for `formers` (pids) of an earlier image of this process.
    pub fn new(number: u32, formers: &[u32]) -> Self {
        let pause = Pause::new(PAUSE_MIN, PAUSE_MAX);
        let formers = formers.iter().copied().map(Offspring::of).collect();
        Self { number, process: None, formers, pause, due: Instant::now() }
    }

    /// Starts one with this configuration, instead of the one before; gives the engine's end of
    /// the connection. What the watcher finds there first is of us.
    ///
    /// # Errors
    /// No process could be made; then the next [`WatcherKeeper::look`] is to try again.
    pub fn launch(&mut self, config: &Config, binary: &Binary) -> io::Result<Link> {
        self.formers.extend(self.process.take());
        self.due = Instant::now() + PAUSE_MIN;
        let (near, far) = Link::pair()?;
        near.send(Word::Config, &toml::to_string(config).map_err(io::Error::other)?, None)?;
        let mut command = binary.command();
        command.args([SUBCOMMAND, &self.number.to_string()]);
        command.stdin(Stdio::from(far)).stdout(Stdio::null());
        // A Ctrl-C is for the keeper alone.
        command.process_group(0);
        self.process = Some(Offspring::spawn(&mut command)?);
        self.pause.started();
        Ok(near)
    }

    /// Takes note of its end. True when it is time for another one.
    pub fn look(&mut self) -> bool {
        self.formers.retain_mut(|child| child.ended().is_none());
        if let Some(status) = self.process.as_mut().and_then(Offspring::ended) {
            self.process = None;
            self.rest(status);
        }
        self.process.is_none() && Instant::now() >= self.due
    }

    fn rest(&mut self, status: ExitStatus) {
        if status.success() {
            // Its engine has let go of it, most likely because that has ended as well.
            self.due = Instant::now() + PAUSE_MIN;
            return;
        }
        let (number, pause) = (self.number, self.pause.ended());
        self.due = Instant::now() + pause;
        let pause = pause.as_secs_f64();
        tracing::error!(
            event = "watcher_ended",
            engine = number,
            "the watcher of engine {number} has ended: {status}; another is started in {pause:.1} \
             s, and no client is lost by it"
        );
    }

    /// Its engine has ended for good. Waits a moment for the end of all that there are.
    pub fn end(&mut self) {
        self.formers.extend(self.process.take());
        self.formers.iter().for_each(|child| child.signal(Signal::SIGKILL));
        let until = Instant::now() + ENDS_WITHIN;
        while self.formers.iter_mut().any(|child| child.ended().is_none()) && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// When it next wants a look, if nothing ends.
    pub fn due(&self) -> Option<Instant> {
        self.process.is_none().then_some(self.due)
    }

    /// Our children.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.process.iter().chain(&self.formers).map(Offspring::pid)
    }
}

/// Once may be anything; see [`Pause`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// One that waits for a dead file server is left to the kernel.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
