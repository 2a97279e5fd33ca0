//! The figures of one run, and what several runs say together.

use std::time::Duration;

/// One measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    AnswerP50,
    AnswerP99,
    DoneP50,
    DoneP99,
    MailP50,
    MailP99,
    Burst,
    Bytes,
    ReusedDoneP50,
    ReusedDoneP99,
    Lost,
}

/// What torpor may need at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This share of stock's figure.
    Ratio(f64),
    /// This much, whatever stock's figure is.
    Below(f64),
    /// Only printed.
    None,
}

/// Quotients of the two versions: on 2.4 nothing may be slower, on 2.3 there are margins for p99.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub done_p50: f64,
    pub burst: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Figure {
    pub const ALL: [Figure; 11] = [
        Figure::AnswerP50,
        Figure::AnswerP99,
        Figure::DoneP50,
        Figure::DoneP99,
        Figure::MailP50,
        Figure::MailP99,
        Figure::Burst,
        Figure::Bytes,
        Figure::ReusedDoneP50,
        Figure::ReusedDoneP99,
        Figure::Lost,
    ];

    /// How the table calls it.
    pub fn name(self, clients: u32) -> String {
        match self {
            Figure::AnswerP50 => "hibernate request answered, p50".to_owned(),
            Figure::AnswerP99 => "hibernate request answered, p99".to_owned(),
            Figure::DoneP50 => "DONE to tagged OK, p50".to_owned(),
            Figure::DoneP99 => "DONE to tagged OK, p99".to_owned(),
            Figure::MailP50 => "mail to EXISTS, p50".to_owned(),
            Figure::MailP99 => "mail to EXISTS, p99".to_owned(),
            Figure::Burst => format!("{clients} DONEs at once, the last"),
            Figure::Bytes => "user memory per sleeper".to_owned(),
            Figure::ReusedDoneP50 => "reused workers: DONE to OK, p50".to_owned(),
            Figure::ReusedDoneP99 => "reused workers: DONE to OK, p99".to_owned(),
            Figure::Lost => "clients lost".to_owned(),
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Figure::Bytes => "B",
            Figure::Lost => "",
            _ => "ms",
        }
    }

    pub fn bound(self, bounds: Bounds) -> Bound {
        match self {
            Figure::DoneP50 => Bound::Ratio(bounds.done_p50),
            Figure::Burst => Bound::Ratio(bounds.burst),
            Figure::MailP50 => Bound::Ratio(bounds.p50),
            Figure::DoneP99 | Figure::MailP99 => Bound::Ratio(bounds.p99),
            Figure::AnswerP99 => Bound::Below(1.0),
            Figure::Lost => Bound::Below(0.5),
            Figure::AnswerP50 | Figure::Bytes | Figure::ReusedDoneP50 | Figure::ReusedDoneP99 => {
                Bound::None
            }
        }
    }
}

impl Bounds {
    pub const V23: Bounds = Bounds { done_p50: 0.6, burst: 0.6, p50: 1.1, p99: 1.25 };
    pub const V24: Bounds = Bounds { done_p50: 1.0, burst: 1.0, p50: 1.0, p99: 1.0 };
}

impl Bound {
    /// True when torpor's figure keeps the bound; `None` when there is nothing to keep.
    pub fn holds(self, stock: Option<f64>, torpor: f64) -> Option<bool> {
        match self {
            Bound::Ratio(ratio) => stock.map(|stock| torpor <= ratio * stock),
            Bound::Below(limit) => Some(torpor < limit),
            Bound::None => None,
        }
    }
}

/// The middle value; the mean of the two middle ones of an even number.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// The value that this share of all does not exceed (nearest rank), in milliseconds.
pub fn percentile_ms(times: &[Duration], share: f64) -> f64 {
    assert!(!times.is_empty() && (0.0..=1.0).contains(&share));
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1].as_secs_f64() * 1000.0
}
