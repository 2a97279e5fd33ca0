//! One upgrade after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use torpor::dovecot::{Client, Options};
use torpor::own::Own;

use super::programs::{Programs, TORPOR, upgrade};
use crate::parts::nightly;
use crate::readers::{READERS, read_under};

/// Under people who read mail, some of them to a program that fails.
#[test]
fn upgrades_in_a_row_lose_nobody_and_nothing() {
    let (upgrades, one_fails_in) = if nightly() { (200, 4) } else { (5, 3) };
    let config = "hibernate_after_ms = 50\nworkers_max = 100\n[sleep]\ndozers_max = 10\n";
    let own = Own::start(TORPOR.as_ref(), READERS + 1, config).expect("torpor starts");
    let programs = Programs::new();
    let good = [programs.copy("one"), programs.copy("other")];
    let bad = [
        programs.script("dies", "engine*) exit 3;;"),
        programs.script("refuses", "*--rehearse*) exit 1;;"),
        programs.script("dies late", "engine*) sleep 0.2; exit 3;;"),
    ];
    let mut failed = 0;
    read_under(&own, || {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let user = Options::user(READERS + 1);
                    Client::asleep(own.endpoint(), &user).expect("whoever comes can log in");
                }
            });
            let _over = Over(&is_over);
            for number in 0..upgrades {
                thread::sleep(Duration::from_millis(200 + number * 137 % 400));
                let fails = number % one_fails_in == 1;
                // What has succeeded last is what runs.
                let done = number as usize - failed;
                let file = if fails { &bad[failed % bad.len()] } else { &good[done % 2] };
                failed += usize::from(fails);
                let output = upgrade(file, ["--maildir".as_ref(), &own.maildir()]);
                let said = [output.stdout, output.stderr];
                let said = said.map(|text| String::from_utf8(text).expect("text"));
                assert_eq!(output.status.success(), !fails, "upgrade {number}: {said:?}");
            }
        });
    });
    let log = own.log();
    println!(
        "{upgrades} upgrades under {READERS} readers, {failed} of them to a program that failed, \
         each heard everything once"
    );
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(log.matches("upgraded from").count(), upgrades as usize - failed, "{log}");
    let stats = own.stats().expect("an answer");
    assert_eq!(stats.counters["lost"], 0, "{log}");
}

/// Ends who logs in however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
