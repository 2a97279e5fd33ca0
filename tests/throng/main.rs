//! 50,000 sleepers in one engine, more than it may have descriptors, and by night a million: all
//! get their keepalives, and whoever speaks is answered. The clients are peers without sockets on a
//! TUN device.

#[path = "../../benches/side/binary.rs"]
mod binary;

use torpor::dovecot::raise_open_files;
use torpor::load::pledge::Terms;
use torpor::load::throng::Throng;

#[test]
fn a_throng_sleeps_in_one_engine() {
    if let Some(what) = torpor_load::peer::missing() {
        println!("NOT TESTED: a throng of sleepers. There is no {what}");
        return;
    }
    raise_open_files();
    let asleep = "doze_secs = 0\n";
    if std::env::var_os("TORPOR_NIGHTLY").is_none() {
        return play(asleep, &FIFTY_THOUSAND);
    }
    // One after the other: what the whole machine has in use is looked at.
    play(asleep, &Size { bytes_max: Some(4700.0), ..MILLION });
    play("doze_secs = 0\ndense = true\n", &Size { bytes_max: Some(4500.0), ..MILLION });
}

struct Size {
    clients: u32,
    mailboxes: u32,
    hold_secs: u32,
    keepalive_secs: u32,
    wakes: u32,
    bytes_max: Option<f64>,
}

fn play(lines: &str, size: &Size) {
    let Size { clients, mailboxes, hold_secs, keepalive_secs, wakes, bytes_max } = *size;
    let config = Terms::new(lines, clients, keepalive_secs).expect("a configuration").config;
    let cpu_percent_max = Some(8.0);
    let throng = Throng {
        clients,
        mailboxes,
        hold_secs,
        keepalive_secs,
        wakes,
        config,
        bytes_max,
        cpu_percent_max,
    };
    let binary = binary::release().expect("it builds");
    let figures = throng.play(&binary, |what| println!("{what}"));
    for figure in figures.expect("everybody sleeps and wakes") {
        println!("{:44} {:12.1}", figure.name, figure.value);
        assert!(figure.is_kept(), "{}: {}, not {:?}", figure.name, figure.value, figure.most);
    }
}

const FIFTY_THOUSAND: Size = Size {
    clients: 50_000,
    mailboxes: 500,
    hold_secs: 15,
    keepalive_secs: 10,
    wakes: 2000,
    // Other tests run beside this one.
    bytes_max: None,
};
const MILLION: Size = Size {
    clients: 1_000_000,
    mailboxes: 10_000,
    hold_secs: 600,
    keepalive_secs: 120,
    wakes: 10_000,
    bytes_max: None,
};
