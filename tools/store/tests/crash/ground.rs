//! The home that the script begins with, made once and copied for each run.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use torpor_store::{FlagChange, Flags, Home, MailboxName};

pub struct Ground {
    home: TempDir,
}

/// Contents of INBOX by UID, from 1 on; the last two were delivered by another program.
pub const INBOX: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
/// Contents of Work by UID.
pub const WORK: [&str; 1] = ["worked"];

impl Ground {
    pub fn new() -> Ground {
        let root = folder();
        let home = Home::open(root.path()).expect("a home");
        let work = MailboxName::parse("Work").expect("a name");
        home.create(&work).expect("a new mailbox");
        for id in WORK {
            append(&home, &work, id);
        }
        for id in &INBOX[..6] {
            append(&home, &MailboxName::inbox(), id);
        }
        for (n, id) in INBOX[6..].iter().enumerate() {
            let path = root.path().join(format!("new/400000000{n}.host"));
            fs::write(path, format!("id={id}\n")).expect("a delivery");
        }
        drop(home.open_mailbox(&MailboxName::inbox()).expect("INBOX"));
        Ground { home: root }
    }

    pub fn index_bytes(&self) -> u64 {
        fs::metadata(self.home.path().join("torpor.index")).expect("the index").len()
    }

    /// Makes the log of INBOX so long that the script's changes have it rewritten.
    pub fn grow(&mut self) {
        let home = Home::open(self.home.path()).expect("a home");
        let mut inbox = home.open_mailbox(&MailboxName::inbox()).expect("INBOX");
        let mut how = FlagChange::Add;
        while self.index_bytes() < REWRITE_BYTES - 150 {
            inbox.change_flags(&[6], how, Flags::SEEN, None).expect("a change");
            how = if how == FlagChange::Add { FlagChange::Remove } else { FlagChange::Add };
        }
    }

    /// A home of its own, with the times of the files.
    pub fn copy(&self) -> TempDir {
        let copy = folder();
        let mut source = self.home.path().as_os_str().to_owned();
        source.push("/.");
        let copied = Command::new("cp").arg("-a").arg(source).arg(copy.path()).status();
        assert!(copied.expect("cp runs").success());
        copy
    }
}

/// In memory where there is such a place: what survives a kill does not depend on the disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn append(home: &Home, to: &MailboxName, id: &str) {
    let body = format!("id={id}\r\n");
    let mut mailbox = home.open_mailbox(to).expect("a mailbox");
    let size = body.len() as u64;
    mailbox.append(&mut body.as_bytes(), size, Flags::default(), None).expect("an append");
}

/// When an index that began empty is rewritten.
const REWRITE_BYTES: u64 = 256 * 1024 + 2 * 96;
