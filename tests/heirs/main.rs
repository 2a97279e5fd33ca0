//! An engine that gives its client to a worker is killed at each of its system calls; its heir
//! finds out by the conversation in the vault what became of the client.
//!
//! This process is the keeper. It starts itself again as workers and as an engine, with strace
//! around it, which kills it before the nth call of a kind in either thread; then as the heir. In
//! the end the client has had one owner: it is served once, by a worker that has said `+`, and
//! nobody else holds it.

mod engine;
mod master;
#[path = "../inject/strace.rs"]
mod strace;

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use torpor_engine::places::{Held, Places};
use torpor_engine::sys::vault::Vault;
use torpor_handoff::sys::fd::mark;

use engine::{Order, limits};
use master::Manner;
use strace::Strace;

fn main() {
    if let Some(order) = Order::from_args() {
        return engine::run(&order);
    }
    if let Some(manner) = Manner::from_args() {
        // Whoever hung up on it has been killed.
        let _ = master::serve(manner);
        return;
    }
    let mut keeper = Keeper::new();
    for manner in Manner::ALL {
        let (mut outcomes, mut killed) = (Vec::new(), 0);
        for call in CALLS {
            let kills = (1..).take_while(|nth| keeper.life(manner, call, *nth, &mut outcomes));
            let kills = kills.count();
            // Whether a thread has to wait for another one is chance.
            let is_due = !matches!(*call, "futex" | "shutdown");
            assert!(kills > 0 || !is_due, "no conversation makes this call: {call}");
            killed += kills;
        }
        outcomes.sort_unstable();
        outcomes.dedup();
        println!("{manner:?}: killed at {killed} calls, heirs said {}", outcomes.join(", "));
        assert_eq!(outcomes, manner.outcomes(), "the table of master/heir.rs");
    }
    println!("test result: ok. 1 passed; 0 failed");
}

/// What outlives the engines.
struct Keeper {
    vault: Vault,
    places: Places,
    folder: tempfile::TempDir,
    manners: Sender<Manner>,
    attempt: u32,
}

impl Keeper {
    fn new() -> Self {
        let places = Places::new(&limits());
        let vault = Vault::create(places.count()).expect("a vault");
        for ring in vault.descriptors() {
            fcntl(ring, FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited from now on");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let manners = master::start(&folder.path().join("imap-master"));
        Self { vault, places, folder, manners, attempt: 0 }
    }

    /// One client, from its wake to its worker; false when the engine was not killed any more.
    fn life(&mut self, manner: Manner, call: &str, nth: u32, heirs: &mut Vec<String>) -> bool {
        let (mut mine, ours) = UnixStream::pair().expect("a pair");
        mine.set_read_timeout(Some(master::PATIENCE)).expect("a socket");
        let place = self.places.place(Held::Client(0));
        self.vault.put(place, &ours).expect("put");
        drop(ours);
        self.leave_behind();
        self.manners.send(manner).expect("the workers run");
        self.attempt += 1;
        let mut engine = self.start(false);
        let strace = Strace::attach(engine.pid(), call, "signal=SIGKILL", nth);
        // What is told has been committed before.
        let told = engine.go();
        let is_killed = !engine.ended_well();
        strace.detach();
        let outcome = told.unwrap_or_else(|| {
            let mut heir = self.start(true);
            let outcome = heir.go().expect("an heir finds out");
            assert!(heir.ended_well());
            heirs.push(outcome.clone());
            outcome
        });
        let life = format!("{manner:?}, killed at {call} {nth}, {outcome}");
        if outcome != "Taken" && outcome != "Lost" {
            // Ours again, and so it goes to the next worker.
            self.attempt += 1;
            let mut engine = self.start(false);
            self.manners.send(Manner::Takes).expect("the workers run");
            assert_eq!(engine.go().as_deref(), Some("Taken"), "{life}");
            assert!(engine.ended_well());
        }
        self.vault.clear(place).expect("released");
        // Whoever has it serves it, and who is done lets it go.
        let mut heard = Vec::new();
        mine.read_to_end(&mut heard).unwrap_or_else(|error| panic!("{life}: {error}"));
        // A silent worker hangs up when the client is shut down under its hands.
        let is_shut = manner == Manner::IsSilent && (outcome == "Lost" || outcome == "Gone");
        let is_served = heard == b"served\n" || (is_shut && heard.is_empty());
        assert!(is_served, "{life}: {}", heard.escape_ascii());
        is_killed
    }

    /// The conversation of an attempt before, whose place no engine lived to empty.
    fn leave_behind(&self) {
        let (ours, mut worker) = UnixStream::pair().expect("a pair");
        worker.write_all(b"+\n").expect("a socket");
        mark(ours.as_fd(), self.attempt).expect("a socket");
        let place = self.places.place(Held::Conversation(0));
        self.vault.put_pair(place, [Some(ours.as_fd()), None]).expect("put");
    }

    fn start(&self, is_resumed: bool) -> Engine {
        let rings = self.vault.descriptors().map(|ring| ring.as_raw_fd()).collect();
        let master_path = self.folder.path().join("imap-master");
        let order = Order { master_path, attempt: self.attempt, is_resumed, rings };
        Engine::start(&order)
    }
}

/// This program, as an engine.
struct Engine {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Engine {
    fn start(order: &Order) -> Self {
        let program: PathBuf = std::env::current_exe().expect("procfs");
        let mut command = Command::new::<&Path>(&program);
        command.args(order.args()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("itself");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.next().expect("it speaks").expect("text");
        assert_eq!(ready, "ready");
        Self { child, lines }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it wake its client; what it says of that, if it lives to.
    fn go(&mut self) -> Option<String> {
        let stdin = self.child.stdin.as_mut().expect("piped");
        // One that was killed before hears nothing.
        let _ = stdin.write_all(b"go\n");
        self.lines.next().map(|line| line.expect("text"))
    }

    fn ended_well(&mut self) -> bool {
        self.child.wait().expect("our child").success()
    }
}

/// Every call of either thread, from the order to the end.
const CALLS: &[&str] = &[
    "io_uring_enter",
    "io_uring_register",
    "read",
    "write",
    "poll",
    "epoll_wait",
    "epoll_ctl",
    "socket",
    "setsockopt",
    "connect",
    "sendto",
    "sendmsg",
    "recvmsg",
    "recvfrom",
    "shutdown",
    "close",
    "futex",
];
