//! Changes two mailboxes in every way there is, and says after each step what it did.
//!
//! `script HOME` expects what the crash tests prepare: INBOX with messages 1 to 6 and two that
//! were just delivered, and a mailbox `Work`. Each line is a promise: whatever happens to this
//! process later, it holds. The crash tests kill it at every syscall, and fail its syscalls.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use torpor_store::{FlagChange, Flags, Home, Mailbox, MailboxName, StoreError};

fn main() -> ExitCode {
    let Some(root) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: script HOME");
        return ExitCode::FAILURE;
    };
    match run(&root) {
        Ok(()) => say("done"),
        Err(error) => say(&format!("stopped: {error}")),
    }
    ExitCode::SUCCESS
}

fn run(root: &std::path::Path) -> Result<(), StoreError> {
    let home = Home::open(root)?;
    let name = |text: &str| MailboxName::parse(text);
    let mut inbox = home.open_mailbox(&MailboxName::inbox())?;
    let mut work = home.open_mailbox(&name("Work")?)?;
    step("claim", inbox.claim_recent().map(|uids| format!("{uids:?}")));
    step("append", append(&mut inbox, "id=appended\r\n"));
    step("seen", change(&mut inbox, &[1, 2], FlagChange::Add, Flags::SEEN));
    step("keyword", label(&mut inbox, 1));
    step("copy", inbox.copy(&[1, 2], &mut work, false).map(|uids| format!("{uids:?}")));
    step("move", inbox.copy(&[3], &mut work, true).map(|uids| format!("{uids:?}")));
    step("expunge", inbox.expunge(&[4]).map(|uids| format!("{uids:?}")));
    step("unseen", change(&mut inbox, &[2], FlagChange::Remove, Flags::SEEN));
    step("refresh", inbox.refresh().map(|()| String::new()));
    step("create", home.create(&name("New")?).map(|()| String::new()));
    step("rename", home.rename(&name("New")?, &name("Old")?).map(|()| String::new()));
    let old = home.open_mailbox(&name("Old")?);
    if let Err(error) = old.and_then(|mut old| there_and_back(&mut inbox, &mut old)) {
        step("detour", Err(error));
    } else {
        step("delete", home.delete(&name("Old")?).map(|()| String::new()));
    }
    step("subscribe", home.subscribe(&name("Work")?).map(|()| String::new()));
    step("append-2", append(&mut work, "id=appended-2\r\n"));
    step("close", inbox.refresh().map(|()| inbox.highest_modseq().to_string()));
    Ok(())
}

/// After an error a message may still be there.
fn there_and_back(inbox: &mut Mailbox, old: &mut Mailbox) -> Result<(), StoreError> {
    step("away", Ok(format!("{:?}", inbox.copy(&[5], old, true)?)));
    step("back", Ok(format!("{:?}", old.copy(&[1], inbox, true)?)));
    Ok(())
}

fn append(mailbox: &mut Mailbox, text: &str) -> Result<String, StoreError> {
    let size = text.len() as u64;
    let uid = mailbox.append(&mut text.as_bytes(), size, Flags::FLAGGED, Some(1_000_000))?;
    Ok(uid.to_string())
}

fn change(
    mailbox: &mut Mailbox,
    uids: &[u32],
    how: FlagChange,
    flags: Flags,
) -> Result<String, StoreError> {
    Ok(format!("{:?}", mailbox.change_flags(uids, how, flags, None)?.changed))
}

fn label(mailbox: &mut Mailbox, uid: u32) -> Result<String, StoreError> {
    let keyword = mailbox.keyword("$Label")?.expect("the mailbox has few keywords");
    change(mailbox, &[uid], FlagChange::Add, Flags::of_keyword(keyword))
}

fn step(name: &str, done: Result<String, StoreError>) {
    match done {
        Ok(what) => say(&format!("ok {name} {what}")),
        Err(error) => say(&format!("failed {name}: {error}")),
    }
}

/// One write for each line, so that a line is there whole or not at all.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("somebody reads");
}
