//! Plays one script against one Dovecot.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use torpor::dovecot::{Client, Dovecot, Mailbox, Staged};

use crate::mask::Masks;
use crate::script::{Script, Step};

/// What one run of a script showed: every server line, masked; `--` ends what one step read.
pub struct Played {
    pub lines: Vec<String>,
    /// All bytes of both clients, for the report of a difference.
    pub bytes: String,
}

/// Plays `script` as `user`; `hibernates` says that the sleeping steps are to be checked.
pub fn play(
    script: &Script,
    dovecot: &Dovecot,
    user: &str,
    tls: bool,
    hibernates: bool,
) -> Result<Played, String> {
    let mut stage = Stage {
        dovecot,
        user,
        tls,
        hibernates,
        clients: [None, None],
        other: None,
        lines: [Vec::new(), Vec::new()],
        bytes: String::new(),
    };
    let result = stage.play(script);
    stage.finish();
    match result {
        Ok(()) => Ok(Played { lines: stage.masked(script), bytes: stage.bytes }),
        Err(error) => Err(format!("{}: {error}\n{}", script.name, stage.bytes)),
    }
}

struct Stage<'a> {
    dovecot: &'a Dovecot,
    user: &'a str,
    tls: bool,
    hibernates: bool,
    clients: [Option<Client>; 2],
    other: Option<Client>,
    lines: [Vec<String>; 2],
    bytes: String,
}

impl Stage<'_> {
    fn play(&mut self, script: &Script) -> io::Result<()> {
        for (number, step) in script.steps.iter().enumerate() {
            self.step(step).map_err(|error| {
                io::Error::new(error.kind(), format!("step {}, {step:?}: {error}", number + 1))
            })?;
        }
        self.quiet()
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Send { who, pieces } => {
                let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
                return self.client(*who)?.send_pieces(&pieces, BETWEEN_PIECES);
            }
            Step::Expect { who, prefixes } => {
                let fits = |line: &str| prefixes.iter().any(|prefix| line.starts_with(prefix));
                let client = self.client(*who)?;
                let lines = client.expect_that(&format!("{prefixes:?}"), ANSWER_WITHIN, fits)?;
                self.took(*who, lines);
                return Ok(());
            }
            _ => {}
        }
        match step {
            Step::Asleep => self.asleep(),
            Step::StillAsleep => self.still_asleep(),
            Step::Awake => self.awake(),
            Step::Deliver(count) => self.deliver(*count),
            Step::Other(command) => self.other()?.command(command).map(drop),
            Step::Append(count) => self.append(*count),
            Step::Renumber(name) => self.renumber(name),
            Step::Quiet => self.quiet(),
            Step::HalfClose => self.client(1)?.half_close(),
            Step::Reset => self.take(1).map_or(Ok(()), Client::reset),
            Step::Login => self.client(1).map(drop),
            Step::Closed => self.closed(),
            Step::Pause(time) => {
                thread::sleep(*time);
                Ok(())
            }
            Step::Send { .. } | Step::Expect { .. } => Ok(()),
        }
    }

    fn client(&mut self, who: usize) -> io::Result<&mut Client> {
        let endpoint = self.dovecot.endpoint(self.tls);
        let slot = &mut self.clients[who - 1];
        match slot {
            Some(client) => Ok(client),
            None => Ok(slot.insert(Client::login(endpoint, self.user, "pw")?)),
        }
    }

    fn other(&mut self) -> io::Result<&mut Client> {
        match &mut self.other {
            Some(other) => Ok(other),
            slot => {
                let mut other = Client::login(self.dovecot.endpoint(false), self.user, "pw")?;
                other.command("SELECT INBOX")?;
                Ok(slot.insert(other))
            }
        }
    }

    fn take(&mut self, who: usize) -> Option<Client> {
        let client = self.clients[who - 1].take()?;
        self.bytes += &format!("client {who} of {}:\n{}", self.user, client.transcript());
        Some(client)
    }

    fn took(&mut self, who: usize, lines: Vec<String>) {
        let seen = &mut self.lines[who - 1];
        seen.extend(lines);
        seen.push("--".to_owned());
    }

    /// The other session is a worker of the same user, so it leaves before anybody looks.
    fn asleep(&mut self) -> io::Result<()> {
        self.other = None;
        if !self.hibernates {
            return Ok(());
        }
        let deadline = Instant::now() + ASLEEP_WITHIN;
        let mut absent = 0;
        // A worker that has just begun does not show its user yet, so one look is not enough.
        while absent < 4 {
            let awake = self.dovecot.awake_users().contains(self.user);
            absent = if awake { 0 } else { absent + 1 };
            if Instant::now() > deadline {
                return Err(io::Error::other("it does not fall asleep"));
            }
            thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    fn still_asleep(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(300);
        while self.hibernates && Instant::now() < deadline {
            if self.dovecot.awake_users().contains(self.user) {
                return Err(io::Error::other("a worker came for it"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn awake(&mut self) -> io::Result<()> {
        self.other = None;
        if !self.hibernates {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1800));
        match self.dovecot.awake_users().contains(self.user) {
            true => Ok(()),
            false => Err(io::Error::other("its worker has gone")),
        }
    }

    fn deliver(&mut self, count: u32) -> io::Result<()> {
        let mailbox = self.dovecot.mailbox(self.user);
        let stage = |number| mailbox.stage(&Mailbox::message(&format!("m{number}")));
        let staged: Vec<Staged> = (0..count).map(stage).collect::<io::Result<_>>()?;
        staged.into_iter().try_for_each(Staged::release)
    }

    fn append(&mut self, count: u32) -> io::Result<()> {
        let message = Mailbox::message("appended");
        for _ in 0..count {
            let command = format!("APPEND INBOX {{{}+}}\r\n{message}", message.len());
            self.other()?.command(&command)?;
        }
        Ok(())
    }

    /// The index goes with the number, or Dovecot would put it back.
    fn renumber(&mut self, name: &str) -> io::Result<()> {
        let folder = self.dovecot.mailbox(self.user).path().join(format!(".{name}"));
        for index in ["dovecot.index", "dovecot.index.log", "dovecot.index.cache"] {
            match fs::remove_file(folder.join(index)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // `3 V1795575529 N2 G...`, and a line for each message.
        let list = folder.join("dovecot-uidlist");
        let text = fs::read_to_string(&list)?;
        fs::write(list, text.replacen(" V1", " V2", 1))
    }

    fn quiet(&mut self) -> io::Result<()> {
        for who in [1, 2] {
            let Some(client) = &mut self.clients[who - 1] else { continue };
            let (mut lines, closed) = client.drain(QUIET)?;
            if closed {
                lines.push("closed".to_owned());
            }
            self.took(who, lines);
        }
        Ok(())
    }

    fn closed(&mut self) -> io::Result<()> {
        let (mut lines, closed) = self.client(1)?.drain(ANSWER_WITHIN)?;
        lines.push(if closed { "closed" } else { "open" }.to_owned());
        self.took(1, lines);
        self.take(1);
        if closed { Ok(()) } else { Err(io::Error::other("the server does not close")) }
    }

    fn finish(&mut self) {
        self.take(1);
        self.take(2);
    }

    /// The lines of both clients, the first one's before the second one's.
    fn masked(&self, script: &Script) -> Vec<String> {
        let masks = Masks::new();
        let mut all = Vec::new();
        for lines in &self.lines {
            let mut lines = masks.apply(lines);
            if script.bare {
                lines.iter_mut().for_each(|line| *line = line.replace(" UID MODSEQ", ""));
                lines.iter_mut().for_each(|line| *line = line.replace(" MODSEQ", ""));
            }
            lines.retain(|line| !script.loose.iter().any(|word| line.contains(word)));
            if script.unordered {
                lines.retain(|line| line != "--");
                lines.sort_unstable();
            }
            all.extend(lines);
        }
        all
    }
}

const BETWEEN_PIECES: Duration = Duration::from_millis(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const ASLEEP_WITHIN: Duration = Duration::from_secs(15);
/// A worker that is awake announces a change after half a second.
const QUIET: Duration = Duration::from_millis(900);
