//! What surrounds a running engine: the clerk, anvil, control socket and metrics.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread::JoinHandle;
use std::time::Instant;

use torpor_engine::limits::Limits;

use crate::anvil;
use crate::config::Config;
use crate::control::{self, Service};
use crate::desk::{DeskEnds, start_clerk};
use crate::front;
use crate::log::Logger;
use crate::metrics;
use crate::station::Station;

/// The threads around the engine.
pub struct Around {
    /// The pid under which anvil knows all sleepers.
    pub anvil_pid: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
    stations: Vec<Station>,
}

impl Around {
    pub fn start(
        config: &Config,
        ends: &DeskEnds,
        helper_pid: u32,
        limits: Limits,
        logger: &Logger,
    ) -> io::Result<Self> {
        let anvil_pid = Arc::new(AtomicU32::new(helper_pid));
        let service = Service {
            orders: ends.orders.clone(),
            gauges: Arc::clone(&ends.gauges),
            losses: Arc::clone(&ends.losses),
            lines_lost: logger.losses(),
            limits,
            base_dir: config.base_dir.display().to_string(),
            started: Instant::now(),
            front: config.front.maildir.as_ref().map(|_| front::control_path(&config.base_dir)),
        };
        let mut threads = vec![start_clerk(ends.notes.clone(), ends.pool.clone())?];
        let mut stations = vec![control::open(config, service.clone())?];
        if config.anvil.enabled {
            let (dir, greets) = (&config.base_dir, Arc::new(AtomicBool::new(false)));
            let again = || (Arc::clone(&anvil_pid), Arc::clone(&greets));
            let (pid, told) = again();
            threads.push(anvil::start(dir, ends, pid, told)?);
            let (pid, told) = again();
            stations.push(anvil::open_admin(dir, ends.orders.clone(), pid, told)?);
        }
        if let Some(address) = config.metrics.listen {
            let bound = metrics::start(address, service)?;
            tracing::info!("metrics at http://{bound}/metrics");
        }
        Ok(Self { anvil_pid, threads, stations })
    }

    /// After the engine has ended: its last words are written, the sockets removed.
    pub fn end(self) {
        drop(self.stations);
        for thread in self.threads {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
