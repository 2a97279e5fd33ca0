//! Two clients on one mailbox: what each hears, and when, must be what Dovecot's would hear.
//!
//! Each script is played to both servers on mailboxes of their own. Compared are the tagged word
//! and its code, and the untagged lines but for numbers that are each server's own (UIDVALIDITY,
//! MODSEQ) and for texts that are for people.

use std::net::TcpStream;

use tempfile::TempDir;
use torpor::dovecot::{Dovecot, Options as DovecotOptions, Version};

use super::corpus::{Mail, deliver};
use super::place::worker;
use super::talk::{Answer, Talk};

/// Two clients of each server, with four small mails in INBOX.
struct Scene {
    referee: [Talk; 2],
    ours: [Talk; 2],
    _dovecot: Dovecot,
    _home: TempDir,
}

impl Scene {
    fn new(version: Version) -> Scene {
        let mails: Vec<Mail> = (1..=4)
            .map(|number| Mail {
                name: number.to_string(),
                bytes: format!("Subject: {number}\r\n\r\nx\r\n").into_bytes(),
            })
            .collect();
        let options = DovecotOptions { hibernate_timeout_secs: 0, ..DovecotOptions::new(version) };
        let dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
        let user = DovecotOptions::user(1);
        let maildir = dovecot.mailbox(&user).path().to_owned();
        let above = maildir.parent().expect("a home");
        std::fs::create_dir_all(above).expect("a home can be made");
        std::os::unix::fs::chown(above, Some(options.mail_uid), None).expect("run as root");
        deliver(&mails, &maildir, options.mail_uid);
        let home = tempfile::tempdir().expect("a temporary folder");
        deliver(&mails, home.path(), 0);
        let address = dovecot.endpoint(false).address;
        let referee = [(), ()].map(|()| {
            let mut talk = Talk::over(TcpStream::connect(address).expect("Dovecot listens"));
            talk.command(&format!("LOGIN {user} pw"));
            talk
        });
        let ours = [(), ()].map(|()| {
            let mut talk = worker(&home);
            talk.command("NOOP");
            talk
        });
        Scene { referee, ours, _dovecot: dovecot, _home: home }
    }

    /// Plays a script of clients and their commands; the differences.
    fn play(mut self, script: &[(usize, &str)]) -> Vec<String> {
        let mut differences = Vec::new();
        for (who, command) in script {
            let referee = heard(&self.referee[*who].command(command));
            let ours = heard(&self.ours[*who].command(command));
            if referee != ours {
                differences
                    .push(format!("{who} {command}\n  Dovecot {referee:?}\n  worker  {ours:?}"));
            }
        }
        differences
    }
}

/// An answer without what is each server's own.
fn heard(answer: &Answer) -> Vec<String> {
    let mut gone = Vec::new();
    let mut lines = Vec::new();
    for line in &answer.untagged {
        let line = String::from_utf8_lossy(line);
        match line.strip_suffix(" EXPUNGE") {
            Some(number) => gone.push(number.parse::<usize>().expect("a sequence number")),
            // Told by SELECT always, or only to who has CONDSTORE on.
            None if line.starts_with("OK [HIGHESTMODSEQ") => {}
            None => lines.push(neutral(&line)),
        }
    }
    // From the first to the last or the other way round: what counts is which messages go.
    let mut left: Vec<usize> = (1..=1000).collect();
    let mut went: Vec<usize> = gone.iter().map(|number| left.remove(*number - 1)).collect();
    went.sort_unstable();
    lines.extend(went.iter().map(|number| format!("gone {number}")));
    lines.sort();
    lines.push(neutral(&answer.tagged));
    lines
}

/// A line as the set of its words: neither flags nor items have an order. Texts for people are left
/// out, and so are UIDVALIDITY and modseqs.
fn neutral(line: &str) -> String {
    let status = ["OK", "NO", "BAD"].into_iter().find(|word| line.starts_with(word));
    let line = match (status, line.split_once("] ")) {
        (Some("NO"), Some((code, _))) if !SHARED_CODES.iter().any(|known| code.contains(known)) => {
            "NO"
        }
        (Some(_), Some((code, _))) => code,
        (Some(status), None) => status,
        (None, _) => line,
    };
    let text = line.replace(['(', ')', '[', ']'], " ");
    let mut words: Vec<&str> = text.split_whitespace().collect();
    for at in 1..words.len() {
        if OWN_NUMBERS.contains(&words[at - 1]) {
            words[at] = "#";
        }
    }
    words.sort_unstable();
    words.join(" ")
}

/// Codes of NO that both have; those of RFC 5530 are a choice.
const SHARED_CODES: [&str; 2] = ["TRYCREATE", "EXPUNGEISSUED"];
const OWN_NUMBERS: [&str; 5] = ["APPENDUID", "COPYUID", "HIGHESTMODSEQ", "MODSEQ", "UIDVALIDITY"];

const SCRIPTS: &[&[(usize, &str)]] = &[
    &[
        (0, "SELECT INBOX"),
        (1, "EXAMINE INBOX"),
        (0, "STORE 1 +FLAGS (\\Seen)"),
        (1, "NOOP"),
        (0, "STORE 1:2 +FLAGS.SILENT (\\Deleted)"),
        (0, "NOOP"),
        (1, "FETCH 1:4 (FLAGS)"),
        (0, "EXPUNGE"),
        (1, "FETCH 3 (UID)"),
        (1, "UID FETCH 3 (FLAGS)"),
        (1, "FETCH 3 (UID)"),
        (0, "STORE 0 +FLAGS (\\Seen)"),
        (0, "STORE 9 +FLAGS (\\Seen)"),
        (0, "UID STORE 99 +FLAGS (\\Seen)"),
        (0, "CLOSE"),
        (0, "CLOSE"),
        (0, "SELECT nowhere"),
        (0, "SELECT INBOX"),
        (0, "SELECT INBOX"),
        (0, "UNSELECT"),
    ],
    &[
        (0, "CREATE X.Y.Z"),
        (0, "LIST \"\" *"),
        (0, "LIST \"\" X.*"),
        (0, "LIST \"\" %"),
        (0, "DELETE X.Y.Z"),
        (0, "CREATE A.B"),
        (0, "CREATE A.B"),
        (0, "CREATE A"),
        (0, "CREATE INBOX"),
        (0, "LIST \"\" *"),
        (0, "LIST \"\" %"),
        (0, "LIST A. %"),
        (0, "LIST \"\" \"\""),
        (0, "SUBSCRIBE A.B"),
        (0, "LSUB \"\" *"),
        (0, "LSUB \"\" %"),
        (0, "UNSUBSCRIBE A.B"),
        (0, "RENAME A C"),
        (0, "RENAME nowhere D"),
        (0, "RENAME C INBOX"),
        (0, "LIST \"\" *"),
        (0, "DELETE C"),
        (0, "LIST \"\" C.*"),
        (0, "DELETE C"),
        (0, "DELETE INBOX"),
        (0, "STATUS INBOX (MESSAGES UIDNEXT UNSEEN RECENT)"),
        (0, "STATUS nowhere (MESSAGES)"),
        (0, "CREATE \"a/b\""),
        (0, "SELECT \"a..b\""),
    ],
    &[
        (0, "CREATE T"),
        (0, "SELECT INBOX"),
        (1, "SELECT INBOX"),
        (0, "COPY 1,3 T"),
        (0, "COPY 2 nowhere"),
        (0, "UID COPY 99 T"),
        (0, "MOVE 2 T"),
        (0, "UID MOVE 99 T"),
        (1, "COPY 1:4 T"),
        (1, "MOVE 2 T"),
        (1, "NOOP"),
        (0, "APPEND INBOX (\\Seen) {5+}\r\nhello"),
        (1, "NOOP"),
        (0, "COPY 1 INBOX"),
        (0, "STORE 1 FLAGS (\\Deleted kw)"),
        (1, "NOOP"),
        (1, "UID EXPUNGE 2"),
        (1, "UID EXPUNGE 1"),
        (0, "STATUS T (MESSAGES UIDNEXT)"),
        (0, "STORE 1 +FLAGS (\\Recent)"),
        (0, "STORE 1 +FLAGS (\\Nonsense)"),
    ],
    &[
        (0, "ENABLE CONDSTORE"),
        (1, "ENABLE QRESYNC"),
        (0, "SELECT INBOX"),
        (1, "SELECT INBOX"),
        (0, "STORE 1 +FLAGS (\\Seen)"),
        (0, "STORE 2 +FLAGS.SILENT (\\Seen)"),
        (1, "NOOP"),
        (0, "STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Flagged)"),
        (0, "STORE 1:2 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Draft)"),
        (0, "STORE 3:4 +FLAGS.SILENT (\\Deleted)"),
        (0, "EXPUNGE"),
        (1, "NOOP"),
        (1, "STORE 1 +FLAGS.SILENT (\\Deleted)"),
        (1, "EXPUNGE"),
        (0, "NOOP"),
        (0, "FETCH 1:* (FLAGS) (CHANGEDSINCE 1)"),
        (1, "CLOSE"),
        (1, "SELECT INBOX (QRESYNC (1 1))"),
    ],
];

fn compare(version: Version) {
    let differences: Vec<String> =
        SCRIPTS.iter().flat_map(|script| Scene::new(version).play(script)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn two_clients_hear_what_dovecots_would() {
    compare(Version::V23);
}

#[test]
fn two_clients_hear_what_dovecots_would_on_dovecot24() {
    compare(Version::V24);
}
