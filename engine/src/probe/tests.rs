use super::*;

/// A host that has everything, for the default limits.
fn host() -> Host {
    Host {
        ring: Ok(vec![]),
        vault: Ok(()),
        dense: Ok(()),
        unmarked: Vec::new(),
        is_marked: false,
        unpolled: None,
        io_uring_disabled: 0,
        has_proc: true,
        descriptors_max: 20_000,
        watches_max: 65_536,
        instances_max: 128,
        items_max: 1 << 20,
        backlog_max: 4096,
        events_max: 16_384,
        tcp_pages: 2048,
        memory_bytes: 1 << 30,
        adopts_watches: true,
    }
}

fn lines(host: &Host) -> Vec<String> {
    let mut findings = vec![];
    host.judge(&Limits::default(), &mut findings);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_host_hears_nothing() {
    assert_eq!(lines(&host()), [""; 0]);
}

#[test]
fn each_lack_is_one_line_with_its_knob() {
    let refused = || Err("host: io_uring is forbidden".to_owned());
    for (host, begins, knob) in [
        (Host { ring: refused(), ..host() }, "refused: host:", "forbidden"),
        (
            Host { ring: refused(), io_uring_disabled: 2, ..host() },
            "refused: host:",
            "kernel.io_uring_disabled = 2; set it to 0",
        ),
        (Host { ring: Ok(vec!["recv", "send"]), ..host() }, "refused: host:", "recv, send"),
        (
            Host { vault: Err("host: Linux 6.8 can".into()), ..host() },
            "warning: host: Linux 6.8 can",
            "do not outlive the engine",
        ),
        (
            Host { dense: Err("host: CAP_BPF is missing".into()), ..host() },
            "warning: host: CAP_BPF is missing",
            "add CAP_BPF and CAP_PERFMON to CapabilityBoundingSet",
        ),
        (Host { has_proc: false, ..host() }, "refused: host:", "/proc"),
        (
            Host { descriptors_max: 4000, ..host() },
            "refused: host:",
            "RLIMIT_NOFILE = 4000 is below 4480, which conns_max = 1024 needs",
        ),
        (Host { watches_max: 8192, ..host() }, "warning: host:", "max_user_watches = 8192"),
        (Host { items_max: 9000, ..host() }, "warning: host:", "max_user_watches = 9000"),
        (Host { backlog_max: 128, ..host() }, "warning: host:", "somaxconn = 128"),
        (Host { events_max: 1000, ..host() }, "warning: host:", "max_queued_events = 1000"),
        (Host { tcp_pages: 2047, ..host() }, "warning: host:", "16384 sleepers take 2048 when"),
        (
            Host { memory_bytes: 64 << 20, ..host() },
            "warning: host:",
            "MemTotal = 64 MiB is below 68 MiB, which slots_max = 16384 sleepers take",
        ),
    ] {
        let lines = lines(&host);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(begins) && lines[0].contains(knob), "{}", lines[0]);
        assert!(!lines[0].contains('\n') && !lines[0].contains("  "), "{}", lines[0]);
    }
}

#[test]
fn without_the_capability_everything_kept_is_counted() {
    let lines = lines(&Host { adopts_watches: false, ..host() });
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("RLIMIT_NOFILE = 20000 is below 20864"), "{}", lines[0]);
    assert!(lines[1].contains("AmbientCapabilities=CAP_DAC_READ_SEARCH"), "{}", lines[1]);
    assert!(lines[2].contains("max_user_instances = 128"), "{}", lines[2]);
    assert!(lines.iter().all(|line| line.starts_with("warning: host:")));
}

/// Each client keeps its number then.
#[test]
fn without_the_vault_descriptors_bound_the_slots() {
    let vault = Err("host: Linux 6.8 can".to_owned());
    let lines = lines(&Host { vault, descriptors_max: 17_000, ..host() });
    assert!(lines[1].starts_with("refused: host: RLIMIT_NOFILE = 17000 is below 19840"));
}

#[test]
fn limits_that_cannot_work_are_named_first() {
    let findings = probe(&Limits { conns_max: 0, ..Limits::default() }, &Wishes::default());
    assert_eq!(findings.len(), 1);
    assert!(findings[0].line.starts_with("config: conns_max = 0"), "{}", findings[0]);
}

#[test]
fn capabilities_are_read_from_status() {
    assert!(can_read_by_handle("Name:\tx\nCapEff:\t0000000000000004\n"));
    assert!(!can_read_by_handle("CapEff:\t000001fffffffffb\n"));
    assert!(!can_read_by_handle("CapPrm:\t0000000000000004\n"));
}

/// On this host: the engine's other tests need a ring, so nothing may be refused.
#[test]
fn this_host_is_good_enough_for_a_small_engine() {
    let limits = Limits { slots_max: 16, mailboxes_max: 16, ..Limits::default() };
    let findings = probe(&limits, &Wishes::default());
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning), "{findings:?}");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    assert_eq!(soft, hard, "the soft limit was raised");
}
