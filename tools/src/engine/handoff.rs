//! The handoff thread as the driver wants it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use torpor_engine::drive::Handoff;
use torpor_engine::report::Counters;
use torpor_handoff::delays::Delayed;
use torpor_handoff::keep::Keep;
use torpor_handoff::message::{Exited, Returned, Wake};
use torpor_handoff::thread;

use crate::config::Config;

/// The handoff thread of this process.
pub struct HandoffThread(thread::Handoff);

impl HandoffThread {
    /// Starts it for `base_dir/imap-master`.
    pub fn start(
        config: &Config,
        keep: Option<Arc<dyn Keep>>,
        doorbell: OwnedFd,
    ) -> io::Result<Self> {
        let config = thread::HandoffConfig {
            master_path: config.base_dir.join("imap-master"),
            in_flight_max: config.wake.handoffs_in_flight_max,
            workers_watched_max: config.workers_watched(),
            version_timeout_ms: config.wake.version_timeout_ms,
            ack_timeout_ms: config.wake.ack_timeout_ms,
        };
        thread::Handoff::start(config, keep, doorbell).map(Self)
    }
}

impl Handoff for HandoffThread {
    type Descriptor = OwnedFd;

    fn send(&mut self, wake: Wake<OwnedFd>) {
        let sent = self.0.send(wake);
        assert!(sent.is_ok(), "the core keeps within handoffs_in_flight_max");
    }

    fn returned(&mut self) -> Option<Returned<OwnedFd>> {
        self.0.returned()
    }

    fn exited(&mut self) -> Option<Exited> {
        self.0.exited()
    }

    fn flush(&mut self) {
        self.0.flush();
    }

    fn applied(&mut self) {
        self.0.applied();
    }

    fn count(&self, counters: &mut Counters) {
        let Delayed { counts, sum_us } = self.0.delayed();
        let fields = [
            &mut counters.delays_50us,
            &mut counters.delays_100us,
            &mut counters.delays_150us,
            &mut counters.delays_200us,
            &mut counters.delays_300us,
            &mut counters.delays_500us,
            &mut counters.delays_1ms,
            &mut counters.delays_longer,
        ];
        fields.into_iter().zip(counts).for_each(|(field, count)| *field = count);
        counters.delays_sum_us = sum_us;
    }
}
