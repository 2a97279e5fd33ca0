//! What the words of a line take: packed as the engine does it, and by zstd with a dictionary
//! learnt from such lines.

use std::io;

use torpor_engine::cold::Cold;
use torpor_engine::limits::Limits;
use torpor_load::stand_in::letter::{Facts, line};

/// Names and bytes a line of each way.
///
/// # Errors
/// No memory, or zstd learns nothing.
pub fn compare() -> io::Result<[(&'static str, f64); 3]> {
    let mut random = fastrand::Rng::with_seed(99);
    let facts =
        |number| Facts { inode: 90_000 + number, minor: 9, keepalive_secs: 120, notify: true };
    let lines: Vec<String> =
        (0..2 * LINES).map(|number| line(&mut random, facts(number))).collect();
    let (learnt, tried) = lines.split_at(LINES as usize);
    let learnt = zstd::dict::from_samples(learnt, DICTIONARY_BYTES)?;
    let mut compressor = zstd::bulk::Compressor::with_dictionary(LEVEL, &learnt)?;
    compressor.include_checksum(false)?;
    compressor.include_contentsize(false)?;
    compressor.include_dictid(false)?;
    let (mut plain, mut packed) = (0, 0);
    let limits = Limits { slots_max: 4 * LINES as u32, ..Limits::default() };
    let mut cold = Cold::new(&limits, None)?;
    for text in tried {
        plain += text.len();
        packed += compressor.compress(text.as_bytes())?.len();
        cold.store(text.as_bytes()).ok_or_else(|| io::Error::other("the cold store is full"))?;
    }
    let each = |bytes: usize| bytes as f64 / LINES as f64;
    Ok([
        ("words of a line, as they come", each(plain)),
        ("words of a line, zstd with dictionary", each(packed)),
        ("words of a line, as the engine packs them", each(cold.shelf_bytes() as usize)),
    ])
}

const LINES: u64 = 4000;
const DICTIONARY_BYTES: usize = 16 << 10;
/// zstd's best.
const LEVEL: i32 = 19;
