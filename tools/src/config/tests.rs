use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("t.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_defaults_and_they_work() {
    let config = parse("").expect("defaults");
    assert_eq!(config, Config::default());
    assert_eq!(config.limits(config.slots_max(None)).check(), Ok(()));
    assert_eq!(config.knobs(), Knobs::default());
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let mut config = Config::default();
    config.hibernate.mode = 0o622;
    config.sleep.slots_max = Some(1000);
    config.metrics.listen = Some("127.0.0.1:9109".parse().expect("an address"));
    let text = toml::to_string_pretty(&config).expect("TOML");
    assert_eq!(parse(&text), Ok(config));
    assert!(text.contains("mode = \"0622\""), "{text}");
}

#[test]
fn errors_name_file_line_and_key() {
    let cases = [
        ("base_dir = 3\n", "t.toml:1: base_dir: "),
        ("\n[wake]\nworkers = 3\n", "t.toml:3: workers: unknown field `workers`"),
        ("[wake]\nworkers_max = 0\n", "t.toml:2: workers_max: 0 is out of range"),
        ("[sleep]\n\nslots_max = 99999999\n", "t.toml:3: slots_max: 99999999 is out of range"),
        ("[hibernate]\nkeep_awake = \"all\"\n", "t.toml:2: keep_awake: unknown variant `all`"),
        ("[hibernate]\nmode = \"0989\"\n", "t.toml:2: mode: a mode is octal"),
        ("base_dir = \"run\"\n", "t.toml:1: base_dir: run/imap-hibernate must be absolute"),
        ("[wake]\nretry_ms_max = 100\n", "t.toml: retry_ms_min: 200 is out of range"),
        ("[metrics]\nlisten = \"9109\"\n", "t.toml:2: listen: "),
        ("[log\n", "t.toml:1: "),
    ];
    for (text, expected) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(expected), "{text:?} gives {error:?}");
        assert!(!error.contains('\n'), "one line: {error:?}");
    }
}

#[test]
fn sleepers_with_numbers_leave_room_for_everything_else() {
    let config = Config::default();
    assert_eq!(config.slots_max(None), SLOTS_DEFAULT, "descriptors are no bound of theirs");
    assert_eq!(config.slots_max(Some(20_000)), 20_000 - config.files_reserved() as u32);
    assert_eq!(config.slots_max(Some(100)), 0, "the start then says so");
    assert_eq!(config.slots_max(Some(u64::MAX)), SLOTS_DEFAULT);
    assert_eq!(parse("[sleep]\nslots_max = 7").expect("7").slots_max(Some(20_000)), 7);
}

#[test]
fn a_reload_takes_the_knobs_and_names_the_rest() {
    let mut config = Config::default();
    let new = parse("[wake]\nworkers_max = 7\n[log]\nlevel = \"debug\"\n").expect("fine");
    assert_eq!(config.needs_restart(&new), Vec::<&str>::new());
    let text = "[hibernate]\nkeep_awake = \"nobody\"\n[wake]\n\
                handoffs_in_flight_max = 3\nretry_ms_min = 5\n[sleep]\nslots_max = 9\n";
    let other = parse(text).expect("fine");
    assert_eq!(config.needs_restart(&other), ["[sleep]", "[wake]"]);
    config.take_reloadable(&other);
    assert_eq!(config.wake.handoffs_in_flight_max, 64, "fixed at start");
    assert_eq!(config.knobs(), other.knobs());
    assert_eq!(config.knobs().keep_awake, torpor_engine::limits::KeepAwake::Nobody);
}

#[test]
fn engines_share_the_workers() {
    let config = parse("engines = 3\n[wake]\nworkers_max = 8\n").expect("fine");
    let shares = [1, 2, 3].map(|number| config.share(number).wake.workers_max);
    assert_eq!(shares, [3, 3, 2]);
    let few = parse("engines = 3\n[wake]\nworkers_max = 1\n").expect("fine");
    assert_eq!(few.share(3).wake.workers_max, 1, "an engine without workers wakes nobody");
    assert!(parse("engines = 0\n").expect_err("none").starts_with("t.toml:1: engines: 0"));
}
