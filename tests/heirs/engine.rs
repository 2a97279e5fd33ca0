//! The engine: its handoff thread, and what of the core and its ring a wake needs.

use std::io::{BufRead as _, stdin};
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use torpor_engine::limits::Limits;
use torpor_engine::places::{Held, Places};
use torpor_engine::sys::talks::Talks;
use torpor_engine::sys::vault::Vault;
use torpor_handoff::message::{Outcome, Wake};
use torpor_handoff::{Handoff, HandoffConfig};

/// What it is to do.
pub struct Order {
    pub master_path: PathBuf,
    pub attempt: u32,
    pub is_resumed: bool,
    pub rings: Vec<RawFd>,
}

impl Order {
    pub fn args(&self) -> Vec<String> {
        let words = [
            "engine".to_owned(),
            self.master_path.display().to_string(),
            self.attempt.to_string(),
            self.is_resumed.to_string(),
        ];
        words.into_iter().chain(self.rings.iter().map(RawFd::to_string)).collect()
    }

    /// None in the keeper.
    pub fn from_args() -> Option<Self> {
        let mut words = std::env::args().skip(1);
        words.next().filter(|role| role == "engine")?;
        let master_path = words.next()?.into();
        let attempt = words.next()?.parse().ok()?;
        let is_resumed = words.next()?.parse().ok()?;
        let rings = words.filter_map(|word| word.parse().ok()).collect();
        Some(Self { master_path, attempt, is_resumed, rings })
    }
}

/// Of keeper and engine.
pub fn limits() -> Limits {
    Limits { slots_max: 1, conns_max: 1, handoffs_in_flight_max: 1, ..Limits::default() }
}

/// Wakes the client in slot 0, and says what became of it as a core commits it: before anything
/// follows from it.
pub fn run(order: &Order) {
    let limits = limits();
    let places = Places::new(&limits);
    let vault = Arc::new(Vault::inherit(&order.rings, places.count()).expect("inherited"));
    let talks = Arc::new(Talks::new(&limits, Arc::clone(&vault)));
    let doorbell = EventFd::new().expect("an eventfd");
    let config = HandoffConfig {
        master_path: order.master_path.clone(),
        in_flight_max: 1,
        workers_watched_max: 1,
        version_timeout_ms: 5000,
        ack_timeout_ms: 100,
    };
    let copy = doorbell.as_fd().try_clone_to_owned().expect("dup");
    let mut handoff = Handoff::start(config, Some(talks), copy).expect("a thread");
    println!("ready");
    stdin().lock().read_line(&mut String::new()).expect("an order");
    let client = vault.take(places.place(Held::Client(0))).expect("it is held until it is taken");
    // A record of one that is asked about has no line any more.
    let line = "u1\tsession=s\ttag=a1\tidle-continue\n";
    let parcel = if order.is_resumed { Vec::new() } else { line.into() };
    let Order { attempt, is_resumed, .. } = *order;
    let (slot, generation, session, place) = (0, 1, u64::from(parent_id()), 0);
    let wake =
        Wake { slot, generation, session, place, attempt, is_resumed, since_us: 0, parcel, client };
    handoff.send(wake).expect("there is room");
    handoff.flush();
    let returned = loop {
        let mut rung = [PollFd::new(doorbell.as_fd(), PollFlags::POLLIN)];
        poll(&mut rung, PollTimeout::NONE).expect("poll");
        doorbell.read().expect("rung");
        if let Some(returned) = handoff.returned() {
            break returned;
        }
    };
    println!("{}", name(returned.reply.outcome));
    handoff.applied();
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Taken => "Taken",
        Outcome::Refused => "Refused",
        Outcome::Gone => "Gone",
        Outcome::Unsent(_) => "Unsent",
        Outcome::Lost => "Lost",
    }
}
