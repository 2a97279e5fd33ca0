//! A small IMAP server whose users each have a habit, known by their number.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

/// What the server does to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Good,
    /// NO to LOGIN.
    Refuses,
    /// Closes at LOGIN.
    Closes,
    /// Never answers LOGIN.
    IgnoresLogin,
    /// Resets the connection at DONE.
    Resets,
    /// BYE at DONE.
    SaysBye,
    /// Never answers DONE.
    IgnoresDone,
    /// Answers DONE with another tag.
    WrongTag,
    /// Never tells of mail.
    HidesMail,
    /// Says something that is not IMAP at DONE.
    Babbles,
}

/// A running server. It ends with the test's process.
pub struct Server {
    pub address: SocketAddr,
}

type Idlers = Arc<Mutex<HashMap<u32, Vec<TcpStream>>>>;

impl Server {
    /// Starts it; `habits[number % habits.len()]` is that of user `uNUMBER`.
    pub fn start(habits: &'static [Habit]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let idlers = Idlers::default();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let idlers = Arc::clone(&idlers);
                let stream = stream.expect("a connection");
                let session = Session { stream, idlers, habits, user: 0, idle_tag: String::new() };
                std::thread::spawn(|| session.serve());
            }
        });
        Self { address }
    }
}

struct Session {
    stream: TcpStream,
    idlers: Idlers,
    habits: &'static [Habit],
    user: u32,
    idle_tag: String,
}

impl Session {
    fn serve(mut self) {
        let mut lines = BufReader::new(self.stream.try_clone().expect("a second handle"));
        self.say("* OK ready");
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            line.clear();
            match words[..] {
                [tag, "LOGIN", user, _] => {
                    let digits = user.trim_matches(['"', 'u']);
                    self.user = digits.parse().expect("users are u1, u2, ...");
                    match self.habit() {
                        Habit::Refuses => self.say(&format!("{tag} NO go away")),
                        Habit::Closes => return,
                        Habit::IgnoresLogin => {}
                        _ => self.say(&format!("{tag} OK in")),
                    }
                }
                [tag, "SELECT", _] => {
                    self.say(&format!(
                        "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n{tag} OK selected"
                    ));
                }
                [tag, "IDLE"] => {
                    self.idle_tag = tag.to_owned();
                    let stream = self.stream.try_clone().expect("a second handle");
                    self.idlers.lock().expect("whole").entry(self.user).or_default().push(stream);
                    self.say("+ idling");
                }
                ["DONE"] if !self.done() => return,
                ["DONE"] => {}
                [tag, "CAPABILITY"] => {
                    let names = " X".repeat(120);
                    self.say(&format!("* CAPABILITY IMAP4rev1{names}\r\n{tag} OK ok"));
                }
                [tag, "APPEND", _, size] => {
                    self.say("+ go on");
                    let size = size.trim_matches(['{', '}']).parse::<u64>().expect("a size") + 2;
                    let mail = std::io::copy(&mut (&mut lines).take(size), &mut std::io::sink());
                    mail.expect("a mail");
                    self.tell_of_mail();
                    self.say(&format!("{tag} OK saved"));
                }
                [_, "LOGOUT"] => return,
                ref other => panic!("a client says {other:?}"),
            }
        }
    }

    /// False when that was the end.
    fn done(&mut self) -> bool {
        self.idlers.lock().expect("whole").remove(&self.user);
        let tag = self.idle_tag.clone();
        match self.habit() {
            Habit::Resets => {
                let now = linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&self.stream, sockopt::Linger, &now).expect("a socket");
                return false;
            }
            Habit::SaysBye => {
                self.say("* BYE enough");
                return false;
            }
            Habit::IgnoresDone => {}
            Habit::WrongTag => self.say("z99 OK done"),
            Habit::Babbles => self.say("\u{1}\u{2}"),
            _ => self.say(&format!("{tag} OK done")),
        }
        true
    }

    fn tell_of_mail(&self) {
        if self.habit() == Habit::HidesMail {
            return;
        }
        let mut idlers = self.idlers.lock().expect("whole");
        for stream in idlers.get_mut(&self.user).into_iter().flatten() {
            // Whoever has gone is not told.
            let _ = stream.write_all(b"* 1 EXISTS\r\n");
        }
    }

    fn habit(&self) -> Habit {
        self.habits[self.user as usize % self.habits.len()]
    }

    fn say(&mut self, line: &str) {
        // Slow clients are waited for, those that have gone are not.
        let _ = self.stream.set_write_timeout(Some(Duration::from_secs(30)));
        let _ = self.stream.write_all(format!("{line}\r\n").as_bytes());
    }
}
