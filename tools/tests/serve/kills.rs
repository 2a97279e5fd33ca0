//! The engine is killed again and again under people who read mail: no client is lost, no byte, and
//! nobody is told anything twice.
//!
//! Workers and clients are real (`torpor serve --maildir`), so every kill falls into hibernations,
//! answers given asleep, deliveries and handoffs. Each line that a client may hear has a number
//! of its own: a tag, or the count of its mails; any other line, or one at the wrong time, is a
//! failure.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor::dovecot::{Client, Mailbox, Options};
use torpor::own::Own;

use crate::parts::{eventually, nightly};

/// One who idles and reads his mail.
struct Reader {
    number: u32,
    client: Client,
    mailbox: Mailbox,
    /// Of the IDLE that goes on.
    tag: String,
    delivered: u32,
    told: u32,
    random: u64,
}

impl Reader {
    fn start(own: &Own, number: u32) -> Self {
        let user = Options::user(number);
        let (client, tag) = Client::asleep(own.endpoint(), &user).expect("logged in");
        let (mailbox, random) = (own.mailbox(&user), u64::from(number) << 32 | 0x9E37_79B9);
        Self { number, client, mailbox, tag, delivered: 0, told: 0, random }
    }

    /// Does one thing or another.
    fn act(&mut self) {
        match self.below(5) {
            0 => {
                self.mailbox.deliver(&Mailbox::message("news")).expect("delivered");
                self.delivered += 1;
            }
            1 => self.idle_in_one_breath(),
            2 => self.command(),
            _ => thread::sleep(Duration::from_millis(self.below(700))),
        }
    }

    fn idle_in_one_breath(&mut self) {
        let next = self.client.next_tag();
        let pieces = [b"DO".as_slice(), b"NE\r\n"];
        let last = format!("{next} IDLE\r\n");
        let pause = Duration::from_millis(self.below(3));
        self.client.send_pieces(&[pieces[0], pieces[1], last.as_bytes()], pause).expect("sent");
        self.hear(&format!("{} OK", self.tag));
        self.hear("+ ");
        self.tag = next;
    }

    fn command(&mut self) {
        self.client.send(b"DONE\r\n").expect("sent");
        self.hear(&format!("{} OK", self.tag));
        for command in ["NOOP", "IDLE"] {
            self.tag = self.client.next_tag();
            self.client.send(format!("{} {command}\r\n", self.tag).as_bytes()).expect("sent");
            let answer = if command == "IDLE" { "+ ".into() } else { format!("{} OK", self.tag) };
            self.hear(&answer);
        }
    }

    /// Reads up to a line that begins so; before it there may be news, each once.
    fn hear(&mut self, answer: &str) {
        while let line = self.line()
            && !line.starts_with(answer)
        {
            self.news(&line, answer);
        }
    }

    fn news(&mut self, line: &str, instead_of: &str) {
        let who = self.number;
        let count = line.strip_prefix("* ").and_then(|rest| rest.strip_suffix(" EXISTS"));
        let Some(count) = count.and_then(|count| count.parse::<u32>().ok()) else {
            let is_usual = line.ends_with(" RECENT") || line == "* OK Still here";
            assert!(is_usual, "reader {who}: {line:?} instead of {instead_of:?}");
            return;
        };
        let news = self.told + 1..=self.delivered;
        assert!(news.contains(&count), "reader {who}: told of mail {count}, {news:?} are new");
        self.told = count;
    }

    fn line(&mut self) -> String {
        let line = self.client.line(Duration::from_secs(30));
        let who = self.number;
        line.unwrap_or_else(|error| panic!("reader {who}: {error}"))
            .unwrap_or_else(|| panic!("reader {who} was lost"))
    }

    /// Hears of all mail that there is, and can still give commands.
    fn end(&mut self) {
        while self.told < self.delivered {
            let line = self.line();
            self.news(&line, "news");
        }
        self.command();
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

/// Ends the readers however the test ends, and shows the log if it fails.
struct End<'a> {
    own: &'a Own,
    ends: &'a AtomicBool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if thread::panicking() {
            eprintln!("{}", self.own.log());
        }
    }
}

#[test]
fn kills_in_a_row_lose_nobody_and_nothing() {
    let kills = if nightly() { 100 } else { 10 };
    let config = "hibernate_after_ms = 50\nworkers_max = 100\n[sleep]\ndozers_max = 10\n";
    let own = Own::start(Path::new(env!("CARGO_BIN_EXE_torpor")), READERS, config);
    let own = own.expect("torpor starts");
    let mut readers: Vec<Reader> =
        (1..=READERS).map(|number| Reader::start(&own, number)).collect();
    let ends = AtomicBool::new(false);
    let _shows = End { own: &own, ends: &ends };
    thread::scope(|scope| {
        for reader in &mut readers {
            let ends = &ends;
            scope.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    reader.act();
                }
                reader.end();
            });
        }
        let end = End { own: &own, ends: &ends };
        for number in 0..kills {
            // Every other one hits an heir that has just begun.
            let since_ms = if number % 2 == 0 { 2200 } else { number * 7 % 60 };
            eventually("an engine runs", || !own.pids("engine").is_empty());
            thread::sleep(Duration::from_millis(since_ms));
            for pid in own.pids("engine") {
                // It may have been killed as the last one.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        drop(end);
    });
    let log = own.log();
    let died = log.matches("has ended: signal: 9").count();
    println!("{died} engines killed under {READERS} readers, each heard everything once");
    assert!(died as u64 >= kills / 2 && !log.contains("panicked"), "{log}");
    let stats = own.stats().expect("an answer");
    assert_eq!(stats.counters["lost"], 0, "{log}");
}

const READERS: u32 = 24;
