//! What surrounds a running engine: the clerk, anvil, control socket and metrics.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use nix::unistd::getppid;
use torpor_engine::limits::Limits;

use crate::anvil;
use crate::config::Config;
use crate::control::{self, Others, Service};
use crate::desk::{DeskEnds, start_clerk};
use crate::log::Logger;
use crate::metrics;
use crate::station::Station;

/// Which engine it is.
pub struct Place {
    pub number: u32,
    pub anvil_pid: u32,
    pub limits: Limits,
}

/// The threads around the engine.
pub struct Around {
    /// The pid under which anvil knows all sleepers.
    pub anvil_pid: Arc<AtomicU32>,
    /// Of the process that signals go to.
    pub keeper_pid: Arc<AtomicU32>,
    /// Takes a control socket that was bound anew.
    pub control: Sender<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
    stations: Vec<Station>,
}

impl Around {
    pub fn start(
        config: &Config,
        ends: &DeskEnds,
        place: Place,
        (control_socket, metrics_socket): (OwnedFd, Option<OwnedFd>),
        logger: &Logger,
    ) -> io::Result<Self> {
        let anvil_pid = Arc::new(AtomicU32::new(place.anvil_pid));
        let keeper_pid = Arc::new(AtomicU32::new(getppid().as_raw() as u32));
        let service = Service {
            number: place.number,
            keeper_pid: Arc::clone(&keeper_pid),
            orders: ends.orders.clone(),
            gauges: Arc::clone(&ends.gauges),
            losses: Arc::clone(&ends.losses),
            lines_lost: logger.losses(),
            limits: place.limits,
            base_dir: config.base_dir.display().to_string(),
            started: Instant::now(),
            others: Others::new(config, place.number),
        };
        let mut threads = vec![start_clerk(ends.notes.clone(), ends.pool.clone())?];
        let (control, bound) = bounded(1);
        // The channel is empty.
        let _ = control.try_send(control_socket);
        let mut stations = vec![control::open(config, bound, service.clone())?];
        stations.extend(control::open_to_others(config, &service)?);
        if config.anvil.enabled {
            let (dir, greets) = (&config.base_dir, Arc::new(AtomicBool::new(false)));
            let again = || (Arc::clone(&anvil_pid), Arc::clone(&greets));
            let (pid, told) = again();
            threads.push(anvil::start(dir, ends, pid, told)?);
            let (pid, told) = again();
            stations.push(anvil::open_admin(dir, ends.orders.clone(), pid, told)?);
        }
        if let Some(listener) = metrics_socket {
            metrics::start(TcpListener::from(listener), service)?;
        }
        Ok(Self { anvil_pid, keeper_pid, control, threads, stations })
    }

    /// After the engine has ended: its last words are written.
    pub fn end(self) {
        drop(self.stations);
        for thread in self.threads {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
