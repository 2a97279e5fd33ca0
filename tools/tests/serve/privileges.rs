//! What /proc says about the privileges of an engine and its watcher.

use std::os::unix::fs::MetadataExt;

use nix::unistd::Uid;

use crate::parts::{TOKEN, Torpor, eventually};

/// The words behind a key of a file in /proc/PID.
fn words(pid: u32, file: &str, key: &str) -> Vec<String> {
    words_in(&std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it lives"), key)
}

fn words_in(text: &str, key: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let line = line.unwrap_or_else(|| panic!("{key} is missing in {text}"));
    line.split_whitespace().map(str::to_owned).collect()
}

/// No thread of it has more than these capabilities, as a mask. Says how many threads it has.
fn has_only(pid: u32, capabilities: &str) -> usize {
    let mut seen = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten() {
        // Who answers operators does one thing and ends.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let words = |key| words_in(&status, key);
        seen += 1;
        assert_eq!(words("NoNewPrivs:"), ["1"]);
        // SECCOMP_MODE_FILTER.
        assert_eq!(words("Seccomp:"), ["2"]);
        if Uid::effective().is_root() {
            for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
                assert_eq!(words(set), [capabilities], "{set} {status}");
            }
            assert_eq!(words("CapInh:"), ["0000000000000000"]);
        }
    }
    seen
}

/// Each thread of the first engine has no more than it needs.
fn has_little(torpor: &Torpor) -> u32 {
    let pid = torpor.engine_pids()[0];
    // CAP_DAC_OVERRIDE (1) and CAP_IPC_LOCK (14).
    let seen = has_only(pid, "0000000000004002");
    assert!(seen > 4, "engine, handoff, its watcher's, clerk and the first are always there");
    pid
}

/// What its descriptors are, as /proc names them.
fn descriptors(pid: u32) -> Vec<String> {
    let numbers = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
    let links = numbers.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_watcher_has_one_capability_and_nothing_of_the_clients() {
    let torpor = Torpor::start("");
    let _ann = torpor.hibernate("ann", "s1");
    eventually("it has begun", || torpor.pids("watcher").len() == 1);
    let pid = torpor.pids("watcher")[0];
    let is_confined = || words(pid, "status", "Seccomp:") == ["2"] && descriptors(pid).len() > 4;
    eventually("it watches", is_confined);
    // CAP_DAC_READ_SEARCH (2).
    assert!(has_only(pid, "0000000000000004") >= 2, "the first and the closing one");
    let held = descriptors(pid);
    for kind in ["io_uring", "memfd", "eventpoll", "bpf"] {
        assert!(held.iter().all(|what| !what.contains(kind)), "{held:?}");
    }
    // Standard input and the connection to the engine.
    assert_eq!(held.iter().filter(|what| what.starts_with("socket:")).count(), 2, "{held:?}");
    if Uid::effective().is_root() {
        assert_eq!(words(pid, "limits", "Max core file size")[..2], ["0", "0"]);
    }
}

#[test]
fn an_engine_has_only_the_capabilities_that_it_needs() {
    let torpor = Torpor::start("");
    let pid = has_little(&torpor);
    if Uid::effective().is_root() {
        assert_eq!(words(pid, "limits", "Max core file size")[..2], ["0", "0"]);
        // Its keeper has given up CAP_SYS_PTRACE (19), which it needs at its start alone.
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            let bits = u64::from_str_radix(&words(torpor.pid(), "status", set)[0], 16);
            assert_eq!(bits.expect("a set") >> 19 & 1, 0, "{set}");
        }
    }
    let _ann = torpor.hibernate("ann", "s1");
}

#[test]
fn an_engine_is_the_user_that_it_was_told_to_be() {
    if !Uid::effective().is_root() {
        return;
    }
    let torpor = Torpor::start("user = \"nobody\"\nengines = 2\n");
    let pid = has_little(&torpor);
    let nobody = nix::unistd::User::from_name("nobody").expect("users").expect("he is everywhere");
    assert_eq!(words(pid, "status", "Uid:"), [nobody.uid.to_string().as_str(); 4]);
    assert_eq!(words(pid, "status", "Gid:"), [nobody.gid.to_string().as_str(); 4]);
    eventually("its watchers are, too", || {
        let watchers = torpor.pids("watcher");
        let is_nobody =
            |pid: &u32| words(*pid, "status", "Uid:") == [nobody.uid.to_string().as_str(); 4];
        watchers.len() == 2 && watchers.iter().all(is_nobody)
    });
    // What is nobody's to look into belongs to root there.
    let owner = std::fs::metadata(format!("/proc/{pid}/environ")).expect("it lives").uid();
    assert_eq!(owner, 0, "its memory is open to others of its user");
    let _ann = torpor.hibernate("ann", "s1");
    // The first answers for itself before the second has begun.
    eventually("they reach each other", || torpor.engine_pids().len() == 2);
    assert_eq!(torpor.json(&["who"])["count"], 1);
}

/// Whatever happens to a client. (That no log of the other tests holds one is looked at as well.)
#[test]
fn a_token_is_in_no_log() {
    let torpor = Torpor::start("[sleep]\nslots_max = 1\n[log]\nlevel = \"debug\"\n");
    let _ann = torpor.hibernate("ann", "s1");
    assert!(torpor.try_hibernate("bob", "s2").expect_err("full").contains("-full"));
    torpor.json(&["who"]);
    assert_eq!(torpor.json(&["kick", "ann"])["kicked"], 1);
    eventually("she is gone", || torpor.log().contains("User kicked"));
    let log = torpor.log();
    assert!(log.contains("s1") && log.contains("ann"), "{log}");
    assert!(!log.contains(TOKEN), "{log}");
}

/// Its keeper holds them.
#[test]
fn an_engine_uses_programs_that_it_could_not_load() {
    if !Uid::effective().is_root() {
        return;
    }
    let torpor = Torpor::start("user = \"nobody\"\n[sleep]\ndense = true\ndoze_secs = 0\n");
    let pid = has_little(&torpor);
    let count =
        |pid: u32, kind: &str| descriptors(pid).iter().filter(|what| what.contains(kind)).count();
    // Both hold what keeps the programs running, so that each may die alone.
    let held = |pid| ["bpf-prog", "bpf_link", "bpf-map"].map(|kind| count(pid, kind));
    assert_eq!(held(torpor.pid()), [0, 2, 2], "{}", torpor.log());
    assert_eq!(held(pid), [0, 2, 2]);
    let _ann = torpor.hibernate("ann", "s1");
    assert_eq!(torpor.json(&["stats"])["counters"]["sunk"], 1);
    assert!(!torpor.log().contains("sleep.dense"), "{}", torpor.log());
}
