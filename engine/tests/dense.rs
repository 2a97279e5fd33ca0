//! The dense arm outlives the process that uses it, on the kernel that the tests run on.
//!
//! This process is the keeper: it has the programs, and the vault with the sockets. It
//! starts itself again as an engine without any capability that puts 200 clients to sleep and is
//! killed; they speak while there is no engine; the next one hears each of them without having
//! armed anything. With a `main` of its own, since an engine is this program with a word
//! behind its name.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use caps::CapSet;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::geteuid;
use torpor_engine::sys::dense::Dense;
use torpor_engine::sys::vault::Vault;
use torpor_engine::token::{Kind, Token};

fn main() {
    let mut words = std::env::args().skip(1);
    let role = words.next().unwrap_or_default();
    let numbers: Vec<RawFd> = words.filter_map(|word| word.parse().ok()).collect();
    match role.as_str() {
        "sleep" => sleep(&numbers),
        "find" => find(&numbers),
        _ => match Dense::create(SLEEPERS) {
            Ok(dense) => killed_and_taken_over(&dense),
            Err(why) if geteuid().is_root() => panic!("root is refused: {why}"),
            Err(why) => println!("NOT TESTED: dense sleep. {why}"),
        },
    }
}

fn killed_and_taken_over(dense: &Dense) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let vault = Vault::create(SLEEPERS).expect("a vault");
    let clients: Vec<TcpStream> = (0..SLEEPERS)
        .map(|slot| {
            let client = TcpStream::connect(address).expect("listening");
            vault.put(slot, listener.accept().expect("connected").0).expect("room");
            client
        })
        .collect();
    let all: Vec<BorrowedFd> = dense.descriptors().into_iter().chain(vault.descriptors()).collect();
    for descriptor in &all {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited from now on");
    }
    let mut sleeping = start("sleep", &all);
    let mut said = String::new();
    let out = sleeping.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut said).expect("the engine speaks");
    assert_eq!(said, format!("{SLEEPERS} sleep\n"));
    sleeping.kill().expect("it waits to be killed");
    assert_eq!(sleeping.wait().expect("it is ours").signal(), Some(libc::SIGKILL));
    for mut client in &clients {
        client.write_all(b"DONE\r\n").expect("the socket lives");
    }
    let mut finder = start("find", &all[..2]);
    let mut found = String::new();
    finder.stdout.take().expect("piped").read_to_string(&mut found).expect("text");
    assert!(finder.wait().expect("it is ours").success(), "the finder failed: {found}");
    print!("after a kill {found}");
    println!("1 passed, 0 failed");
}

fn start(role: &str, descriptors: &[BorrowedFd]) -> Child {
    let numbers = descriptors.iter().map(|descriptor| descriptor.as_raw_fd().to_string());
    let program = std::env::current_exe().expect("procfs");
    let mut command = Command::new(program);
    command.arg(role).args(numbers).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("itself")
}

/// The inherited maps, with no privilege left, as an engine has them.
fn inherit(records: RawFd, events: RawFd) -> Dense {
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).expect("it may have less");
    }
    assert!(Dense::create(SLEEPERS).is_err(), "loading needs a privilege");
    Dense::inherit(SLEEPERS, records, events).expect("inherited")
}

fn sleep(numbers: &[RawFd]) {
    let [records, events, rings @ ..] = numbers else { panic!("two maps and a vault") };
    let mut dense = inherit(*records, *events);
    let vault = Vault::inherit(rings, SLEEPERS).expect("inherited");
    for slot in 0..SLEEPERS {
        let client = vault.take(slot).expect("it is there");
        dense.add(client.as_fd(), token(slot)).expect("armed");
    }
    println!("{} sleep", dense.sleepers());
    std::thread::park();
}

fn token(slot: u32) -> Token {
    Token::new(Kind::Item, 1, slot)
}

fn find(numbers: &[RawFd]) {
    let [records, events] = numbers else { panic!("two maps") };
    let mut dense = inherit(*records, *events);
    assert_eq!((dense.sleepers(), dense.lost()), (SLEEPERS, 0));
    let mut told = Vec::new();
    dense.drain(2 * SLEEPERS as usize, &mut told);
    let tokens: Vec<u8> = (0..SLEEPERS).flat_map(|slot| token(slot).bits().to_ne_bytes()).collect();
    assert_eq!(told, tokens, "each once, in the order in which they spoke");
    println!("{SLEEPERS} are heard");
}

const SLEEPERS: u32 = 200;
