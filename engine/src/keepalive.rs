//! When a sleeping client gets its next `* OK Still here`.
//!
//! The same schedule as Dovecot's (2.2.36 to 2.4), worker and imap-hibernate alike, so that the
//! beat goes on evenly across hibernation: connections of one address, or of one user behind a
//! private address, get theirs in the same second, and a phone's radio wakes once for all.

use std::net::IpAddr;

/// The line, RFC 2177 style: an untagged OK.
pub const STILL_HERE: &[u8] = b"* OK Still here\r\n";

/// What spreads the beats over the interval, reduced to it. `interval_secs` of 0 has no beat.
pub fn phase(remote: Option<IpAddr>, user: &[u8], interval_secs: u16) -> u16 {
    let hash = match remote {
        Some(ip) if is_usable(ip) => hash_ip(ip),
        _ => crc32fast::hash(user),
    };
    hash.checked_rem(u32::from(interval_secs)).unwrap_or(0) as u16
}

/// Seconds from `unix_secs` to the next beat, 1 to `interval_secs`.
pub fn next_secs(unix_secs: u64, phase: u16, interval_secs: u16) -> u64 {
    assert!(interval_secs > 0, "no interval, no beat");
    let interval = u64::from(interval_secs);
    interval - (unix_secs + u64::from(phase)) % interval
}

/// Dovecot takes the address's bytes in memory order for a number and compares that with the
/// private ranges; on little-endian machines the *last* octets decide. Kept bit by bit, because
/// the worker computes the same.
fn is_usable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let number = u32::from_ne_bytes(ip.octets());
            !matches!(number,
                0x0A00_0000..=0x0AFF_FFFF | 0xC0A8_0000..=0xC0A8_FFFF
                | 0xAC10_0000..=0xAC1F_FFFF | 0x7F00_0000..=0x7FFF_FFFF)
        }
        IpAddr::V6(ip) => !matches!(ip.octets()[0], 0xFC | 0xFD),
    }
}

fn hash_ip(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
        IpAddr::V6(ip) => ip.octets().into_iter().fold(0, |hash, byte| {
            let mut hash = (hash << 4_u32).wrapping_add(u32::from(byte));
            let high = hash & 0xF000_0000;
            if high != 0 {
                hash ^= high >> 24;
                hash ^= high;
            }
            hash
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors measured on Dovecot 2.4.1 at unix time 1,800,000,000, interval 120 s.
    #[test]
    #[cfg(target_endian = "little")]
    fn the_beats_are_dovecots() {
        let vectors = [
            ("203.0.113.5", "user@example.com", 69),
            ("10.0.0.1", "user@example.com", 94),
            ("198.51.100.10", "user@example.com", 63),
            ("192.168.1.77", "u1", 72),
            ("5.6.168.192", "u1", 58),
            ("127.0.0.1", "u1", 97),
            ("2001:db8::1", "u1", 39),
            ("fd00::1", "u1", 58),
            ("fe80::1", "u1", 7),
        ];
        for (ip, user, secs) in vectors {
            let ip = Some(ip.parse().expect("an address"));
            let phase = phase(ip, user.as_bytes(), 120);
            assert_eq!(next_secs(1_800_000_000, phase, 120), secs, "{ip:?}");
        }
        assert_eq!(next_secs(1_800_000_000, phase(None, b"u1", 120), 120), 58);
    }

    #[test]
    fn a_beat_is_never_now_and_never_late() {
        for interval in [1, 2, 119, 120, 65_535] {
            for now in 0..500 {
                let secs = next_secs(now, phase(None, b"u", interval), interval);
                assert!((1..=u64::from(interval)).contains(&secs));
            }
        }
        assert_eq!(phase(None, b"u", 0), 0);
    }
}
