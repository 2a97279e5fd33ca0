//! How long answers took: an HDR histogram that travels as text and merges exactly.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as FromV2, Serializer as _, V2Serializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Latencies in microseconds with three digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_US, DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }
}

impl Times {
    /// Counts one; more than an hour counts as an hour.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(HIGHEST_US));
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` of all do not exceed, in microseconds; 0 when there are none.
    pub fn percentile_us(&self, percent: f64) -> u64 {
        self.0.value_at_quantile(percent / 100.0)
    }

    /// The first of them to come; 0 when there are none.
    pub fn min_us(&self) -> u64 {
        self.0.min()
    }

    pub fn max_us(&self) -> u64 {
        self.0.max()
    }
}

/// As HdrHistogram's V2 encoding in base64, which its tools read in every language.
impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let histogram = FromV2::new().deserialize(&mut &bytes[..]).map_err(D::Error::custom)?;
        let mut times = Self::default();
        times.0.add(&histogram).map_err(D::Error::custom)?;
        Ok(times)
    }
}

/// An hour.
const HIGHEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_what_travelled_is_as_if_one_had_counted_all() {
        let (mut left, mut right, mut all) = <(Times, Times, Times)>::default();
        for number in 1..=10_000u64 {
            let time = Duration::from_micros(number * number % 7_000_003);
            if number % 3 == 0 { &mut left } else { &mut right }.record(time);
            all.record(time);
        }
        let text = serde_json::to_string(&right).expect("it can be written");
        left.merge(&serde_json::from_str(&text).expect("it can be read"));
        assert_eq!(left, all);
        assert_eq!(left.count(), 10_000);
        assert_eq!(left.percentile_us(99.0), all.percentile_us(99.0));
    }

    #[test]
    fn nothing_has_no_latency_and_days_count_as_an_hour() {
        let mut times = Times::default();
        assert_eq!((times.count(), times.percentile_us(50.0), times.max_us()), (0, 0, 0));
        times.record(Duration::from_secs(200_000));
        assert!(times.max_us().abs_diff(HIGHEST_US) < HIGHEST_US / 500);
    }
}
