//! A great many sleepers on mailboxes that they share: laid down, held for a while, some of them
//! woken. The clients are peers without sockets on a TUN device, the torpor is one of its own, and
//! we are the worker.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use torpor_load::machine::{cpu_us, descriptors, table_bytes, used_bytes};
use torpor_load::peer::Peers;
use torpor_load::stand_in::maildirs::{Copies, Maildirs};
use torpor_load::stand_in::taker::{self, Talk};

use super::pledge::{Pledge, Terms};
use crate::config::Config;

/// How many, and for how long.
pub struct Throng {
    pub clients: u32,
    pub mailboxes: u32,
    pub hold_secs: u32,
    pub keepalive_secs: u32,
    /// How many say DONE in the end, all at once.
    pub wakes: u32,
    /// torpor's, but for what only concerns its place and its bounds.
    pub config: Config,
    /// What the whole machine may have more in use for each client, if that is looked at.
    pub bytes_max: Option<f64>,
    /// What all of torpor may take of one core while everybody sleeps, per cent, if that is.
    pub cpu_percent_max: Option<f64>,
}

/// A figure, and the most that it may be.
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub most: Option<f64>,
}

impl Figure {
    pub fn is_kept(&self) -> bool {
        self.most.is_none_or(|most| self.value <= most)
    }
}

impl Throng {
    /// Plays it with a torpor of this binary. `say` is told what goes on.
    ///
    /// # Errors
    /// torpor does not start or refuses somebody, or a woken client does not reach a worker.
    pub fn play(&self, binary: &Path, say: impl Fn(&str)) -> Result<Vec<Figure>, Box<dyn Error>> {
        let Self { clients, mailboxes, hold_secs, keepalive_secs, wakes, .. } = self;
        let mut stage = Stage::set(self, binary)?;
        say(&format!("{clients} fall asleep on {mailboxes} mailboxes"));
        stage.fill()?;
        say(&format!("{hold_secs} seconds of sleep, a keepalive every {keepalive_secs}"));
        stage.hold()?;
        say(&format!("{wakes} say DONE at once"));
        stage.wake()?;
        Ok(stage.figures)
    }

    fn terms(&self) -> Terms {
        let mut config = self.config.clone();
        // Our workers are threads, which never end: only their age says that they are free again.
        config.wake.workers_max = 60_000;
        config.wake.awake_age_ms_max = 1000;
        Terms { config, clients: self.clients, keepalive_secs: self.keepalive_secs }
    }

    /// Keepalives that are due for sure, however the first one falls.
    fn beats(&self) -> u64 {
        let rounds = (2 * self.hold_secs).saturating_sub(self.keepalive_secs);
        u64::from(rounds / (2 * self.keepalive_secs)) * u64::from(self.clients)
    }

    /// Who speaks, by chance but in each run the same.
    fn chosen(&self) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.clients).collect();
        fastrand::Rng::with_seed(7).shuffle(&mut all);
        all.truncate(self.wakes as usize);
        all
    }
}

/// Everything that takes part.
struct Stage<'a> {
    throng: &'a Throng,
    figures: Vec<Figure>,
    maildirs: Maildirs,
    /// They end before torpor, which would say BYE to each.
    peers: Peers,
    talks: Receiver<Talk>,
    pledge: Pledge,
}

impl<'a> Stage<'a> {
    fn set(throng: &'a Throng, binary: &Path) -> Result<Self, Box<dyn Error>> {
        let pledge = Pledge::start(binary, &throng.terms())?;
        let talks = taker::start(pledge.base_dir(), TAKERS)?;
        let peers = Peers::start(throng.clients)?;
        let mut maildirs = Maildirs::new(pledge.base_dir().join("mail"));
        maildirs.make(throng.mailboxes)?;
        maildirs.look()?;
        thread::sleep(SETTLE);
        Ok(Self { throng, figures: Vec::new(), maildirs, peers, talks, pledge })
    }

    /// Everybody falls asleep.
    fn fill(&mut self) -> Result<(), Box<dyn Error>> {
        let (used, tables) = (held_bytes()?, table_bytes(&self.pledge.family())?);
        let began = Instant::now();
        self.lay_down()?;
        self.tell("seconds until all sleep", began.elapsed().as_secs_f64());
        thread::sleep(SETTLE);
        let each = |bytes: u64| bytes as f64 / f64::from(self.throng.clients);
        let used = each(held_bytes()?.saturating_sub(used));
        let tables = each(table_bytes(&self.pledge.family())?.saturating_sub(tables));
        self.judge("bytes of a client, all of the machine", used, self.throng.bytes_max);
        self.tell("page tables of that", tables);
        let most = DESCRIPTORS_MAX * f64::from(self.throng.config.engines);
        self.judge("torpor's descriptors", descriptors(&self.pledge.family()) as f64, Some(most));
        Ok(())
    }

    /// One mailbox after the other.
    fn lay_down(&mut self) -> Result<(), Box<dyn Error>> {
        let Self { throng, pledge, peers, maildirs, .. } = self;
        let on_each = throng.clients.div_ceil(throng.mailboxes);
        let (mut copies, mut notify, mut asleep) = (Copies::default(), None, 0);
        peers.accept(throng.clients, |_, stream| {
            if asleep % on_each == 0 {
                notify.replace(maildirs.watch()?).into_iter().for_each(|old| copies.keep(old));
            }
            if asleep % on_each.saturating_mul(FORGET_EVERY) == 0 {
                forget()?;
            }
            asleep += 1;
            pledge.worker.hibernate(stream.as_fd(), notify.as_ref().map(AsFd::as_fd))
        })?;
        notify.into_iter().for_each(|last| copies.keep(last));
        copies.close();
        Ok(())
    }

    /// Nobody does anything but torpor, which sends keepalives.
    fn hold(&mut self) -> Result<(), Box<dyn Error>> {
        let Throng { hold_secs, cpu_percent_max, .. } = *self.throng;
        let (beats, cpu) = (self.peers.crowd.tally()?.untagged, cpu_us(&self.pledge.family()));
        thread::sleep(Duration::from_secs(hold_secs.into()));
        let beats = self.peers.crowd.tally()?.untagged - beats;
        let percent = (cpu_us(&self.pledge.family()) - cpu) / 1e4 / f64::from(hold_secs);
        assert!(percent > 0.0 || beats == 0, "the processor time of others than who sent these");
        self.tell("keepalives sent", beats as f64);
        let missed = self.throng.beats().saturating_sub(beats);
        self.judge("keepalives that did not come", missed as f64, Some(0.0));
        self.judge("CPU asleep, % of a core", percent, cpu_percent_max);
        Ok(())
    }

    /// Some wake, all at once.
    fn wake(&mut self) -> Result<(), Box<dyn Error>> {
        let (wakes, began) = (self.throng.wakes, Instant::now());
        self.peers.crowd.say(self.throng.chosen(), b"DONE\r\n")?;
        let (mut first, mut last, mut longest) = (ANSWER_WITHIN, Duration::ZERO, Duration::ZERO);
        for _ in 0..wakes {
            let Talk { connected, greeted, taken } = self.talks.recv_timeout(ANSWER_WITHIN)?;
            first = first.min(connected - began);
            last = last.max(taken - began);
            longest = longest.max(taken - greeted);
        }
        self.tell("seconds until a worker is asked for", first.as_secs_f64());
        self.tell("seconds until the last is awake", last.as_secs_f64());
        self.tell("ms from a worker's greeting to its client", longest.as_secs_f64() * 1e3);
        thread::sleep(SETTLE);
        let tally = self.peers.crowd.tally()?;
        self.judge("without an answer", f64::from(wakes - tally.answered), Some(0.0));
        // The worker hangs up on those whom it has answered.
        let gone = (tally.reset + tally.ended).saturating_sub(wakes);
        self.judge("clients lost", f64::from(gone), Some(0.0));
        Ok(())
    }

    fn tell(&mut self, name: &'static str, value: f64) {
        self.judge(name, value, None);
    }

    fn judge(&mut self, name: &'static str, value: f64, most: Option<f64>) {
        self.figures.push(Figure { name, value, most });
    }
}

/// What the machine has in use, without what the kernel keeps in case somebody asks.
fn held_bytes() -> Result<u64, Box<dyn Error>> {
    nix::unistd::sync();
    forget()?;
    thread::sleep(SETTLE);
    Ok(used_bytes()?)
}

/// Has the kernel drop its copies of files and its inodes.
fn forget() -> io::Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}

/// Sockets, rings, logs and the worker's connections: nothing that grows with the sleepers.
const DESCRIPTORS_MAX: f64 = 400.0;
const TAKERS: usize = 8;
/// Mailboxes. The inodes of a million would fill 4 GB of slabs, and whoever else holds one in each
/// of these keeps them all.
const FORGET_EVERY: u32 = 10_000;
const SETTLE: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
