//! The eleven counters of a session (Dovecot 2.4.1 and later), carried over hibernations.

use super::LineError;
use super::field::{number, number_u32};

/// What the session has done so far. A key that is missing counts as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub fetch_hdr_count: u32,
    pub fetch_hdr_bytes: u64,
    pub fetch_body_count: u32,
    pub fetch_body_bytes: u64,
    pub deleted_count: u32,
    pub expunged_count: u32,
    pub trashed_count: u32,
    pub autoexpunged_count: u32,
    pub append_count: u32,
    /// All bytes read from the client in the whole session.
    pub input_bytes_extra: u64,
    /// All bytes written to the client in the whole session.
    pub output_bytes_extra: u64,
}

impl Statistics {
    /// Takes one field; `false` if it is not one of the eleven.
    pub(super) fn take(
        statistics: &mut Option<Self>,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, LineError> {
        let mut new = statistics.unwrap_or_default();
        let count = |name| number_u32(name, value, u32::MAX);
        let bytes = |name| number(name, value, u64::MAX);
        match key {
            b"fetch_hdr_count" => new.fetch_hdr_count = count("fetch_hdr_count")?,
            b"fetch_hdr_bytes" => new.fetch_hdr_bytes = bytes("fetch_hdr_bytes")?,
            b"fetch_body_count" => new.fetch_body_count = count("fetch_body_count")?,
            b"fetch_body_bytes" => new.fetch_body_bytes = bytes("fetch_body_bytes")?,
            b"deleted_count" => new.deleted_count = count("deleted_count")?,
            b"expunged_count" => new.expunged_count = count("expunged_count")?,
            b"trashed_count" => new.trashed_count = count("trashed_count")?,
            b"autoexpunged_count" => new.autoexpunged_count = count("autoexpunged_count")?,
            b"append_count" => new.append_count = count("append_count")?,
            b"input_bytes_extra" => new.input_bytes_extra = bytes("input_bytes_extra")?,
            b"output_bytes_extra" => new.output_bytes_extra = bytes("output_bytes_extra")?,
            _ => return Ok(false),
        }
        *statistics = Some(new);
        Ok(true)
    }
}
