//! A run: starts the crews, has them play each act together, and adds up what they saw.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::act::Act;
use crate::ledger::Ledger;
use crate::midway::Midway;
use crate::outcome::{Outcome, Played, Point, Sample};
use crate::plan::Plan;
use crate::share::Share;
use crate::show::Show;
use crate::watch::Watch;
use crate::wire::{Brief, Counts, Order, Word};

/// All that a run is given.
pub struct Setup {
    pub plan: Plan,
    /// Crew processes.
    pub crews: u32,
    /// The program and arguments that become a crew ([`crate::crew::serve`]).
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub watch: Watch,
    /// A shell command that runs once a third of a storm's answers have come.
    pub midway: Option<String>,
    /// How long the server may take to let everybody fall asleep, where that can be seen.
    pub asleep_within: Duration,
    /// Pause between two acts where it cannot.
    pub settle: Duration,
    pub quiet: bool,
}

/// Why there is no outcome. What a server does is never one of these.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("crew {0} ended early; its clients are not counted")]
    CrewEnded(usize),
    #[error("crew {0} said what nobody understands: {1}")]
    CrewUnclear(usize, String),
    #[error("the crews' ledgers do not balance: {0}")]
    Unbalanced(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Plays all acts.
///
/// # Errors
/// A crew could not be started or ended early.
pub fn run(setup: &Setup) -> Result<Outcome, RunError> {
    let mut run = Run::start(setup)?;
    run.point("before");
    for (index, act) in setup.plan.acts.iter().enumerate() {
        run.play(index, act)?;
        run.settle(act)?;
    }
    Ok(run.outcome)
}

struct Run<'a> {
    setup: &'a Setup,
    began: Instant,
    crews: Vec<Crew>,
    words: Receiver<(usize, Option<String>)>,
    counts: Vec<Counts>,
    sampled: Instant,
    show: Show,
    outcome: Outcome,
}

/// A crew process. Dropping it closes its input, which ends it.
struct Crew {
    child: Child,
    orders: Option<ChildStdin>,
}

impl<'a> Run<'a> {
    fn start(setup: &'a Setup) -> Result<Self, RunError> {
        let plan = &setup.plan;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let (began, began_us) = (Instant::now(), now.as_micros() as u64);
        let (sender, words) = channel();
        let mut crews = Vec::new();
        for share in Share::cut(plan, setup.crews) {
            let mut crew = Crew::start(setup, crews.len(), sender.clone())?;
            crew.say(&Brief { plan: plan.clone(), share, began_us })?;
            crews.push(crew);
        }
        let counts = vec![Counts::default(); crews.len()];
        let outcome = Outcome { crews: crews.len(), ..Outcome::new(plan) };
        let show = Show::new(setup.quiet);
        Ok(Self { setup, began, crews, words, counts, sampled: began, show, outcome })
    }

    fn play(&mut self, index: usize, act: &Act) -> Result<(), RunError> {
        self.tell(Order::Prepare(index))?;
        let mut waiting = self.crews.len();
        while waiting > 0 {
            if let Some((_, Word::Prepared)) = self.next_word()? {
                waiting -= 1;
            }
        }
        let alive = self.sum().alive;
        self.show.begin(act, &self.setup.plan, alive);
        let began = self.began.elapsed();
        self.tell(Order::Go)?;
        let mut ledger = Ledger::default();
        let mut midway = self.setup.midway.as_ref().and_then(|command| Midway::of(command, act));
        waiting = self.crews.len();
        while waiting > 0 {
            if let Some((_, Word::Played(part))) = self.next_word()? {
                ledger.merge(&part);
                waiting -= 1;
            }
            if let Some(midway) = &mut midway {
                midway.look(self.sum(), (self.began.elapsed() - began).as_secs_f64())?;
            }
        }
        ledger.balance().map_err(RunError::Unbalanced)?;
        let secs = (self.began.elapsed() - began).as_secs_f64();
        let midway = midway.map_or(Ok(None), Midway::end)?;
        self.show.end(act, secs, &ledger);
        let (name, began_secs) = (act.name(), began.as_secs_f64());
        let act = act.clone();
        self.outcome.acts.push(Played { name, act, began_secs, secs, ledger, midway });
        Ok(())
    }

    /// Gives the server the time to let everybody fall asleep again.
    fn settle(&mut self, act: &Act) -> Result<(), RunError> {
        if *act == Act::LogIn {
            self.point("logged in");
        }
        let observed = self.setup.watch.sees_sleep();
        let patience = if observed { self.setup.asleep_within } else { self.setup.settle };
        let until = Instant::now() + patience;
        self.show.wait("the server lets them sleep");
        let mut asleep = false;
        while !asleep && Instant::now() < until {
            self.next_word()?;
            asleep = observed && self.setup.watch.is_asleep(self.sum().alive);
        }
        self.show.waited();
        self.point(&format!("after {}", act.name()));
        Ok(())
    }

    /// Notes what the server's processes are and weigh, if they are watched.
    fn point(&mut self, name: &str) {
        let Some(seen) = self.setup.watch.look() else { return };
        let clients = self.sum().alive;
        let weight = self.setup.watch.weight();
        let secs = self.began.elapsed().as_secs_f64();
        self.outcome.points.push(Point { name: name.to_owned(), secs, clients, seen, weight });
    }

    /// The next word of a crew; `None` when there was none for a moment.
    fn next_word(&mut self) -> Result<Option<(usize, Word)>, RunError> {
        let left = SAMPLE_EVERY.saturating_sub(self.sampled.elapsed());
        match self.words.recv_timeout(left) {
            Ok((crew, Some(line))) => {
                let word = serde_json::from_str(&line)
                    .map_err(|error| RunError::CrewUnclear(crew, error.to_string()))?;
                if let Word::Progress(counts) = word {
                    self.counts[crew] = counts;
                    self.show.progress(self.sum());
                }
                Ok(Some((crew, word)))
            }
            Ok((crew, None)) => Err(RunError::CrewEnded(crew)),
            Err(RecvTimeoutError::Disconnected) => Err(RunError::CrewEnded(0)),
            Err(RecvTimeoutError::Timeout) => {
                self.sample();
                Ok(None)
            }
        }
    }

    fn sample(&mut self) {
        self.sampled = Instant::now();
        let Counts { alive, resting, died, .. } = self.sum();
        let seen = self.setup.watch.look();
        let secs = self.began.elapsed().as_secs_f64();
        self.outcome.samples.push(Sample { secs, alive, resting, died, seen });
    }

    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.counts.iter().for_each(|counts| sum.add(*counts));
        sum
    }

    fn tell(&mut self, order: Order) -> Result<(), RunError> {
        for crew in &mut self.crews {
            crew.say(&order)?;
        }
        Ok(())
    }
}

impl Crew {
    fn start(
        setup: &Setup,
        index: usize,
        words: Sender<(usize, Option<String>)>,
    ) -> io::Result<Self> {
        let mut command = Command::new(&setup.program);
        command.args(&setup.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("it is piped");
        let orders = child.stdin.take();
        std::thread::Builder::new().name(format!("crew {index}")).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if words.send((index, Some(line))).is_err() {
                    return;
                }
            }
            // The run may be over as well.
            let _ = words.send((index, None));
        })?;
        Ok(Self { child, orders })
    }

    fn say(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.orders.as_mut().expect("it is open until the end").write_all(&text)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.orders = None;
        // It ends by itself, and its clients with it.
        let _ = self.child.wait();
    }
}

const SAMPLE_EVERY: Duration = Duration::from_millis(500);
