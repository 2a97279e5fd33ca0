//! What happened in one act: every question with its answer or the reason why there is none, and
//! every client with its fate. [`Ledger::balance`] proves that nothing is uncounted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moments::Moments;
use crate::reason::Reason;
use crate::times::Times;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// From the first packet to the OK of LOGIN.
    Login,
    /// SELECT to its OK.
    Select,
    /// IDLE to its `+`.
    Idle,
    /// DONE to the OK of its IDLE.
    Done,
    /// The moment of a delivery to EXISTS.
    Mail,
    /// The window opens again, to the last answer of a flood of commands.
    Drain,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Login, Self::Select, Self::Idle, Self::Done, Self::Mail, Self::Drain];

    /// How tables and plots call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Select => "SELECT to OK",
            Self::Idle => "IDLE to +",
            Self::Done => "DONE to OK",
            Self::Mail => "mail to EXISTS",
            Self::Drain => "window opens to last answer",
        }
    }
}

/// Reasons and how often each.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Losses(Vec<(Reason, u64)>);

impl Losses {
    pub fn add(&mut self, reason: &Reason, count: u64) {
        let known = self.0.iter().any(|(known, _)| known == reason);
        // A server that has words of its own for everybody must not fill the table.
        let other = Reason::Wrong("and others".to_owned());
        let reason = if known || self.0.len() < REASONS_MAX { reason } else { &other };
        match self.0.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((reason.clone(), count)),
        }
    }

    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(reason, count)| self.add(reason, *count));
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Reason, u64)> {
        self.0.iter()
    }
}

/// The questions of one kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Tally {
    pub asked: u64,
    /// Of those that were answered.
    pub times: Times,
    pub lost: Losses,
    /// Some exactly when one was answered.
    pub first: Option<First>,
}

/// The first of many answers, and the first of the moments that were answered at all: since the
/// run began, which all crews date alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct First {
    pub asked: Duration,
    pub answered: Duration,
}

impl First {
    fn earlier(self, other: Self) -> Self {
        let (asked, answered) = (self.asked.min(other.asked), self.answered.min(other.answered));
        Self { asked, answered }
    }

    /// What the first of all who asked at once had to wait until somebody was answered.
    pub fn wait(self) -> Duration {
        self.answered.saturating_sub(self.asked)
    }
}

/// One act, of one crew or of all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Ledger {
    /// Clients alive at its beginning; for the first act, those that shall log in.
    pub begun: u64,
    /// Clients alive at its end.
    pub alive: u64,
    /// Clients that took their leave.
    pub left: u64,
    /// Clients that the server lost.
    pub died: Losses,
    pub tallies: BTreeMap<Kind, Tally>,
    /// Questions that the plan had and nobody at rest could ask.
    pub skipped: u64,
    /// EXISTS that nobody waited for: mail from elsewhere, or mail that was told twice.
    pub unasked: u64,
    pub moments: Moments,
}

impl Ledger {
    pub fn ask(&mut self, kind: Kind) {
        self.tallies.entry(kind).or_default().asked += 1;
    }

    /// `at` is since the run began.
    pub fn answer(&mut self, kind: Kind, time: Duration, at: Duration) {
        let tally = self.tallies.entry(kind).or_default();
        tally.times.record(time);
        let first = First { asked: at.saturating_sub(time), answered: at };
        tally.first = Some(tally.first.map_or(first, |earlier| earlier.earlier(first)));
        self.moments.add(at, kind);
    }

    /// The question stays unanswered.
    pub fn lose(&mut self, kind: Kind, reason: &Reason, at: Duration) {
        self.tallies.entry(kind).or_default().lost.add(reason, 1);
        self.moments.add_loss(at);
    }

    pub fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.alive += other.alive;
        self.left += other.left;
        self.died.merge(&other.died);
        for (kind, tally) in &other.tallies {
            let ours = self.tallies.entry(*kind).or_default();
            ours.asked += tally.asked;
            ours.times.merge(&tally.times);
            ours.lost.merge(&tally.lost);
            let firsts = ours.first.into_iter().chain(tally.first);
            ours.first = firsts.reduce(First::earlier);
        }
        self.skipped += other.skipped;
        self.unasked += other.unasked;
        self.moments.merge(&other.moments);
    }

    /// # Errors
    /// A client or a question that was begun has no end, or two; the text says which.
    pub fn balance(&self) -> Result<(), String> {
        let Self { begun, alive, left, .. } = self;
        let died = self.died.total();
        if *begun != alive + left + died {
            return Err(format!("{begun} clients, but {alive} alive, {left} left, {died} died"));
        }
        for (kind, Tally { asked, times, lost, .. }) in &self.tallies {
            let (answered, lost) = (times.count(), lost.total());
            if *asked != answered + lost {
                return Err(format!("{kind:?}: {asked} asked, {answered} answered, {lost} lost"));
            }
        }
        Ok(())
    }

    /// Clients lost, and questions that clients who live still got no answer to.
    pub fn lost(&self) -> u64 {
        let unanswered: u64 = self.tallies.values().map(|tally| tally.lost.total()).sum();
        // Whoever died with a question open is in both.
        self.died.total().max(unanswered)
    }
}

/// Rows that a person would read.
const REASONS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    #[test]
    fn what_has_no_end_does_not_balance() {
        let mut ledger = Ledger { begun: 2, alive: 1, ..Ledger::default() };
        assert!(ledger.balance().is_err(), "one client is nowhere");
        ledger.died.add(&Reason::Reset, 1);
        assert_eq!(ledger.balance(), Ok(()));
        ledger.ask(Kind::Done);
        assert!(ledger.balance().is_err(), "a DONE without an end");
        ledger.lose(Kind::Done, &Reason::Reset, AT);
        assert_eq!(ledger.balance(), Ok(()));
        ledger.answer(Kind::Done, AT, AT);
        assert!(ledger.balance().is_err(), "a DONE with two ends");
    }

    #[test]
    fn two_crews_make_one_ledger() {
        let mut left = Ledger { begun: 1, alive: 1, ..Ledger::default() };
        left.ask(Kind::Mail);
        left.answer(Kind::Mail, AT, AT);
        let mut right = Ledger { begun: 1, ..Ledger::default() };
        right.died.add(&Reason::Bye("gone".to_owned()), 1);
        right.ask(Kind::Mail);
        right.lose(Kind::Mail, &Reason::Bye("gone".to_owned()), AT);
        left.merge(&right);
        assert_eq!(left.balance(), Ok(()));
        assert_eq!((left.begun, left.lost(), left.tallies[&Kind::Mail].asked), (2, 1, 2));
    }

    #[test]
    fn the_first_answer_is_measured_from_the_first_question_of_all_crews() {
        let mut left = Ledger::default();
        let ms = Duration::from_millis;
        // Asked at 100 and 90, answered at 140 and 190.
        left.answer(Kind::Done, ms(40), ms(140));
        left.answer(Kind::Done, ms(100), ms(190));
        assert_eq!(left.tallies[&Kind::Done].first.map(First::wait), Some(ms(50)));
        let mut right = Ledger::default();
        right.answer(Kind::Done, ms(45), ms(130));
        left.merge(&right);
        let first = First { asked: ms(85), answered: ms(130) };
        assert_eq!(left.tallies[&Kind::Done].first, Some(first));
    }

    #[test]
    fn a_thousand_reasons_are_counted_in_a_hundred_rows() {
        let mut losses = Losses::default();
        for number in 0..1000 {
            losses.add(&Reason::Bye(number.to_string()), 2);
        }
        assert_eq!(losses.total(), 2000);
        assert_eq!(losses.iter().count(), REASONS_MAX + 1);
    }
}
