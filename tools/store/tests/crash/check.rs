//! What must hold of a home after the script, however that ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use torpor_store::{FlagChange, Flags, Home, Mailbox, MailboxName, StoreError};

use crate::ground::{INBOX, WORK};

/// The script's lines.
pub struct Outcome {
    done: BTreeMap<String, String>,
    failed: BTreeSet<String>,
    is_done: bool,
    was_stopped: bool,
}

impl Outcome {
    pub fn of(said: &str) -> Outcome {
        let mut outcome = Outcome {
            done: BTreeMap::new(),
            failed: BTreeSet::new(),
            is_done: said.ends_with("done\n"),
            was_stopped: said.contains("stopped: "),
        };
        for line in said.lines() {
            if let Some((step, what)) = line.strip_prefix("ok ").and_then(|it| it.split_once(' ')) {
                outcome.done.insert(step.to_owned(), what.to_owned());
            } else if let Some(failed) = line.strip_prefix("failed ") {
                let (step, why) = failed.split_once(": ").expect("a step and its reason");
                // A mailbox that could not be made is missed later.
                let is_missed = why == "there is no such mailbox" && outcome.failures() > 0;
                assert!(why == "no space left for mail" || is_missed, "{line}");
                outcome.failed.insert(step.to_owned());
            }
        }
        outcome
    }

    pub fn is_done(&self) -> bool {
        self.is_done
    }

    pub fn failures(&self) -> usize {
        self.failed.len() + usize::from(self.was_stopped)
    }

    fn did(&self, step: &str) -> bool {
        self.done.contains_key(step)
    }
}

/// A mailbox after the script: UID to content.
struct After {
    mailbox: Mailbox,
    ids: BTreeMap<u32, String>,
}

type Checked = Result<(), String>;

/// Opens the home as the next session does and holds it against what was promised.
pub fn verify(root: &Path, outcome: &Outcome) -> Checked {
    let home = Home::open(root).map_err(|error| format!("home: {error}"))?;
    let mut inbox = After::open(&home, "INBOX")?;
    let mut work = After::open(&home, "Work")?;
    let names: Vec<String> = home.names().map_err(said)?.iter().map(ToString::to_string).collect();
    let others = names.iter().filter(|name| !["INBOX", "Work"].contains(&&***name));
    let others: Vec<After> =
        others.map(|name| After::open(&home, name)).collect::<Result<_, _>>()?;
    nothing_lost(outcome, &[&inbox, &work], &others)?;
    no_uid_reused(outcome, &inbox, &work)?;
    promises_kept(outcome, &inbox, &work)?;
    inbox.work_goes_on(&home, "INBOX")?;
    work.work_goes_on(&home, "Work")
}

/// Every message is somewhere, as often as it should be.
fn nothing_lost(outcome: &Outcome, known: &[&After], others: &[After]) -> Checked {
    let all = known.iter().copied().chain(others).flat_map(|after| after.ids.values());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    all.for_each(|id| *counts.entry(id).or_default() += 1);
    for id in INBOX.into_iter().chain(WORK).chain(["appended", "appended-2"]) {
        let expected = match id {
            "one" | "two" if outcome.did("copy") => 2..=2,
            "one" | "two" if outcome.failed.contains("copy") => 1..=1,
            // A copy that nobody was told of may be there.
            "one" | "two" => 1..=2,
            "four" if outcome.did("expunge") => 0..=0,
            "four" if outcome.did("move") => 0..=1,
            "appended" if outcome.did("append") => 1..=1,
            "appended-2" if outcome.did("append-2") => 1..=1,
            "appended" if outcome.failed.contains("append") => 0..=0,
            "appended" | "appended-2" => 0..=1,
            _ => 1..=1,
        };
        let count = counts.remove(id).unwrap_or(0);
        if !expected.contains(&count) {
            return Err(format!("{id} is there {count} times, not {expected:?}"));
        }
    }
    if counts.is_empty() { Ok(()) } else { Err(format!("unknown messages: {counts:?}")) }
}

/// A UID that was ever told still means the message it meant then, or none.
fn no_uid_reused(outcome: &Outcome, inbox: &After, work: &After) -> Checked {
    let told = |step: &str| outcome.done.get(step).map(String::as_str);
    let mut in_inbox: Vec<(u32, &str)> = (1..).zip(INBOX).collect();
    in_inbox.extend(told("append").map(|uid| (uid.parse().expect("a UID"), "appended")));
    in_inbox.extend(told("back").and_then(|pairs| Some((pair(pairs, 0)?, "five"))));
    let mut in_work: Vec<(u32, &str)> = (1..).zip(WORK).collect();
    in_work.extend(told("copy").and_then(|pairs| Some((pair(pairs, 0)?, "one"))));
    in_work.extend(told("copy").and_then(|pairs| Some((pair(pairs, 1)?, "two"))));
    in_work.extend(told("move").and_then(|pairs| Some((pair(pairs, 0)?, "three"))));
    in_work.extend(told("append-2").map(|uid| (uid.parse().expect("a UID"), "appended-2")));
    for (after, told) in [(inbox, in_inbox), (work, in_work)] {
        for (uid, id) in told {
            // Messages that come and go are there under several UIDs in turn.
            let stays = !["three", "five"].contains(&id);
            if stays && after.ids.iter().any(|(other, there)| there == id && *other != uid) {
                return Err(format!("{id} came back under another UID than {uid}"));
            }
            if after.ids.get(&uid).is_some_and(|there| there != id) {
                return Err(format!("UID {uid} of {id} is now {:?}", after.ids[&uid]));
            }
            if after.mailbox.uid_next() <= uid {
                return Err(format!("UID {uid} of {id} would be given out again"));
            }
        }
    }
    Ok(())
}

/// The UID over there of the nth pair of "[(1, 2), (3, 4)]".
fn pair(pairs: &str, nth: usize) -> Option<u32> {
    let numbers = pairs.split(|byte: char| !byte.is_ascii_digit()).filter(|it| !it.is_empty());
    numbers.skip(1).step_by(2).nth(nth)?.parse().ok()
}

fn promises_kept(outcome: &Outcome, inbox: &After, work: &After) -> Checked {
    let flags = |uid| inbox.mailbox.find(uid).map(|message| message.flags);
    let seen = |uid| flags(uid).is_some_and(|flags| flags.contains(Flags::SEEN));
    let was_read = outcome.did("seen");
    let is_unread = outcome.did("unseen");
    let is_labelled = flags(1).is_some_and(|flags| flags.contains(Flags::of_keyword(0)));
    let (here, there) = (&inbox.ids, &work.ids);
    let five = here.values().any(|id| id == "five");
    let promises = [
        ("1 was made seen", !was_read || seen(1)),
        (
            "2 was made seen",
            !outcome.did("expunge")
                || is_unread
                || !was_read
                || seen(2)
                || !outcome.failed.contains("unseen"),
        ),
        ("2 was made unseen", !is_unread || !seen(2)),
        ("1 was labelled", !outcome.did("keyword") || is_labelled),
        ("3 was moved", !outcome.did("move") || !here.contains_key(&3)),
        ("4 was expunged", !outcome.did("expunge") || !here.contains_key(&4)),
        ("4 is remembered", !outcome.did("expunge") || inbox.has_gone(4)),
        ("3 is remembered", !outcome.did("move") || inbox.has_gone(3)),
        ("5 came back", !outcome.did("back") || five),
        ("the copies are there", !outcome.did("copy") || there.len() >= 3),
    ];
    match promises.iter().find(|(_, holds)| !holds) {
        Some((promise, _)) => Err(format!("{promise}, but that does not hold")),
        None => Ok(()),
    }
}

impl After {
    fn open(home: &Home, name: &str) -> Result<After, String> {
        let parsed = MailboxName::parse(name).map_err(said)?;
        let mailbox = home.open_mailbox(&parsed).map_err(|error| format!("{name}: {error}"))?;
        if let Some(why) = mailbox.rebuilt() {
            return Err(format!("{name} was rebuilt: {why}"));
        }
        let mut ids = BTreeMap::new();
        for message in mailbox.messages() {
            let file = mailbox.open_message(message.uid);
            let bytes = file.and_then(|mut file| file.read());
            let bytes = bytes.map_err(|error| format!("{name} {}: {error}", message.uid))?;
            let text = String::from_utf8(bytes).map_err(|_| "not a text")?;
            let id = text.strip_prefix("id=").map(str::trim_end);
            let id = id.ok_or_else(|| format!("{name} {}: {text:?}", message.uid))?;
            ids.insert(message.uid, id.to_owned());
        }
        Ok(After { mailbox, ids })
    }

    fn has_gone(&self, uid: u32) -> bool {
        self.mailbox.expunged_since(0).iter().any(|range| range.contains(&uid))
    }

    /// The next session can do everything, and the one beside it sees the same.
    fn work_goes_on(&mut self, home: &Home, name: &str) -> Checked {
        let parsed = MailboxName::parse(name).map_err(said)?;
        let mut beside = home.open_mailbox(&parsed).map_err(said)?;
        let mailbox = &mut self.mailbox;
        let before = mailbox.highest_modseq();
        let uids: Vec<u32> = self.ids.keys().copied().collect();
        let next = mailbox.uid_next();
        let uid = mailbox.append(&mut &b"id=probe"[..], 8, Flags::DRAFT, None).map_err(said)?;
        mailbox.change_flags(&uids, FlagChange::Add, Flags::DELETED, None).map_err(said)?;
        let gone = mailbox.expunge(&uids).map_err(said)?;
        mailbox.refresh().map_err(said)?;
        beside.refresh().map_err(said)?;
        let left: Vec<u32> = mailbox.messages().iter().map(|message| message.uid).collect();
        let there: Vec<u32> = beside.messages().iter().map(|message| message.uid).collect();
        let is_good = uid == next
            && gone == uids
            && left == [uid]
            && there == left
            && mailbox.highest_modseq() > before
            && mailbox.highest_modseq() == beside.highest_modseq();
        if is_good { Ok(()) } else { Err(format!("{name}: {gone:?} of {uids:?}, {left:?}")) }
    }
}

fn said(error: StoreError) -> String {
    error.to_string()
}
