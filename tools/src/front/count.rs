//! What the front counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter for each name, in the order in which they are shown.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Totals since the front's start.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: Count),+
        }

        impl Counts {
            /// Names and values.
            pub fn listed(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),+]
            }
        }
    };
}

counts!(
    /// Connections that were let in.
    connections,
    logins,
    /// Wrong passwords and unknown users.
    failures,
    /// Passwords compared with a hash.
    hashes,
    /// Connections that went to make room for newer ones.
    displaced,
    /// Connections turned away: too many of their address, or too many failures.
    refused_crowd,
    refused_banned,
    /// Connections that did not log in within their time or bytes.
    refused_time,
    refused_bytes,
    /// Logins refused since no worker became free.
    refused_full,
    /// Workers started after a login, and for wakes.
    workers_fresh,
    workers_woken,
    /// Workers that could not be started, and those that ended otherwise than by themselves.
    workers_unstarted,
    workers_broken,
);

/// A number that grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
