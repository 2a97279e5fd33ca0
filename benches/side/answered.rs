//! What a running torpor says of itself.

use std::error::Error;
use std::path::Path;

use serde_json::Value;

/// Clients asleep, by the control socket at this path.
///
/// # Errors
/// Nobody answers.
pub fn asleep(control: &Path) -> Result<u64, Box<dyn Error>> {
    let stats: Value = serde_json::from_str(&torpor::control::stats(control, true)?)?;
    let asleep = &stats["counters"]["asleep"];
    asleep.as_u64().ok_or_else(|| format!("{asleep} asleep").into())
}
