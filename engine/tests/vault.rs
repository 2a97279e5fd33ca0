//! A vault outlives the processes that use it, on the kernel that the tests run on.
//!
//! This process is the keeper: it has the rings and nothing else. It starts itself again as an
//! engine that puts 20,000 sockets into the vault and is killed, then as one that inherits the
//! vault, finds each socket alive and talks through it. With a `main` of its own, since an engine
//! is this program with a word behind its name.

use std::fs::read_dir;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use torpor_engine::sys::vault::Vault;

fn main() {
    let mut words = std::env::args().skip(1);
    let role = words.next().unwrap_or_default();
    let rings: Vec<RawFd> = words.filter_map(|word| word.parse().ok()).collect();
    match role.as_str() {
        "fill" => fill(&rings),
        "find" => find(&rings),
        _ => {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
            setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("the soft limit rises");
            killed_and_taken_over();
            println!("1 passed, 0 failed");
        }
    }
}

fn killed_and_taken_over() {
    let vault = Vault::create(PLACES).expect("a vault");
    let rings: Vec<BorrowedFd> = vault.descriptors().collect();
    assert_eq!(rings.len(), 2, "{PLACES} places need two tables");
    for ring in &rings {
        fcntl(ring, FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited from now on");
    }
    let mut filler = start("fill", &rings);
    let mut said = String::new();
    let out = filler.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut said).expect("the filler speaks");
    assert!(said.starts_with("full, numbers"), "it said {said:?}");
    filler.kill().expect("it waits to be killed");
    assert_eq!(filler.wait().expect("it is ours").signal(), Some(libc::SIGKILL));
    let mut finder = start("find", &rings);
    let mut found = String::new();
    finder.stdout.take().expect("piped").read_to_string(&mut found).expect("text");
    assert!(finder.wait().expect("it is ours").success(), "the finder failed: {found}");
    print!("{PLACES} sockets in {} tables: {}after a kill {found}", rings.len(), said);
}

fn start(role: &str, rings: &[BorrowedFd]) -> Child {
    let numbers = rings.iter().map(|ring| ring.as_raw_fd().to_string());
    let program = std::env::current_exe().expect("procfs");
    let mut command = Command::new(program);
    command.arg(role).args(numbers).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("itself")
}

/// Both ends of each connection go into the vault, so that nobody else holds them.
fn fill(rings: &[RawFd]) {
    let vault = Vault::inherit(rings, PLACES).expect("inherited");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    for place in (0..PLACES).step_by(2) {
        let (one, other): (OwnedFd, OwnedFd) = if place % 16 == 0 {
            let client = TcpStream::connect(listener.local_addr().expect("bound"));
            (listener.accept().expect("connected").0.into(), client.expect("listening").into())
        } else {
            let (one, other) = UnixStream::pair().expect("a pair");
            (one.into(), other.into())
        };
        vault.put(place, &one).expect("put");
        vault.put(place + 1, &other).expect("put");
    }
    println!("full, numbers in use {}", numbers());
    std::thread::park();
}

fn find(rings: &[RawFd]) {
    let vault = Vault::inherit(rings, PLACES).expect("inherited");
    for place in (0..PLACES).step_by(2) {
        // What is read and written does not care whether it is TCP.
        let mut one = UnixStream::from(vault.take(place).expect("it is there"));
        let mut other = UnixStream::from(vault.take(place + 1).expect("it is there"));
        let text = place.to_ne_bytes();
        one.write_all(&text).expect("alive");
        let mut heard = [0; 4];
        other.read_exact(&mut heard).expect("alive");
        assert_eq!(heard, text, "the right one");
        drop(one);
        vault.clear(place).expect("cleared");
        assert_eq!(other.read(&mut heard).expect("an end"), 0, "nobody else held it");
    }
    println!("all answered, numbers in use {}", numbers());
}

fn numbers() -> usize {
    let count = read_dir("/proc/self/fd").expect("procfs").count();
    assert!(count < 30, "{count} numbers: a file in the vault needs none");
    count
}

const PLACES: u32 = 20_000;
