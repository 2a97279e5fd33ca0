//! SEARCH: what is found of the corpus.

use std::collections::BTreeSet;

use torpor::dovecot::Version;

use super::masks::Masks;
use super::place::Place;
use super::talk::Answer;

#[test]
fn dovecot23_and_the_worker_find_the_same_mails() {
    find_the_same_mails(Version::V23);
}

#[test]
fn dovecot24_and_the_worker_find_the_same_mails() {
    find_the_same_mails(Version::V24);
}

fn find_the_same_mails(version: Version) {
    let mut place = Place::new(version);
    let flags = ["1,3 +FLAGS (\\Seen)", "2:4 +FLAGS (\\Flagged word)", "5 +FLAGS (\\Deleted)"];
    for change in flags {
        place.both(&format!("STORE {change}"));
    }
    let (mut masks, mut differences) = (Masks::new(version), Vec::new());
    for keys in SEARCHES {
        let both = place.both(&format!("SEARCH {keys}"));
        let found = [&both.referee, &both.ours].map(found);
        // Each mail is one answer, so that a mask hides one mail and no other.
        for (number, mail) in (1..).zip(&place.mails) {
            let [referee, ours] = [&found[0], &found[1]].map(|found| found.contains(&number));
            differences.extend(masks.compare(&mail.name, keys, &referee, &ours));
        }
    }
    masks.judge(&differences, &SEARCHES);
}

#[test]
fn dovecot23_and_the_worker_answer_odd_searches_alike() {
    answer_odd_searches_alike(Version::V23);
}

#[test]
fn dovecot24_and_the_worker_answer_odd_searches_alike() {
    answer_odd_searches_alike(Version::V24);
}

fn answer_odd_searches_alike(version: Version) {
    let mut place = Place::new(version);
    for command in [
        "UID SEARCH 1:3",
        "UID SEARCH UID 3:1,7",
        "SEARCH CHARSET X-NONE TEXT a",
        "SEARCH",
        "SEARCH NONSENSE",
        "SEARCH OR 1",
        "SEARCH SINCE Nov-2026",
    ] {
        let both = place.both(command);
        assert_eq!(found(&both.referee), found(&both.ours), "{command}");
    }
}

/// The numbers of `* SEARCH`.
fn found(answer: &Answer) -> BTreeSet<u32> {
    let lines = answer.untagged.iter().filter_map(|line| line.strip_prefix(b"SEARCH"));
    let text: Vec<String> = lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    text.iter().flat_map(|line| line.split(' ')).filter_map(|word| word.parse().ok()).collect()
}

const SEARCHES: [&str; 67] = [
    "ALL",
    "40:60",
    "100",
    "*",
    "UID 3,5:7,1000:*",
    "NOT 3:40",
    "OR 1 OR 2 3",
    "(1:10 NOT (3 OR 5 6))",
    "SEEN",
    "UNSEEN UNFLAGGED",
    "FLAGGED UNSEEN",
    "DELETED",
    "UNDELETED 4:6",
    "ANSWERED",
    "UNANSWERED 1",
    "DRAFT",
    "UNDRAFT 1",
    "KEYWORD word",
    "UNKEYWORD WORD 1:5",
    "KEYWORD none",
    "RECENT 1:3",
    "NEW 1:5",
    "OLD",
    "LARGER 3000",
    "SMALLER 30",
    "LARGER 300 SMALLER 320",
    "BEFORE 2-Nov-2026",
    "ON 2-Nov-2026",
    "SINCE 3-Nov-2026",
    "SENTBEFORE 3-Nov-2026",
    "SENTON 1-Nov-2026",
    "SENTON 2-Nov-2026",
    "SENTSINCE 3-Nov-2026",
    "NOT SENTSINCE 3-Nov-2026",
    "FROM ada",
    "FROM \"Ada Lovelace\"",
    "FROM second",
    "TO c@example.org",
    "CC committee",
    "BCC hidden",
    "SUBJECT \"FOLDED over\"",
    "SUBJECT \"with spaces\"",
    "SUBJECT \"with   spaces\"",
    "HEADER Subject \"with spaces\"",
    "HEADER Subject \"with   spaces\"",
    "SUBJECT \"first subject\"",
    "SUBJECT inner",
    "HEADER X-Empty \"\"",
    "HEADER X-None \"\"",
    "HEADER Message-ID plain",
    "HEADER Content-Type text/html",
    "HEADER References b@example.org",
    "CHARSET UTF-8 SUBJECT gr\u{fc}\u{df}e",
    "CHARSET UTF-8 FROM J\u{dc}RGEN",
    "CHARSET US-ASCII TEXT lovelace",
    "BODY \"\"",
    "BODY umbrochen",
    "BODY \"hidden needle\"",
    "BODY \"level two\"",
    "BODY preamble",
    "BODY epilogue",
    "BODY final-recipient",
    "BODY JVBER",
    "TEXT \"level two\"",
    "TEXT report.pdf",
    "TEXT \"subject: plain\"",
    "OR BODY \"innermost text\" TEXT gunkelnd",
];
