//! A mailbox with two clients, as the RFCs describe it: one page, no files, no protocol state.
//!
//! It predicts every line of every answer. Between `told` and `truth` lies all that a client has
//! not heard yet; `seen` is what its session has heard from the store.

use std::collections::{BTreeMap, BTreeSet};

/// Flags in Dovecot's order; the bit is the place.
const FLAGS: [&str; 3] = ["\\Flagged", "\\Deleted", "\\Seen"];
const DELETED: u8 = 0b010;

/// What everybody shares.
#[derive(Debug, Default)]
pub struct Model {
    truth: BTreeMap<u32, u8>,
    uid_last: u32,
    /// Delivered, but no session has looked yet: such mail has no UID.
    delivered: u32,
    /// UIDs up to here have been \Recent for somebody.
    claimed: u32,
    /// UIDs of the other mailbox, to which mail is moved.
    other_last: u32,
    pub viewers: [Viewer; 2],
}

/// What one client knows.
#[derive(Debug, Default)]
pub struct Viewer {
    told: Vec<u32>,
    told_last: u32,
    seen: BTreeMap<u32, u8>,
    /// Changed since it was last told of flags.
    dirty: BTreeSet<u32>,
    recent: BTreeSet<u32>,
    recent_told: usize,
}

/// A message set: from, to; `None` is `*`.
pub type Set = (Option<u32>, Option<u32>);

impl Model {
    /// The session looks at the store; new mail gets its UIDs.
    fn refresh(&mut self, who: usize) {
        for _ in 0..std::mem::take(&mut self.delivered) {
            self.arrive(0);
        }
        self.viewers[who].seen = self.truth.clone();
    }

    fn arrive(&mut self, flags: u8) -> u32 {
        self.uid_last += 1;
        self.truth.insert(self.uid_last, flags);
        self.uid_last
    }

    pub fn deliver(&mut self) {
        self.delivered += 1;
    }

    /// Everything that may be told now.
    pub fn sync(&mut self, who: usize, expunges: bool) -> Vec<String> {
        self.refresh(who);
        let viewer = &mut self.viewers[who];
        viewer.recent.extend(self.truth.keys().filter(|uid| **uid > self.claimed));
        self.claimed = self.uid_last;
        let mut lines = Vec::new();
        let mut at = 0;
        while expunges && at < viewer.told.len() {
            if self.truth.contains_key(&viewer.told[at]) {
                at += 1;
            } else {
                viewer.told.remove(at);
                lines.push(format!("* {} EXPUNGE", at + 1));
            }
        }
        let dirty = std::mem::take(&mut viewer.dirty);
        for (sequence, uid) in (1..).zip(&viewer.told) {
            if dirty.contains(uid) && self.truth.contains_key(uid) {
                lines.push(format!("* {sequence} FETCH ({})", viewer.flags(*uid)));
            }
        }
        let arrived: Vec<u32> =
            self.truth.range(viewer.told_last + 1..).map(|(uid, _)| *uid).collect();
        viewer.told_last = self.uid_last;
        if !arrived.is_empty() {
            viewer.told.extend(arrived);
            lines.push(format!("* {} EXISTS", viewer.told.len()));
        }
        let recent = viewer.told.iter().filter(|uid| viewer.recent.contains(uid)).count();
        if std::mem::replace(&mut viewer.recent_told, recent) != recent {
            lines.push(format!("* {recent} RECENT"));
        }
        lines
    }

    /// SELECT, as far as it depends on the messages.
    pub fn select(&mut self, who: usize) -> Vec<String> {
        self.viewers[who] = Viewer::default();
        self.sync(who, true);
        let viewer = &mut self.viewers[who];
        let recent = viewer.told.iter().filter(|uid| viewer.recent.contains(uid)).count();
        vec![
            format!("* {} EXISTS", viewer.told.len()),
            format!("* {recent} RECENT"),
            format!("* OK [UIDNEXT {}] Predicted next UID", self.uid_last + 1),
        ]
    }

    pub fn fetch(&mut self, who: usize, set: Set, by_uid: bool) -> Vec<String> {
        let mut lines = self.sync(who, false);
        let viewer = &self.viewers[who];
        let Some(named) = viewer.resolve(set, by_uid) else { return with(lines, BAD_SET) };
        for uid in named.iter().filter(|uid| viewer.seen.contains_key(uid)) {
            let sequence = viewer.told.binary_search(uid).unwrap() + 1;
            lines.push(format!("* {sequence} FETCH (UID {uid} {})", viewer.flags(*uid)));
        }
        let reply = match named.iter().all(|uid| viewer.seen.contains_key(uid)) {
            true => "OK Fetch completed.",
            false => "OK [EXPUNGEISSUED] Some messages were already expunged.",
        };
        lines.extend(self.sync(who, by_uid));
        with(lines, reply)
    }

    /// `how` is `+`, `-` or nothing.
    pub fn store(
        &mut self,
        who: usize,
        set: Set,
        by_uid: bool,
        wish: (&str, u8, bool),
    ) -> Vec<String> {
        let (how, flags, silent) = wish;
        let Some(named) = self.viewers[who].resolve(set, by_uid) else { return bad_set() };
        let mut lines = self.sync(who, false);
        for uid in &named {
            let Some(old) = self.truth.get_mut(uid) else { continue };
            let new = match how {
                "+" => *old | flags,
                "-" => *old & !flags,
                _ => flags,
            };
            if std::mem::replace(old, new) != new {
                self.viewers[1 - who].dirty.insert(*uid);
            }
        }
        self.refresh(who);
        let viewer = &self.viewers[who];
        for uid in named.iter().filter(|uid| !silent && viewer.seen.contains_key(uid)) {
            let sequence = viewer.told.binary_search(uid).unwrap() + 1;
            let word = if by_uid { format!("UID {uid} ") } else { String::new() };
            lines.push(format!("* {sequence} FETCH ({word}{})", viewer.flags(*uid)));
        }
        let is_complete = named.iter().all(|uid| viewer.seen.contains_key(uid));
        lines.extend(self.sync(who, by_uid));
        with(lines, if is_complete { "OK Store completed." } else { GONE })
    }

    /// Without a set, everything that is \Deleted and known.
    pub fn expunge(&mut self, who: usize, set: Option<Set>) -> Vec<String> {
        self.refresh(who);
        let viewer = &self.viewers[who];
        let all = viewer.told.clone();
        let named = set.map_or(all, |set| viewer.resolve(set, true).unwrap());
        for uid in named {
            if self.truth.get(&uid).is_some_and(|flags| flags & DELETED != 0) {
                self.truth.remove(&uid);
            }
        }
        with(self.sync(who, true), "OK Expunge completed.")
    }

    pub fn append(&mut self, who: usize, flags: u8) -> Vec<String> {
        self.refresh(who);
        let uid = self.arrive(flags);
        with(self.sync(who, true), &format!("OK [APPENDUID {uid}] Append completed."))
    }

    /// COPY into the same mailbox, or MOVE into the other one.
    pub fn copy(&mut self, who: usize, set: Set, remove: bool) -> Vec<String> {
        let Some(named) = self.viewers[who].resolve(set, true) else { return bad_set() };
        self.refresh(who);
        if named.iter().any(|uid| !self.truth.contains_key(uid)) {
            return with(self.sync(who, true), GONE);
        }
        let mut copies = Vec::new();
        for uid in &named {
            if remove {
                self.truth.remove(uid);
                self.other_last += 1;
                copies.push(self.other_last);
            } else {
                let flags = self.truth[uid];
                copies.push(self.arrive(flags));
            }
        }
        let code = format!("[COPYUID {} {}]", ranges(&named), ranges(&copies));
        let told = self.sync(who, true);
        match (remove, named.is_empty()) {
            (_, true) => {
                with(told, if remove { "OK Move completed." } else { "OK Copy completed." })
            }
            (true, false) => {
                let lines = [vec![format!("* OK {code} Moved UIDs.")], told].concat();
                with(lines, "OK Move completed.")
            }
            (false, false) => with(told, &format!("OK {code} Copy completed.")),
        }
    }
}

impl Viewer {
    /// The UIDs that a set names; `None` if a sequence number in it has no message.
    fn resolve(&self, (from, to): Set, by_uid: bool) -> Option<Vec<u32>> {
        let count = self.told.len() as u32;
        let largest = if by_uid { self.told.last().copied().unwrap_or(u32::MAX) } else { count };
        let (from, to) = (from.unwrap_or(largest), to.unwrap_or(largest));
        let (from, to) = (from.min(to), from.max(to));
        match by_uid {
            true => {
                Some(self.told.iter().copied().filter(|uid| (from..=to).contains(uid)).collect())
            }
            false if to > count || count == 0 => None,
            false => Some(self.told[from as usize - 1..to as usize].to_vec()),
        }
    }

    fn flags(&self, uid: u32) -> String {
        let bits = self.seen[&uid];
        let set = (0..).zip(FLAGS).filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| name);
        let recent = self.recent.contains(&uid).then_some("\\Recent");
        format!("FLAGS ({})", set.chain(recent).collect::<Vec<_>>().join(" "))
    }
}

/// `(\Flagged \Seen)`
pub fn flag_list(bits: u8) -> String {
    let set = (0..).zip(FLAGS).filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| name);
    format!("({})", set.collect::<Vec<_>>().join(" "))
}

fn ranges(uids: &[u32]) -> String {
    let runs = uids.chunk_by(|one, two| one + 1 == *two);
    let text = runs.map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}:{}", run[0], run[run.len() - 1]),
    });
    text.collect::<Vec<_>>().join(",")
}

fn with(mut lines: Vec<String>, reply: &str) -> Vec<String> {
    lines.push(reply.to_owned());
    lines
}

fn bad_set() -> Vec<String> {
    vec![BAD_SET.to_owned()]
}

const BAD_SET: &str = "BAD Invalid messageset.";
const GONE: &str = "NO [EXPUNGEISSUED] Some of the requested messages no longer exist.";
