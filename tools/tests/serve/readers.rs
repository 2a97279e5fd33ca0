//! People who read mail, at a torpor that is disturbed meanwhile, and hear every disturbance.
//!
//! Each line that one may hear has a number of its own: a tag, or the count of his mails; any other
//! line, or one at the wrong time, is a failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use torpor::dovecot::{Client, Mailbox, Options};
use torpor::own::Own;

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

/// People read until `work` is done, and everybody has heard of everything.
pub fn read_under(own: &Own, work: impl FnOnce()) {
    let mut readers: Vec<Reader> = (1..=READERS).map(|number| Reader::start(own, number)).collect();
    let ends = AtomicBool::new(false);
    let _shows = End { own, ends: &ends };
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
        let end = End { own, ends: &ends };
        work();
        drop(end);
    });
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

/// How many.
pub const READERS: u32 = 24;
