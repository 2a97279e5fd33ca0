//! When things happened: counts for each tenth of a second of the run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::Kind;

/// Answers of each kind, and losses, by tenths of seconds since the run began.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(from = "Vec<(u32, Moment)>", into = "Vec<(u32, Moment)>")]
pub struct Moments(BTreeMap<u32, Moment>);

/// One tenth of a second: the answers in the order of [`Kind::ALL`], and the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Moment {
    pub answers: [u32; Kind::ALL.len()],
    pub losses: u32,
}

impl Moments {
    pub fn add(&mut self, at: Duration, kind: Kind) {
        self.0.entry(tenth(at)).or_default().answers[kind as usize] += 1;
    }

    pub fn add_loss(&mut self, at: Duration) {
        self.0.entry(tenth(at)).or_default().losses += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (at, moment) in &other.0 {
            let ours = self.0.entry(*at).or_default();
            for (sum, count) in ours.answers.iter_mut().zip(moment.answers) {
                *sum += count;
            }
            ours.losses += moment.losses;
        }
    }

    /// Each tenth in which something happened.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Moment)> {
        self.0.iter().map(|(at, moment)| (*at, moment))
    }
}

impl From<Vec<(u32, Moment)>> for Moments {
    fn from(moments: Vec<(u32, Moment)>) -> Self {
        Self(moments.into_iter().collect())
    }
}

impl From<Moments> for Vec<(u32, Moment)> {
    fn from(moments: Moments) -> Self {
        moments.0.into_iter().collect()
    }
}

fn tenth(at: Duration) -> u32 {
    // 13 years of tenths fit.
    u32::try_from(at.as_millis() / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_two_crews_add_up() {
        let mut left = Moments::default();
        left.add(Duration::from_millis(1234), Kind::Done);
        let mut right = Moments::default();
        right.add(Duration::from_millis(1299), Kind::Done);
        right.add_loss(Duration::from_millis(1300));
        let text = serde_json::to_string(&right).expect("it can be written");
        left.merge(&serde_json::from_str(&text).expect("it can be read"));
        let told: Vec<_> = left.iter().map(|(at, m)| (at, m.answers[3], m.losses)).collect();
        assert_eq!(told, [(12, 2, 0), (13, 0, 1)]);
    }
}
