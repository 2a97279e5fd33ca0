//! A vault and an epoll set outlive the processes that use them, on the kernel that the tests run
//! on.
//!
//! This process is the keeper: it has the rings, the set and nothing else. It starts itself again
//! as an engine that puts 20,000 sockets into the vault, some of them with items in the set, and is
//! killed; then as one that inherits both, finds each socket alive, talks through it and is told
//! of by the dead engine's items. With a `main` of its own, since an engine is this program with a
//! word behind its name.

use std::fs::read_dir;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use torpor_engine::sys::items::Items;
use torpor_engine::sys::vault::Vault;
use torpor_engine::token::{Kind, Token};

fn main() {
    let mut words = std::env::args().skip(1);
    let role = words.next().unwrap_or_default();
    let numbers: Vec<RawFd> = words.filter_map(|word| word.parse().ok()).collect();
    match (role.as_str(), numbers.split_last_chunk()) {
        ("fill", Some((rings, [set, number]))) => fill(rings, *set, *number),
        ("find", Some((rings, [set, number]))) => find(rings, *set, *number),
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
    let items = Items::create().expect("a set");
    let rings: Vec<BorrowedFd> = vault.descriptors().collect();
    assert_eq!(rings.len(), 2, "{PLACES} places need two tables");
    for descriptor in rings.iter().chain([&items.set()]) {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited from now on");
    }
    let mut filler = start("fill", &rings, &items);
    let mut said = String::new();
    let out = filler.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut said).expect("the filler speaks");
    assert!(said.starts_with("full, numbers"), "it said {said:?}");
    filler.kill().expect("it waits to be killed");
    assert_eq!(filler.wait().expect("it is ours").signal(), Some(libc::SIGKILL));
    let mut finder = start("find", &rings, &items);
    let mut found = String::new();
    finder.stdout.take().expect("piped").read_to_string(&mut found).expect("text");
    assert!(finder.wait().expect("it is ours").success(), "the finder failed: {found}");
    print!("{PLACES} sockets in {} tables: {}after a kill {found}", rings.len(), said);
}

fn start(role: &str, rings: &[BorrowedFd], items: &Items) -> Child {
    let last = [items.set().as_raw_fd(), items.number()];
    let numbers = rings.iter().map(AsRawFd::as_raw_fd).chain(last).map(|raw| raw.to_string());
    let program = std::env::current_exe().expect("procfs");
    let mut command = Command::new(program);
    command.arg(role).args(numbers).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("itself")
}

/// Both ends of each connection go into the vault, so that nobody else holds them.
fn fill(rings: &[RawFd], set: RawFd, number: RawFd) {
    let mut items = Items::inherit(set, number).expect("inherited");
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
        if place % SUNK == 0 {
            items.add(other.as_fd(), Token::new(Kind::Item, 1, place)).expect("added");
        }
    }
    println!("full, numbers in use {}", numbers());
    std::thread::park();
}

fn find(rings: &[RawFd], set: RawFd, number: RawFd) {
    let mut items = Items::inherit(set, number).expect("inherited");
    let vault = Vault::inherit(rings, PLACES).expect("inherited");
    for place in (0..PLACES).step_by(2) {
        // What is read and written does not care whether it is TCP.
        let mut one = UnixStream::from(vault.take(place).expect("it is there"));
        let mut other = UnixStream::from(vault.take(place + 1).expect("it is there"));
        let text = place.to_ne_bytes();
        one.write_all(&text).expect("alive");
        if place % SUNK == 0 {
            let mut told = Vec::new();
            items.ready(|_| false, &mut told).expect("a look");
            assert_eq!(told, Token::new(Kind::Item, 1, place).bits().to_ne_bytes(), "its item");
            items.delete(other.as_fd(), place);
        }
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
/// One in as many has an item.
const SUNK: u32 = 100;
