//! Counts and gauges, where other threads can read them at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use torpor_engine::report::Counters;

/// One atomic for each field of [`Counters`]; a field that is added there does not compile here
/// until it is added too.
macro_rules! gauges {
    ($($field:ident),+ $(,)?) => {
        /// The engine's counters as of its last step.
        #[derive(Debug, Default)]
        pub struct Gauges {
            $($field: AtomicU64),+
        }

        impl Gauges {
            /// On the engine thread, after each step.
            pub fn store(&self, counters: &Counters) {
                let Counters { $($field),+ } = counters;
                $(self.$field.store(*$field, Ordering::Relaxed);)+
            }

            /// On any thread. Fields may belong to different steps.
            pub fn load(&self) -> Counters {
                Counters { $($field: self.$field.load(Ordering::Relaxed)),+ }
            }
        }

        /// Counters out of their names; what is missing is 0.
        pub fn unlisted(values: &BTreeMap<String, u64>) -> Counters {
            let value = |name: &str| values.get(name).copied().unwrap_or_default();
            Counters { $($field: value(stringify!($field))),+ }
        }

        /// Names and values, in the order of the engine.
        pub fn listed(counters: &Counters) -> Vec<(&'static str, u64)> {
            vec![$((stringify!($field), counters.$field)),+]
        }
    };
}

gauges!(
    asleep,
    dozing,
    sunk,
    queued_input,
    queued_change,
    queue_oldest_ms,
    in_flight,
    awake,
    window,
    conns,
    mailboxes,
    notify_kept,
    cold_blocks_used,
    cold_shelf_bytes,
    cold_damaged,
    revived,
    hibernated,
    refused,
    refused_full,
    refused_kept_awake,
    broken,
    wakes_input,
    wakes_change,
    wakes_cut,
    unhibernated,
    retried_unsent,
    retried_refused,
    retried_gone,
    lost,
    given_up,
    disconnected,
    kicked,
    dismissed,
    keepalives,
    keepalives_blocked,
    idles_answered,
    input_bytes,
    output_bytes,
    watch_events,
    watch_overflows,
    starved,
    sinks,
    stirs,
    sinks_refused,
    dense,
    dense_lost,
    dense_found,
    delays_50us,
    delays_100us,
    delays_150us,
    delays_200us,
    delays_300us,
    delays_500us,
    delays_1ms,
    delays_longer,
    delays_sum_us,
);

/// What did not fit into the desk's channels.
#[derive(Debug, Default)]
pub struct Losses {
    /// Events that were not logged.
    pub notes: AtomicU64,
    /// Events that anvil was not told.
    pub papers: AtomicU64,
}
