//! What of a configuration may change while torpor runs, and what is whose.

use super::{Config, Hibernate, Sleep, Watch};

impl Config {
    /// The configuration of the engine of this number (from 1): its part of the workers.
    pub fn share(&self, number: u32) -> Self {
        assert!((1..=self.engines).contains(&number), "engine {number} of {}", self.engines);
        let mut share = self.clone();
        let (all, engines) = (self.wake.workers_max, self.engines);
        share.wake.workers_max = (all / engines + u32::from(number <= all % engines)).max(1);
        share
    }

    /// Sections in which `new` differs in what is fixed at start.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let mut reloaded = self.clone();
        reloaded.take_reloadable(new);
        let parts = [
            ("base_dir", reloaded.base_dir != new.base_dir),
            ("engines", reloaded.engines != new.engines),
            ("user", reloaded.user != new.user),
            ("[hibernate]", reloaded.hibernate != new.hibernate),
            ("[sleep]", reloaded.sleep != new.sleep),
            ("[watch]", reloaded.watch != new.watch),
            ("[wake]", reloaded.wake != new.wake),
            ("[anvil]", reloaded.anvil != new.anvil),
            ("[control]", reloaded.control != new.control),
            ("[log]", reloaded.log != new.log),
            ("[metrics]", reloaded.metrics != new.metrics),
            ("[front]", reloaded.front != new.front),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// Takes over what [`Config::knobs`] is made of, and the log level.
    pub fn take_reloadable(&mut self, new: &Self) {
        let fixed = std::mem::replace(self, new.clone());
        let (hibernate, wake) = (&fixed.hibernate, &fixed.wake);
        self.base_dir = fixed.base_dir;
        self.engines = fixed.engines;
        self.user = fixed.user;
        self.sleep = Sleep { doze_secs: new.sleep.doze_secs, ..fixed.sleep };
        self.watch = Watch {
            debounce_ms: new.watch.debounce_ms,
            debounce_ms_max: new.watch.debounce_ms_max,
            ..fixed.watch
        };
        self.anvil = fixed.anvil;
        self.control = fixed.control;
        self.metrics = fixed.metrics;
        self.front = fixed.front;
        self.log.format = fixed.log.format;
        self.hibernate = Hibernate {
            conn_timeout_ms: new.hibernate.conn_timeout_ms,
            late_change_ms: new.hibernate.late_change_ms,
            keep_awake: new.hibernate.keep_awake,
            allowed_uids: new.hibernate.allowed_uids.clone(),
            allowed_gids: new.hibernate.allowed_gids.clone(),
            ..hibernate.clone()
        };
        self.wake.handoffs_in_flight_max = wake.handoffs_in_flight_max;
        self.wake.version_timeout_ms = wake.version_timeout_ms;
        self.wake.ack_timeout_ms = wake.ack_timeout_ms;
    }
}
