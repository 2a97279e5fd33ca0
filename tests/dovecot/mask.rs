//! What may differ between two runs of one script: times, numbers that a clock made, and news
//! that is none.

use std::collections::BTreeMap;

use regex_lite::{Captures, Regex};

/// The masks, made once.
pub struct Masks {
    rules: Vec<(Regex, &'static str)>,
    fetch: Regex,
    gone: Regex,
}

impl Masks {
    pub fn new() -> Masks {
        let rules = [
            // How long a command ran; a reply given in its sleep does not say.
            (r" \([0-9.]+( \+ [0-9.]+)+ secs\)", ""),
            (r"UIDVALIDITY \d+", "UIDVALIDITY _"),
            (r"APPENDUID \d+", "APPENDUID _"),
            // Index writes of other sessions count too, and fall together or not.
            (r"HIGHESTMODSEQ \d+", "HIGHESTMODSEQ _"),
        ];
        let regex = |text| Regex::new(text).expect("the mask is a regex");
        Masks {
            rules: rules.map(|(text, by)| (regex(text), by)).to_vec(),
            fetch: regex(r"^\* (\d+) FETCH \(((?:FLAGS \([^)]*\)|UID \d+|MODSEQ \(\d+\)| )+)\)$"),
            gone: regex(r"^\* (?:(\d+) EXPUNGE|VANISHED (\d+))$"),
        }
    }

    /// The lines of one client, masked. Every message of the corpus begins without flags, so a
    /// client may take it to have none until it is told otherwise; being told again what one
    /// knows already is no change, and is left out.
    pub fn apply(&self, lines: &[String]) -> Vec<String> {
        let mut known = BTreeMap::new();
        lines.iter().filter_map(|line| self.one(line, &mut known)).collect()
    }

    fn one(&self, line: &str, known: &mut BTreeMap<u32, String>) -> Option<String> {
        let mut line = line.to_owned();
        for (rule, by) in &self.rules {
            line = rule.replace_all(&line, *by).into_owned();
        }
        if let Some(gone) = self.gone.captures(&line) {
            let number = gone.get(1).or(gone.get(2)).map(|number| number.as_str().parse());
            forget(known, number.and_then(Result::ok).unwrap_or(0));
        }
        let Some(fetch) = self.fetch.captures(&line) else { return Some(line) };
        news(&fetch, known)
    }
}

/// A change of flags in one order of words, or nothing when the flags are the known ones.
fn news(fetch: &Captures<'_>, known: &mut BTreeMap<u32, String>) -> Option<String> {
    let number: u32 = fetch[1].parse().ok()?;
    let items = &fetch[2];
    let flags = items.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')'));
    let mut flags: Vec<&str> = flags.map_or("", |(flags, _)| flags).split(' ').collect();
    flags.retain(|flag| !flag.is_empty() && *flag != "\\Recent");
    flags.sort_unstable();
    let flags = flags.join(" ");
    let before = known.insert(number, flags.clone()).unwrap_or_default();
    let also = ["UID", "MODSEQ"].into_iter().filter(|word| items.contains(word));
    let also: String = also.map(|word| format!(" {word}")).collect();
    (before != flags).then(|| format!("* {number} FETCH ({flags}){also}"))
}

/// A message has gone: those above it move down by one.
fn forget(known: &mut BTreeMap<u32, String>, gone: u32) {
    let above = known.split_off(&gone);
    known.extend(above.into_iter().filter(|(number, _)| *number > gone).map(|(n, f)| (n - 1, f)));
}

#[test]
fn times_are_masked_and_words_are_not() {
    let masks = Masks::new();
    let apply = |line: &str| masks.apply(&[line.to_owned()]);
    assert_eq!(apply("a2 OK Idle completed (0.001 + 2.4 secs)."), ["a2 OK Idle completed."]);
    assert_eq!(apply("a2 BAD Idle completed."), ["a2 BAD Idle completed."]);
    let sized = "* 1 FETCH (FLAGS (\\Recent) RFC822.SIZE 3)";
    assert_eq!(apply(sized), [sized]);
}

#[test]
fn known_flags_are_no_news() {
    let lines = [
        "* 1 FETCH (FLAGS (\\Recent))",
        "* 2 FETCH (FLAGS (\\Seen) UID 2 MODSEQ (7))",
        "* 1 EXPUNGE",
        "* 1 FETCH (MODSEQ (8) FLAGS (\\Recent \\Seen))",
        "* 1 FETCH (FLAGS ())",
    ];
    let masked = Masks::new().apply(&lines.map(str::to_owned));
    let news = ["* 2 FETCH (\\Seen) UID MODSEQ", "* 1 EXPUNGE", "* 1 FETCH ()"];
    assert_eq!(masked, news);
}
