//! Several workers and another program at one mailbox at once, each with a handle of its own.
//!
//! Every worker also keeps what a client would know and brings it up to date by modseq alone: it
//! must always come to the same as the whole list.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use tempfile::TempDir;
use torpor_store::{FlagChange, Flags, Home, Mailbox, MailboxName, Message, StoreError};

/// What is known to all: the content of every UID that anybody ever saw.
type Seen = Mutex<BTreeMap<u32, String>>;

/// A worker with its client's view.
struct Worker {
    mailbox: Mailbox,
    view: BTreeMap<u32, Flags>,
    modseq: u64,
    chance: Chance,
}

impl Worker {
    fn new(home: &Home, seed: u64) -> Worker {
        let mailbox = home.open_mailbox(&MailboxName::inbox()).expect("INBOX");
        Worker { mailbox, view: BTreeMap::new(), modseq: 0, chance: Chance(seed) }
    }

    fn step(&mut self, name: &str) {
        let uids: Vec<u32> = self.mailbox.messages().iter().map(|message| message.uid).collect();
        let uid = uids.get(self.chance.below(uids.len().max(1))).copied().unwrap_or(1);
        let flag = [Flags::SEEN, Flags::FLAGGED, Flags::ANSWERED][self.chance.below(3)];
        let how = [FlagChange::Add, FlagChange::Remove, FlagChange::Replace][self.chance.below(3)];
        let done = match self.chance.below(6) {
            0 => {
                let size = name.len() as u64;
                self.mailbox.append(&mut name.as_bytes(), size, flag, None).map(drop)
            }
            1 if uids.len() > 20 => self.mailbox.expunge(&[uid]).map(drop),
            2 => self.mailbox.claim_recent().map(drop),
            3 => self.mailbox.keyword(&format!("k{}", self.chance.below(5))).map(drop),
            _ => self.mailbox.change_flags(&[uid, uid + 1], how, flag, None).map(drop),
        };
        match done {
            // Other programs that change one name again and again are told from none.
            Ok(()) | Err(StoreError::TooMany { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }

    fn catch_up(&mut self, seen: &Seen) {
        self.mailbox.refresh().expect("a refresh");
        for gone in self.mailbox.expunged_since(self.modseq) {
            self.view.retain(|uid, _| !gone.contains(uid));
        }
        let changed = |message: &&Message| message.modseq > self.modseq;
        let changed: Vec<Message> =
            self.mailbox.messages().iter().filter(changed).copied().collect();
        self.view.extend(changed.iter().map(|message| (message.uid, message.flags)));
        assert!(self.mailbox.highest_modseq() >= self.modseq, "modseqs only grow");
        self.modseq = self.mailbox.highest_modseq();
        let all: BTreeMap<u32, Flags> =
            self.mailbox.messages().iter().map(|message| (message.uid, message.flags)).collect();
        assert_eq!(self.view, all, "what changed since is all that changed");
        for Message { uid, .. } in changed {
            let Ok(mut file) = self.mailbox.open_message(uid) else { continue };
            let text = String::from_utf8(file.read().expect("its bytes")).expect("a text");
            let mut seen = seen.lock().expect("no worker failed");
            let first = seen.entry(uid).or_insert_with(|| text.clone());
            assert_eq!(*first, text, "UID {uid} is one message for ever");
        }
    }
}

/// Another program: delivers, changes flags by renaming, and deletes what it delivered.
fn other_program(root: &Path, steps: u32) {
    let mut chance = Chance(99);
    for n in 0..steps {
        let tmp = root.join(format!("tmp/other{n}"));
        fs::write(&tmp, format!("other {n}")).expect("a file in tmp/");
        fs::rename(&tmp, root.join(format!("new/15000{n:05}.other"))).expect("a delivery");
        let files: Vec<PathBuf> =
            fs::read_dir(root.join("cur")).expect("cur/").flatten().map(|it| it.path()).collect();
        let Some(file) = files.get(chance.below(files.len().max(1))) else { continue };
        let name = file.to_str().expect("a text");
        let (base, letters) = name.split_once(":2,").expect("a name with letters");
        let others = if letters.contains('D') { "S" } else { "DF" };
        // A worker may be faster, then there is nothing to do.
        let _ = match chance.below(4) {
            0 if name.contains(".other") => fs::remove_file(file),
            _ => fs::rename(file, format!("{base}:2,{others}")),
        };
    }
}

#[test]
fn workers_and_other_programs_at_one_mailbox_agree() {
    let root = folder();
    let home = Home::open(root.path()).expect("a home");
    let seen = Seen::default();
    thread::scope(|scope| {
        for seed in 1..=WORKERS {
            let (home, seen) = (&home, &seen);
            scope.spawn(move || {
                let mut worker = Worker::new(home, seed);
                for n in 0..STEPS {
                    worker.step(&format!("worker {seed} {n}"));
                    worker.catch_up(seen);
                }
            });
        }
        scope.spawn(|| other_program(root.path(), STEPS));
    });
    let mut last: Vec<Worker> = (0..2).map(|seed| Worker::new(&home, seed)).collect();
    last.iter_mut().for_each(|worker| worker.catch_up(&seen));
    assert_eq!(last[0].view, last[1].view);
    let seen = seen.into_inner().expect("no worker failed");
    let mut texts: Vec<&String> = seen.values().collect();
    texts.sort();
    let pairs = texts.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(pairs, None, "a message has one UID for ever");
    let files = ["new", "cur"].map(|place| fs::read_dir(root.path().join(place)).unwrap().count());
    assert_eq!(files.iter().sum::<usize>(), last[0].view.len(), "every file is a message");
}

#[test]
fn messages_that_many_move_to_and_fro_are_neither_lost_nor_doubled() {
    let root = folder();
    let home = Home::open(root.path()).expect("a home");
    let names = [MailboxName::inbox(), MailboxName::parse("Work").expect("a name")];
    home.create(&names[1]).expect("a new mailbox");
    let open = || names.each_ref().map(|name| home.open_mailbox(name).expect("a mailbox"));
    for n in 0..MOVED {
        let text = n.to_string();
        let size = text.len() as u64;
        let [inbox, _] = &mut open();
        inbox.append(&mut text.as_bytes(), size, Flags::default(), None).expect("an append");
    }
    thread::scope(|scope| {
        for seed in 1..=WORKERS {
            let (open, mut chance) = (&open, Chance(seed));
            scope.spawn(move || {
                let [mut inbox, mut work] = open();
                for _ in 0..STEPS {
                    let (from, to) = match chance.below(2) {
                        0 => (&mut inbox, &mut work),
                        _ => (&mut work, &mut inbox),
                    };
                    from.refresh().expect("a refresh");
                    let half = |message: &&Message| message.uid.is_multiple_of(2);
                    let uids: Vec<u32> =
                        from.messages().iter().filter(half).map(|message| message.uid).collect();
                    from.copy(&uids, to, true).expect("a move");
                }
            });
        }
    });
    let mut texts: Vec<u32> = Vec::new();
    for mailbox in &open() {
        for message in mailbox.messages() {
            let read = mailbox.open_message(message.uid).expect("a message").read();
            let text = String::from_utf8(read.expect("its bytes")).expect("a text");
            texts.push(text.parse().expect("a number"));
        }
    }
    texts.sort_unstable();
    assert_eq!(texts, (0..MOVED).collect::<Vec<_>>());
}

/// In memory where there is such a place: nothing here waits for a disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// A small generator (linear congruential): the same choices in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % bound
    }
}

const WORKERS: u64 = 4;
const STEPS: u32 = 150;
const MOVED: u32 = 30;
