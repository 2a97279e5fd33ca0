//! Everything around the engine: who holds which descriptor, what time it is, what may go wrong.
//!
//! Its parts lie in their own files: `kernel.rs` (operations and completions), `session.rs` (one
//! client connection and its bytes), `client.rs`, `hand.rs` (a worker that hibernates a client),
//! `mailbox.rs`, `master.rs` (imap-master) and `checkers.rs` (what must hold).

use std::cell::RefCell;
use std::rc::Rc;

use crate::client::Client;
use crate::desk::Orders;
use crate::faults::{Fault, Swarm};
use crate::hand::Hand;
use crate::kernel::Kernel;
use crate::mailbox::{Mailbox, Notify, SharedWatch};
use crate::random::Random;
use crate::session::Session;

/// An open file: which table it is in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The server's end of a client's connection.
    Session(u32),
    /// The engine's end of a hibernate connection.
    Hand(u32),
    /// A notify descriptor.
    Notify(u32),
    /// A directory, a listening socket: nothing that anybody should send.
    Odd,
}

/// A descriptor. Dropping it closes it.
pub struct SimFd {
    file: File,
    world: Option<Shared>,
}

pub type Shared = Rc<RefCell<World>>;

pub struct World {
    pub random: Random,
    pub swarm: Swarm,
    /// True exactly when nothing goes wrong any more.
    pub calm: bool,
    /// True exactly when the clients have been told to come to an end.
    pub closing: bool,
    /// True exactly when the engine was told to end.
    pub stopping: bool,
    /// Bits of the faults that happened.
    pub fired: u128,
    pub trace: bool,
    pub mono_ms: u64,
    pub wall_us: u64,
    /// When the wall clock last jumped.
    pub jumped_ms: u64,
    /// Longest time by which the engine may have been late so far.
    pub late_ms: u64,
    /// imap-master is away until then.
    pub outage_until_ms: u64,
    /// When a new keeper has taken over, while there is none.
    pub kept_from_ms: Option<u64>,
    /// True exactly when the keeper has what would outlive the engine.
    pub holds_estate: bool,
    pub kernel: Kernel,
    pub sessions: Vec<Session>,
    pub clients: Vec<Client>,
    pub hands: Vec<Hand>,
    pub notifies: Vec<Notify>,
    pub boxes: Vec<Mailbox>,
    pub shared: SharedWatch,
    pub orders: Orders,
    /// References to [`File::Odd`].
    pub odd_refs: i64,
    pub serial: u32,
}

impl World {
    pub fn new(mut random: Random, trace: bool) -> Self {
        let swarm = Swarm::draw(&mut random);
        let wall_secs = 1_800_000_000 + u64::from(random.below(100_000));
        let mut world = Self {
            kernel: Kernel::new(&swarm),
            sessions: Vec::with_capacity(2 * swarm.clients as usize),
            clients: Vec::new(),
            hands: Vec::new(),
            notifies: Vec::new(),
            boxes: Vec::new(),
            shared: SharedWatch::default(),
            orders: Orders::default(),
            random,
            swarm,
            calm: false,
            closing: false,
            stopping: false,
            fired: 0,
            trace,
            mono_ms: 1_000_000,
            wall_us: wall_secs * 1_000_000,
            jumped_ms: 0,
            late_ms: 0,
            outage_until_ms: 0,
            kept_from_ms: None,
            holds_estate: true,
            odd_refs: 0,
            serial: 0,
        };
        world.boxes.resize_with(world.swarm.boxes as usize, Mailbox::default);
        for number in 0..world.swarm.clients {
            let user = number % world.swarm.users;
            let begin_ms = world.mono_ms + world.random.ms(0, 200);
            world.clients.push(Client::new(user, begin_ms));
        }
        world
    }

    /// True when the fault happens now: it is drawn, and one time in `odds`.
    pub fn fault(&mut self, fault: Fault, odds: u32) -> bool {
        let on = !self.calm && self.swarm.enabled & fault.bit() != 0 && self.random.one_in(odds);
        if on {
            self.fired |= fault.bit();
        }
        on
    }

    /// Counts a fault that follows from sizes and not from a draw.
    pub fn fell(&mut self, fault: Fault) {
        self.fired |= fault.bit();
    }

    pub fn tell(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.mono_ms - 1_000_000, text());
        }
    }

    /// One more holder of a file.
    pub fn hold(&mut self, file: File) {
        self.tell(|| format!("  {file:?} is held once more"));
        match file {
            File::Session(index) => self.sessions[index as usize].refs += 1,
            File::Hand(index) => self.hands[index as usize].refs += 1,
            File::Notify(index) => self.notifies[index as usize].refs += 1,
            File::Odd => self.odd_refs += 1,
        }
    }

    /// One holder less; the last one closes the file.
    pub fn close(&mut self, file: File) {
        let refs = match file {
            File::Session(index) => &mut self.sessions[index as usize].refs,
            File::Hand(index) => &mut self.hands[index as usize].refs,
            File::Notify(index) => &mut self.notifies[index as usize].refs,
            File::Odd => {
                self.odd_refs -= 1;
                assert!(self.odd_refs >= 0, "closed twice");
                return;
            }
        };
        assert!(*refs > 0, "{file:?} is closed twice");
        *refs -= 1;
        let left = *refs;
        self.tell(|| format!("  {file:?} is let go, {left} left"));
        if left > 0 {
            return;
        }
        match file {
            File::Session(index) => self.session_closed(index),
            File::Hand(index) => self.hand_closed(index),
            File::Notify(index) => {
                let op = self.notifies[index as usize].op;
                assert_eq!(op, None, "[6] a polled notify descriptor is closed");
                self.notifies[index as usize].live = false;
            }
            File::Odd => {}
        }
    }
}

impl SimFd {
    /// Takes over one hold of the file.
    pub fn new(file: File, world: &Shared) -> Self {
        Self { file, world: Some(Rc::clone(world)) }
    }

    /// One more descriptor of the file.
    pub fn another(&self) -> Self {
        let world = self.world.as_ref().expect("open");
        world.borrow_mut().hold(self.file);
        Self::new(self.file, world)
    }

    pub fn file(&self) -> File {
        self.file
    }
}

impl Drop for SimFd {
    fn drop(&mut self) {
        let Some(world) = self.world.take() else { return };
        if std::thread::panicking() {
            DROPPED.with_borrow_mut(|dropped| dropped.push(self.file));
        } else {
            let world = world.try_borrow_mut();
            world.expect("dropped outside of the kernel").close(self.file);
        }
    }
}

thread_local! {
    /// What an engine had in its hands when it was killed.
    static DROPPED: RefCell<Vec<File>> = const { RefCell::new(Vec::new()) };
}

/// These are to be closed.
pub fn take_dropped() -> Vec<File> {
    DROPPED.take()
}

/// A slot in a table whose entries say themselves whether they are in use.
pub fn place<T>(table: &mut Vec<T>, live: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    match table.iter().position(|entry| !live(entry)) {
        Some(index) => index,
        None => {
            table.push(new());
            table.len() - 1
        }
    }
}
