//! What moves on the terminal while a run plays.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::act::Act;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::wire::Counts;

/// One bar at a time, with a line for each act that is over.
pub struct Show {
    quiet: bool,
    bar: ProgressBar,
    /// What the bar counts.
    measure: Measure,
    began: Instant,
}

enum Measure {
    Resting,
    /// Those that this act is for.
    Answers(Act),
    Seconds,
}

impl Show {
    pub fn new(quiet: bool) -> Self {
        let bar = ProgressBar::hidden();
        Self { quiet, bar, measure: Measure::Seconds, began: Instant::now() }
    }

    /// An act begins with so many clients alive.
    pub fn begin(&mut self, act: &Act, plan: &Plan, alive: u64) {
        let (measure, length) = match act {
            Act::LogIn => (Measure::Resting, plan.clients.into()),
            Act::Storm { clients, .. } => (Measure::Answers(act.clone()), (*clients).into()),
            Act::Check { .. } => (Measure::Answers(act.clone()), alive),
            Act::Hold { secs }
            | Act::Trickle { secs, .. }
            | Act::Churn { secs, .. }
            | Act::Slow { secs, .. } => (Measure::Seconds, secs.ceil() as u64),
        };
        (self.measure, self.began) = (measure, Instant::now());
        self.bar = self.draw(ProgressBar::new(length), BAR);
        self.bar.set_prefix(act.name());
    }

    pub fn progress(&self, counts: Counts) {
        let at = match &self.measure {
            Measure::Resting => counts.resting,
            Measure::Answers(act) => counts.answers_to(act),
            Measure::Seconds => self.began.elapsed().as_secs(),
        };
        self.bar.set_position(at);
        let Counts { resting, died, answered, .. } = counts;
        self.bar.set_message(format!("{resting} idle, {answered} answers, {died} lost"));
    }

    pub fn end(&mut self, act: &Act, secs: f64, ledger: &Ledger) {
        self.bar.finish_and_clear();
        if !self.quiet {
            let lost = ledger.lost();
            eprintln!(
                "{:<26} {secs:>7.1} s   {:>6} clients, {lost} lost",
                act.name(),
                ledger.begun
            );
        }
    }

    pub fn wait(&mut self, what: &str) {
        self.measure = Measure::Seconds;
        self.bar = self.draw(ProgressBar::new_spinner(), SPINNER);
        self.bar.set_prefix(what.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    pub fn waited(&mut self) {
        self.bar.finish_and_clear();
    }

    fn draw(&self, bar: ProgressBar, template: &str) -> ProgressBar {
        let target =
            if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        bar.set_draw_target(target);
        let style = ProgressStyle::with_template(template).expect("the template is right");
        bar.with_style(style.progress_chars("\u{2588}\u{2589}\u{258a}\u{258b}\u{258c}\u{258d} "))
    }
}

const BAR: &str = "{prefix:<26} {bar:30.cyan} {pos:>6}/{len}  {msg}";
const SPINNER: &str = "{spinner:.cyan} {prefix}  {msg}";
