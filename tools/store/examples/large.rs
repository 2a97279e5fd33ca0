//! What a mailbox of many messages costs: `large [MESSAGES]`, 200,000 if nothing is said.
//!
//! Each line is a process of its own that opens the mailbox once: bytes of memory it has more
//! than before, at the end and at its peak.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use torpor_store::{FlagChange, Flags, Home, MailboxName};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [root, stage] = &arguments[..] {
        return measure(Path::new(root), stage);
    }
    let messages: usize = arguments.first().map_or(Ok(200_000), |text| text.parse())?;
    let memory = tempfile::tempdir_in("/dev/shm");
    let root = memory.or_else(|_| tempfile::tempdir())?;
    deliver(root.path(), messages)?;
    println!("{messages} messages");
    for stage in ["import", "open", "look", "store", "reopen", "status"] {
        let status = Command::new(std::env::current_exe()?).arg(root.path()).arg(stage).status()?;
        if !status.success() {
            return Err(stage.into());
        }
    }
    Ok(())
}

/// Many names for one file: the store reads names.
fn deliver(root: &Path, messages: usize) -> Result<(), Box<dyn Error>> {
    Home::open(root)?;
    let file = root.join("tmp/one");
    fs::write(&file, "Subject: one of many\n\n")?;
    for n in 0..messages {
        let name = format!("17{n:08}.M{:06}P4711.mail.example.org,S=22,W=24:2,", n * 7 % 1_000_000);
        fs::hard_link(&file, root.join("cur").join(name))?;
    }
    Ok(())
}

fn measure(root: &Path, stage: &str) -> Result<(), Box<dyn Error>> {
    let home = Home::open(root)?;
    let (before, begin) = (kib("RssAnon:")?, Instant::now());
    let peak_before = kib("VmHWM:")?;
    if stage == "look" {
        // Another program was here, so all names are read again.
        fs::write(root.join("cur/1600000000.other:2,"), "")?;
    }
    let mut mailbox = home.open_mailbox(&MailboxName::inbox())?;
    match stage {
        "store" => {
            let uids: Vec<u32> = mailbox.messages().iter().map(|message| message.uid).collect();
            mailbox.change_flags(&uids, FlagChange::Add, Flags::SEEN, None)?;
        }
        "status" => drop(mailbox.total_size()?),
        _ => {}
    }
    let ms = begin.elapsed().as_millis();
    let (held, peak) = (kib("RssAnon:")? - before, kib("VmHWM:")? - peak_before);
    let each = held * 1024 / mailbox.messages().len().max(1) as u64;
    println!(
        "{stage:>7}: {held:>6} KiB held, {each:>3} bytes a message, {peak:>6} KiB peak, {ms} ms"
    );
    Ok(())
}

/// A line of this process's status.
fn kib(key: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or(key)?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
