//! A great many sleepers on mailboxes that they share: laid down, held for a while, some of them
//! woken. The clients are peers without sockets on a TUN device, the worker is the bench.

use std::error::Error;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::cpu::cpu_us;
use super::letter::Random;
use super::maildirs::{Copies, Maildirs};
use super::null::{self, Talk};
use super::peers::Peers;
use super::pledge::{Pledge, Terms};
use super::proc::{descriptors, table_bytes, used_bytes};

/// How many, and for how long.
pub struct Throng {
    pub clients: u32,
    pub mailboxes: u32,
    pub hold_secs: u32,
    pub keepalive_secs: u32,
    /// How many say DONE in the end, all at once.
    pub wakes: u32,
    /// Lines of torpor's configuration, as in [`Terms`].
    pub config: String,
    /// What the whole machine may have more in use for each client, if that is looked at.
    pub bytes_max: Option<f64>,
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
    /// Plays it.
    ///
    /// # Errors
    /// torpor does not start or refuses somebody, or a woken client does not reach a worker.
    pub fn play(&self) -> Result<Vec<Figure>, Box<dyn Error>> {
        let mut figures = Vec::new();
        let mut told = |name, value, most| figures.push(Figure { name, value, most });
        let Self { clients, keepalive_secs, config, .. } = self;
        // Our workers are threads, which never end: only their age says that they are free again.
        let config = format!("{config}\n[wake]\nworkers_max = 60000\nawake_age_ms_max = 1000\n");
        let terms = Terms { config, clients: *clients, keepalive_secs: *keepalive_secs };
        let mut pledge = Pledge::start(&terms)?;
        let talks = null::start(pledge.base_dir(), WORKERS)?;
        let peers = Peers::start(*clients)?;
        let family = pledge.family();
        let mut maildirs = Maildirs::new(pledge.base_dir().join("mail"));
        maildirs.make(self.mailboxes)?;
        maildirs.look()?;
        thread::sleep(SETTLE);

        let (used, tables) = (held_bytes()?, table_bytes(&family)?);
        let began = Instant::now();
        self.lay_down(&mut pledge, &peers, &mut maildirs)?;
        told("seconds until all sleep", began.elapsed().as_secs_f64(), None);
        thread::sleep(SETTLE);
        let each = |bytes: u64| bytes as f64 / f64::from(*clients);
        let used = held_bytes()?.saturating_sub(used);
        told("bytes of a client, all of the machine", each(used), self.bytes_max);
        let tables = table_bytes(&family)?.saturating_sub(tables);
        told("page tables of that", each(tables), None);
        told("torpor's descriptors", descriptors(&family) as f64, Some(DESCRIPTORS_MAX));

        let (beats, cpu) = (peers.crowd.tally()?.untagged, cpu_us(&family));
        thread::sleep(Duration::from_secs(self.hold_secs.into()));
        let (beats, cpu) = (peers.crowd.tally()?.untagged - beats, cpu_us(&family) - cpu);
        told("keepalives sent", beats as f64, None);
        told("keepalives that did not come", self.beats().saturating_sub(beats) as f64, Some(0.0));
        told("CPU asleep, % of a core", cpu / 1e4 / f64::from(self.hold_secs), Some(CPU_MAX));

        let began = Instant::now();
        peers.crowd.say(self.chosen(), b"DONE\r\n")?;
        let (mut first, mut last, mut longest) = (ANSWER_WITHIN, Duration::ZERO, Duration::ZERO);
        for _ in 0..self.wakes {
            let Talk { connected, greeted, taken } = talks.recv_timeout(ANSWER_WITHIN)?;
            first = first.min(connected - began);
            last = last.max(taken - began);
            longest = longest.max(taken - greeted);
        }
        told("seconds until a worker is asked for", first.as_secs_f64(), None);
        told("seconds until the last is awake", last.as_secs_f64(), None);
        told("ms from a worker's greeting to its client", longest.as_secs_f64() * 1e3, None);
        thread::sleep(SETTLE);
        let tally = peers.crowd.tally()?;
        told("without an answer", f64::from(self.wakes - tally.answered), Some(0.0));
        // The worker hangs up on those whom it has answered.
        let gone = (tally.reset + tally.ended).saturating_sub(self.wakes);
        told("clients lost", f64::from(gone), Some(0.0));
        Ok(figures)
    }

    /// Everybody falls asleep, one mailbox after the other.
    fn lay_down(
        &self,
        pledge: &mut Pledge,
        peers: &Peers,
        maildirs: &mut Maildirs,
    ) -> Result<(), Box<dyn Error>> {
        let on_each = self.clients.div_ceil(self.mailboxes);
        let (mut copies, mut notify, mut asleep) = (Copies::default(), None, 0);
        peers.accept(self.clients, |_, stream| {
            if asleep % on_each == 0 {
                notify.replace(maildirs.watch()?).into_iter().for_each(|old| copies.keep(old));
            }
            asleep += 1;
            pledge.worker.hibernate(stream.as_fd(), notify.as_ref().map(AsFd::as_fd))
        })?;
        notify.into_iter().for_each(|last| copies.keep(last));
        copies.close();
        Ok(())
    }

    /// Keepalives that are due for sure, however the first one falls.
    fn beats(&self) -> u64 {
        let rounds = (2 * self.hold_secs).saturating_sub(self.keepalive_secs);
        u64::from(rounds / (2 * self.keepalive_secs)) * u64::from(self.clients)
    }

    /// Who speaks, by chance but in each run the same.
    fn chosen(&self) -> Vec<u32> {
        let (mut all, mut random) = ((0..self.clients).collect::<Vec<u32>>(), Random(7));
        for at in (1..all.len()).rev() {
            all.swap(at, (random.next() % (at as u64 + 1)) as usize);
        }
        all.truncate(self.wakes as usize);
        all
    }
}

/// What the machine has in use, without what the kernel keeps in case somebody asks.
fn held_bytes() -> Result<u64, Box<dyn Error>> {
    nix::unistd::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    thread::sleep(SETTLE);
    Ok(used_bytes()?)
}

/// Sockets, rings, logs and the worker's connections: nothing that grows with the sleepers.
const DESCRIPTORS_MAX: f64 = 400.0;
/// While keepalives are two minutes apart for a million, or ten seconds for tens of thousands.
const CPU_MAX: f64 = 8.0;
const WORKERS: usize = 8;
const SETTLE: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
