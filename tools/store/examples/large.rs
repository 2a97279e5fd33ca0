//! What large things cost: `large [MESSAGES]` (200,000 if nothing is said), then many mailboxes,
//! then one large message.
//!
//! Each stage of the large mailbox is a process of its own that opens it once: bytes of memory
//! that it has more than before, at the end and at its peak.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
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
    folders(root.path())?;
    mail(root.path())
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

fn folders(root: &Path) -> Result<(), Box<dyn Error>> {
    let (home, begin) = (Home::open(&root.join("folders"))?, Instant::now());
    for n in 0..FOLDERS {
        home.create(&MailboxName::parse(&format!("list.{n}"))?)?;
    }
    let (created, begin) = (begin.elapsed(), Instant::now());
    let names = home.names()?;
    let (listed, begin) = (begin.elapsed(), Instant::now());
    let status = |name| home.status(name).map(|status| status.uid_validity);
    let validities: BTreeSet<u32> = names.iter().map(status).collect::<Result<_, _>>()?;
    let looked = begin.elapsed();
    assert_eq!((names.len(), validities.len()), (FOLDERS + 1, FOLDERS + 1), "INBOX and the rest");
    println!(
        "{FOLDERS} folders: {created:.1?} to make, {listed:.1?} to list, {looked:.1?} to open"
    );
    Ok(())
}

fn mail(root: &Path) -> Result<(), Box<dyn Error>> {
    let home = Home::open(&root.join("mail"))?;
    let mut inbox = home.open_mailbox(&MailboxName::inbox())?;
    let (body, begin) = (b"A line of text.\r\n".repeat(MAIL_BYTES / 17), Instant::now());
    let uid = inbox.append(&mut &body[..], body.len() as u64, Flags::default(), None)?;
    let (stored, begin) = (begin.elapsed(), Instant::now());
    let read = inbox.open_message(uid)?.read()?;
    assert_eq!(read.len(), body.len());
    println!("{MAIL_BYTES} bytes: {stored:.1?} to store, {:.1?} to read", begin.elapsed());
    Ok(())
}

fn measure(root: &Path, stage: &str) -> Result<(), Box<dyn Error>> {
    let home = Home::open(root)?;
    let (before, begin) = (kib("RssAnon:")?, cpu_ms()?);
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
    let ms = cpu_ms()? - begin;
    let (held, peak) = (kib("RssAnon:")? - before, kib("VmHWM:")? - peak_before);
    let each = held * 1024 / mailbox.messages().len().max(1) as u64;
    println!(
        "{stage:>7}: {held:>6} KiB held, {each:>3} bytes a message, {peak:>6} KiB peak, \
         {ms} ms of CPU"
    );
    Ok(())
}

/// What this process has used: unlike the clock it does not depend on who else is busy.
fn cpu_ms() -> Result<i64, Box<dyn Error>> {
    let used = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((used.user_time() + used.system_time()).num_milliseconds())
}

/// A line of this process's status.
fn kib(key: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or(key)?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

const FOLDERS: usize = 1000;
const MAIL_BYTES: usize = 25 * 1024 * 1024;
