//! What a wake costs after a night in which everything has changed.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

use torpor_handoff::line::unhibernate::render;
use torpor_store::{FlagChange, Flags, Home, MailboxName};
use torpor_worker::unhibernate::run_woken;
use torpor_worker::{End, Options};

use crate::lab::Lab;
use crate::sleep::{CONTINUE, asleep, quick, send_request};

/// Half of the messages are expunged and half are flagged while the client sleeps; a process of
/// its own wakes it, and every change arrives. 200,000 messages in the nightly run; otherwise
/// fewer, since to make so many files takes minutes.
#[test]
fn a_night_of_changes_is_told_within_32_mib() {
    let nightly = std::env::var_os("TORPOR_NIGHTLY").is_some();
    let count: u32 = if nightly { 200_000 } else { 4_000 };
    let lab = Lab::hibernating(quick());
    let home = Home::open(&lab.home()).unwrap();
    for number in 0..count {
        let name = format!("{}.M{number}.host:2,", 1_790_000_000 + number);
        fs::write(lab.home().join("cur").join(name), "x\r\n").unwrap();
    }
    let mut client = lab.select();
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let mut mailbox = home.open_mailbox(&MailboxName::inbox()).unwrap();
    let (odd, even): (Vec<u32>, Vec<u32>) = (1..=count).partition(|uid| uid % 2 == 1);
    mailbox.expunge(&odd).unwrap();
    mailbox.change_flags(&even, FlagChange::Add, Flags::SEEN, None).unwrap();

    let (engine, master) = UnixStream::pair().unwrap();
    let report = lab.options.base_dir.join("peak");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::the_process_that_wakes"])
        .env(REPORT, &report)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(master)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut request = Vec::new();
    render(&mut request, &sleeper.line, &CONTINUE);
    assert_eq!(send_request(engine, &request, sleeper.client), "+\n");
    client.attach(thread::spawn(move || {
        assert!(child.wait().unwrap().success());
        End::LoggedOut
    }));
    for _ in 0..count / 2 {
        assert!(client.line().ends_with(" EXPUNGE"));
    }
    for sequence in 1..=count / 2 {
        let told = client.line();
        assert_eq!(told, format!("* {sequence} FETCH (FLAGS (\\Seen \\Recent))"));
    }
    assert_eq!(client.line(), format!("* {} RECENT", count / 2));
    client.send("DONE\r\nz LOGOUT\r\n");
    assert_eq!(client.line(), "i OK Idle completed.");
    client.until("z OK");
    client.end();
    let peak_kib: u64 = fs::read_to_string(&report).unwrap().parse().unwrap();
    println!("{count} changes: peak {:.1} MiB", peak_kib as f64 / 1024.0);
    assert!(peak_kib < 32 * 1024, "{peak_kib} KiB");
}

/// Not a test by itself: the worker of the test above, in a process whose peak can be read.
#[test]
fn the_process_that_wakes() {
    let Some(report) = std::env::var_os(REPORT) else { return };
    use std::os::fd::AsFd as _;
    let master = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let options = Options {
        base_dir: "/nonexistent".into(),
        hibernate_after: std::time::Duration::ZERO,
        keepalive: std::time::Duration::ZERO,
    };
    run_woken(master, options, |_| Ok(None)).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    fs::write(report, peak.trim().trim_end_matches(" kB")).unwrap();
}

const REPORT: &str = "TORPOR_TEST_PEAK";
