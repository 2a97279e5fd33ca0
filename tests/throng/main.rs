//! 50,000 sleepers in one engine, more than it may have descriptors: all get their keepalives,
//! and whoever speaks is answered. The clients are peers without sockets on a TUN device.

#[path = "../../benches/side"]
mod side {
    pub mod binary;
    pub mod cpu;
    pub mod letter;
    pub mod maildirs;
    pub mod null;
    pub mod peers;
    pub mod pledge;
    pub mod proc;
    pub mod throng;
    pub mod worker;
}

use side::throng::Throng;
use torpor::dovecot::raise_open_files;

#[test]
fn fifty_thousand_sleep_in_one_engine() {
    if let Some(what) = torpor_load::peer::missing() {
        println!("NOT TESTED: 50,000 sleepers. There is no {what}");
        return;
    }
    raise_open_files();
    let throng = Throng {
        clients: 50_000,
        mailboxes: 500,
        hold_secs: 15,
        keepalive_secs: 10,
        wakes: 2000,
        config: "doze_secs = 0".to_owned(),
        // Other tests run beside this one.
        bytes_max: None,
    };
    for figure in throng.play().expect("everybody sleeps and wakes") {
        println!("{:44} {:12.1}", figure.name, figure.value);
        assert!(figure.is_kept(), "{}: {}, not {:?}", figure.name, figure.value, figure.most);
    }
}
