//! What a power failure may take back.
//!
//! Deliveries of other programs and changes of flags do not wait for the disk, so UIDs and modseqs
//! that clients were told may be missing from the index after one. Each index says under which boot
//! of the machine it was last written; the first who opens it under another one skips more numbers
//! than can be missing. That a clean reboot skips them too is harmless.

use std::fs;
use std::sync::LazyLock;

/// The id of this boot; 0 where the kernel tells none, and nothing is skipped.
pub fn id() -> u128 {
    static ID: LazyLock<u128> = LazyLock::new(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
    });
    *ID
}

/// An index waits for the disk whenever it gives out a UID that is a multiple of this.
pub const UNSYNCED_UIDS_MAX: u32 = 512;
pub const SKIPPED_UIDS: u32 = 2 * UNSYNCED_UIDS_MAX;
/// More transactions than any machine can do in the half minute that writes stay in memory.
pub const SKIPPED_MODSEQS: u64 = 1 << 24;
