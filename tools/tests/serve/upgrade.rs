//! `torpor upgrade`: keeper and engines become another program, and no client notices; one that
//! fails at any stage leaves the old one running.

pub mod programs;
mod row;

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::parts::{Torpor, eventually};
use crate::systemd::Manager;
use programs::{Programs, TORPOR, refuses, upgrade, upgrades};

fn is_alive(client: &mut UnixStream, tag: &str, next: &str) {
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    client.write_all(format!("DONE\r\n{next} IDLE\r\n").as_bytes()).expect("it is held");
    let text = format!("{tag} OK Idle completed.\r\n+ idling\r\n");
    let mut heard = vec![0; text.len()];
    client.read_exact(&mut heard).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count()
}

#[test]
fn an_upgrade_disturbs_nobody() {
    let (manager, torpor) = Manager::start("engines = 2\n", |_| {});
    manager.hears("READY=1");
    let programs = Programs::new();
    let files = [programs.copy("one"), programs.copy("other")];
    let mut clients: Vec<UnixStream> =
        (0..20).map(|at| torpor.hibernate(&format!("u{at}"), &format!("s{at}"))).collect();
    let (mut pids, mut held) = (torpor.engine_pids(), None);
    for (at, file) in files.iter().cycle().take(3).enumerate() {
        let text = upgrades(&torpor, file);
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.starts_with(&format!("upgraded from {version} to {version} in ")), "{text}");
        assert!(text.ends_with(" ms, 2 engines replaced\n"), "{text}");
        // Without the time systemd would wait for a reload that is over (sd_notify(3)).
        assert!(manager.hears("RELOADING=1").contains("\nMONOTONIC_USEC="));
        manager.hears("READY=1");
        let exe = std::fs::read_link(format!("/proc/{}/exe", torpor.pid())).expect("it lives");
        assert_eq!(exe.file_name(), file.file_name(), "the same process is another program");
        let new = torpor.engine_pids();
        assert!(new.len() == 2 && new.iter().all(|pid| !pids.contains(pid)), "{pids:?} {new:?}");
        pids = new;
        for client in &mut clients {
            is_alive(client, &format!("a{}", at + 1), &format!("a{}", at + 2));
        }
        clients.push(torpor.hibernate("late", &format!("l{at}")));
        is_alive(clients.last_mut().expect("just pushed"), "a1", &format!("a{}", at + 2));
        let number = descriptors(torpor.pid());
        assert_eq!(*held.get_or_insert(number), number, "nothing is left open");
    }
    assert_eq!(torpor.json(&["who"])["count"], 23);
    manager.hears("STATUS=2 of 2 engines answer");
    // The keeper that they have now is a whole one.
    torpor.signal_pid(&pids[0].to_string(), Signal::SIGKILL);
    torpor.logged("engine 1 has ended: signal: 9 (SIGKILL)", "are held");
    eventually("both serve", || torpor.engine_pids().len() == 2);
    clients.iter_mut().for_each(|client| is_alive(client, "a4", "a5"));
    torpor.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(torpor.wait().success());
}

#[test]
fn a_program_that_runs_already_reads_its_configuration() {
    let torpor = Torpor::start("");
    let pids = torpor.engine_pids();
    torpor.configure("[hibernate]\nallowed_uids = [4242]\n");
    let text = upgrades(&torpor, TORPOR.as_ref());
    assert!(text.starts_with("this very program runs already"), "{text}");
    torpor.logged("configuration", "reloaded");
    assert!(torpor.try_hibernate("bob", "s2").is_err(), "our uid is not allowed any more");
    assert_eq!(torpor.engine_pids(), pids);
    torpor.configure("[wake]\nworkers_max = 0\n");
    assert!(refuses(&torpor, TORPOR.as_ref()).contains("workers_max: 0 is out of range"));
}

/// An operator of a busy machine, between his connect(2) and his write(2).
#[test]
fn who_asks_slowly_is_heard_and_keeps_nobody_waiting() {
    let torpor = Torpor::start("");
    let mut ann = torpor.hibernate("ann", "s1");
    let mut asker = UnixStream::connect(torpor.dir().join("torpor.keeper")).expect("it listens");
    let question = format!("{{\"upgrade\":{TORPOR:?}}}\n");
    let (begin, rest) = question.split_at(5);
    asker.write_all(begin.as_bytes()).expect("sent");
    torpor.signal_pid(&torpor.engine_pids()[0].to_string(), Signal::SIGKILL);
    is_alive(&mut ann, "a1", "a2");
    thread::sleep(Duration::from_millis(500));
    asker.write_all(rest.as_bytes()).expect("he is waited for");
    let mut verdict = String::new();
    asker.read_to_string(&mut verdict).expect("an answer");
    assert!(verdict.contains("this very program runs already"), "{verdict}{}", torpor.log());
}

/// At each stage, with what the operator is told.
#[test]
fn a_program_that_fails_leaves_the_old_one_running() {
    let torpor = Torpor::start("[sleep]\nslots_max = 100\n");
    let toml = torpor.dir().with_file_name("toml");
    let config = std::fs::read_to_string(&toml).expect("it is there");
    let programs = Programs::new();
    let breaks = format!("*--before*) echo nonsense > {} ;;", toml.display());
    let stages = [
        (programs.dir().join("none"), "No such file"),
        ("/bin/true".into(), "the new program has ended (exit status: 0) and said nothing"),
        (
            programs.script("refuses", "*--rehearse*) echo moon is full >&2; exit 1;;"),
            "the new program says: moon is full",
        ),
        (programs.script("cannot", &breaks), "the new program cannot go on: torpor.toml:1: "),
        (
            programs.script("dies", "engine*) exit 3;;"),
            "the new engine 1 has ended: exit status: 3",
        ),
        (programs.script("hangs", "engine*) exec sleep 100;;"), "the new engine 1 does not serve"),
    ];
    let mut ann = torpor.hibernate("ann", "s1");
    for (at, (file, why)) in stages.iter().enumerate() {
        let said = refuses(&torpor, file);
        let expected = why.replace("torpor.toml", &toml.display().to_string());
        assert!(
            said.contains(&expected) && said.contains("serves as before"),
            "{said}: {expected}"
        );
        std::fs::write(&toml, &config).expect("written");
        is_alive(&mut ann, &format!("a{}", at + 1), &format!("a{}", at + 2));
        let exe = std::fs::read_link(format!("/proc/{}/exe", torpor.pid())).expect("it lives");
        assert_eq!(exe, Path::new(TORPOR), "{why}");
    }
    // One that has failed is no reason for the next one to.
    let text = upgrades(&torpor, &programs.copy("good"));
    assert!(text.ends_with("1 engine replaced\n"), "{text}");
    is_alive(&mut ann, "a7", "a8");
}

/// The old program may not serve any more either; it is begun again and again, as ever.
#[test]
fn a_way_back_that_fails_too_is_told_and_goes_on() {
    let torpor = Torpor::start("engines = 2\n");
    let programs = Programs::new();
    let flag = programs.dir().join("flag");
    let case = format!("engine*) [ -e {} ] && exit 4;;", flag.display());
    upgrades(&torpor, &programs.script("fragile", &case));
    let mut ann = torpor.hibernate("ann", "s1");
    File::create(&flag).expect("a file");
    let said = refuses(&torpor, &programs.script("dies", "engine*) exit 3;;"));
    for part in ["the new engine 1 has ended: exit status: 3", "is back, but engine 1 has ended: "]
    {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("serves as before"), "{said}");
    std::fs::remove_file(&flag).expect("it is there");
    is_alive(&mut ann, "a1", "a2");
}

/// Nothing is left to go back from; so it is as if the keeper had been killed.
#[test]
fn a_program_that_vanishes_leaves_the_engines_to_the_next_keeper() {
    let (torpor, programs) = (Torpor::start("engines = 2\n"), Programs::new());
    let (mut ann, pids) = (torpor.hibernate("ann", "s1"), torpor.engine_pids());
    let said = refuses(&torpor, &programs.script("vanishes", "*--before*) kill -9 $$;;"));
    assert!(said.contains("has hung up before it answered"), "{said}");
    is_alive(&mut ann, "a1", "a2");
    torpor.succeed();
    is_alive(&mut ann, "a2", "a3");
    eventually("both answer, and are the same", || torpor.engine_pids() == pids);
    // Engines that a keeper has found are replaced like its own.
    let text = upgrades(&torpor, &programs.copy("good"));
    assert!(text.ends_with("2 engines replaced\n"), "{text}");
    is_alive(&mut ann, "a3", "a4");
}

/// It has the estates, and no claim on the engines.
#[test]
fn a_rehearsal_that_hangs_is_not_in_the_way_of_the_next_keeper() {
    let (torpor, programs) = (Torpor::start(""), Programs::new());
    let (mut ann, pids) = (torpor.hibernate("ann", "s1"), torpor.engine_pids());
    let flag = programs.dir().join("flag");
    let case = format!("*--rehearse*) touch {}; exec sleep 30;;", flag.display());
    let (hangs, dir) = (programs.script("hangs", &case), torpor.dir());
    thread::scope(|scope| {
        scope.spawn(|| upgrade(&hangs, ["--base-dir".as_ref(), &dir]));
        eventually("it hangs", || flag.exists());
        torpor.signal(Signal::SIGKILL);
        torpor.succeed();
        eventually("the same engine answers", || torpor.engine_pids() == pids);
    });
    is_alive(&mut ann, "a1", "a2");
}

/// Half-way, with an engine of either program.
#[test]
fn a_keeper_killed_amid_an_upgrade_is_followed_by_one_that_takes_over() {
    let (torpor, programs) = (Torpor::start("engines = 2\n"), Programs::new());
    let mut clients: Vec<UnixStream> =
        (0..10).map(|at| torpor.hibernate(&format!("u{at}"), &format!("s{at}"))).collect();
    let flag = programs.dir().join("flag");
    let case = format!("'engine 2') touch {}; sleep 0.5;;", flag.display());
    let slow = programs.script("slow", &case);
    let (pids, dir) = (torpor.engine_pids(), torpor.dir());
    thread::scope(|scope| {
        let asked = scope.spawn(|| upgrade(&slow, ["--base-dir".as_ref(), &dir]));
        eventually("the second is about to begin", || flag.exists());
        torpor.signal(Signal::SIGKILL);
        let said = asked.join().expect("no panic").stderr;
        assert!(String::from_utf8_lossy(&said).contains("has hung up"));
    });
    eventually("both run", || torpor.pids("engine").len() == 2);
    torpor.succeed();
    eventually("both serve", || torpor.engine_pids().len() == 2);
    assert!(torpor.engine_pids().iter().all(|pid| !pids.contains(pid)));
    clients.iter_mut().for_each(|client| is_alive(client, "a1", "a2"));
}

/// Its interpreter runs, and has all that the engine will have.
#[test]
fn a_script_that_is_about_to_become_an_engine_is_taken_over() {
    let (torpor, programs) = (Torpor::start(""), Programs::new());
    let mut ann = torpor.hibernate("ann", "s1");
    let flag = programs.dir().join("flag");
    let case = format!("'engine 1') touch {}; sleep 1;;", flag.display());
    let (slow, dir) = (programs.script("slow", &case), torpor.dir());
    thread::scope(|scope| {
        scope.spawn(|| upgrade(&slow, ["--base-dir".as_ref(), &dir]));
        eventually("it is about to begin", || flag.exists());
        torpor.signal(Signal::SIGKILL);
    });
    torpor.succeed();
    is_alive(&mut ann, "a1", "a2");
    assert_eq!(torpor.pids("engine").len(), 1, "{}", torpor.log());
    assert_eq!(torpor.json(&["stats"])["counters"]["revived"], 1, "{}", torpor.log());
}

/// Although he can connect: an engine could, which has CAP_DAC_OVERRIDE.
#[test]
fn who_is_not_the_keepers_user_upgrades_nothing() {
    if !Uid::effective().is_root() {
        return;
    }
    let (torpor, programs) = (Torpor::start(""), Programs::new());
    let open = |path: &Path| {
        std::fs::set_permissions(path, Permissions::from_mode(0o777)).expect("it is ours");
    };
    let socket = torpor.dir().join("torpor.keeper");
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    [programs.dir(), &torpor.dir(), torpor.dir().parent().expect("a folder"), &socket]
        .into_iter()
        .for_each(open);
    let mut command = Command::new(programs.copy("his"));
    let output = command.uid(4242).args(["upgrade", "--base-dir"]).arg(torpor.dir()).output();
    let output = output.expect("torpor starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("only root may"), "{said}");
    torpor.logged("uid 4242 may not ask for an", "upgrade");
    let exe = std::fs::read_link(format!("/proc/{}/exe", torpor.pid())).expect("it lives");
    assert_eq!(exe, Path::new(TORPOR));
}

/// What a keeper holds is understood or refused, with both versions named.
#[test]
fn another_layout_is_refused_by_name() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"layout = 99\nversion = \"9.8.7\"\n").expect("written");
    let mut command = Command::new(TORPOR);
    command.args(["serve", "--config", "/dev/null", "--rehearse", "0"]);
    command.stdin(File::open(file.path()).expect("it is there"));
    let output = command.output().expect("torpor starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success());
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!("torpor 9.8.7 holds has layout 99, and torpor {version} reads 1 to 1");
    assert!(text.contains(&expected), "{text}");
}
