//! Where the RFCs leave a choice that Dovecot and the worker make differently.

use std::collections::BTreeSet;

use torpor::dovecot::Version;

use super::value::Value;

/// A choice that is made differently, and what is therefore not compared.
struct Choice {
    why: &'static str,
    /// The Dovecots that choose so.
    versions: &'static [Version],
    /// Names of mails with an item of FETCH or the keys of a SEARCH.
    masks: &'static [(&'static str, &'static str)],
}

/// Compares, and notes which masks have hidden something.
pub struct Masks {
    version: Version,
    used: BTreeSet<(&'static str, &'static str)>,
    compared: usize,
}

impl Masks {
    pub fn new(version: Version) -> Masks {
        Masks { version, used: BTreeSet::new(), compared: 0 }
    }

    /// A difference that no mask hides, as a text.
    pub fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        mail: &str,
        item: &str,
        referee: &T,
        ours: &T,
    ) -> Option<String> {
        self.compared += 1;
        if referee == ours {
            return None;
        }
        match self.masks().find(|(_, mask)| *mask == (mail, item)) {
            Some((_, mask)) => {
                self.used.insert(mask);
                None
            }
            None => Some(format!("{mail}: {item}\n  Dovecot {referee:?}\n  worker  {ours:?}")),
        }
    }

    /// Fails with the differences, and with masks of these items that hide nothing.
    pub fn judge(self, differences: &[String], items: &[&str]) {
        println!("{} answers compared, {} masked", self.compared, self.used.len());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        for (why, mask) in self.masks().filter(|(_, mask)| items.contains(&mask.1)) {
            assert!(self.used.contains(&mask), "this mask hides nothing: {mask:?}: {why}");
        }
    }

    fn masks(&self) -> impl Iterator<Item = (&'static str, (&'static str, &'static str))> + use<> {
        let version = self.version;
        let choices = CHOICES.iter().filter(move |choice| choice.versions.contains(&version));
        choices.flat_map(|choice| choice.masks.iter().map(|mask| (choice.why, *mask)))
    }
}

/// The value of an item in the one form that its RFC makes equal to others.
pub fn meaning(item: &str, value: Value) -> Value {
    match (item, value) {
        // Flags have no order, and no case (RFC 3501 section 2.3.2).
        ("FLAGS", Value::List(flags)) => {
            let mut names: Vec<String> =
                flags.iter().map(|flag| format!("{flag:?}").to_ascii_uppercase()).collect();
            names.sort();
            Value::List(names.into_iter().map(Value::Atom).collect())
        }
        // A day below ten is written with a space or a zero (date-day-fixed).
        ("INTERNALDATE", Value::Text(date)) => Value::Text(
            String::from_utf8_lossy(&date).replacen(' ', "0", usize::from(date[0] == b' ')).into(),
        ),
        // Types have no case (RFC 2045 section 5.1); imap-codec writes these three in capitals.
        ("BODY" | "BODYSTRUCTURE", value) => map_texts(value, &|text| {
            let words: [&[u8]; 3] = [b"TEXT", b"MESSAGE", b"RFC822"];
            match words.contains(&text) {
                true => text.to_ascii_lowercase(),
                false => text.to_vec(),
            }
        }),
        // Whether folding white space around a value belongs to it is nowhere said.
        ("ENVELOPE", value) => map_texts(value, &|text| text.trim_ascii().to_vec()),
        (_, value) => value,
    }
}

fn map_texts(value: Value, map: &dyn Fn(&[u8]) -> Vec<u8>) -> Value {
    match value {
        Value::List(values) => {
            Value::List(values.into_iter().map(|value| map_texts(value, map)).collect())
        }
        Value::Text(text) => Value::Text(map(&text)),
        atom => atom,
    }
}

const CHOICES: &[Choice] = &[
    Choice {
        why: "outside of the grammar of RFC 5322: what can be read of it",
        versions: &[Version::V23, Version::V24],
        masks: &[("broken-addresses", "ENVELOPE")],
    },
    Choice {
        why: "no type: RFC 2045 section 5.2 suggests text/plain, but does not demand it",
        versions: &[Version::V23, Version::V24],
        masks: &[
            ("broken-content-type", "BODY"),
            ("broken-content-type", "BODYSTRUCTURE"),
            ("type-without-subtype", "BODY"),
            ("type-without-subtype", "BODYSTRUCTURE"),
        ],
    },
    Choice {
        why: "outside of the grammar of RFC 2045: which parameters can be read",
        versions: &[Version::V23, Version::V24],
        masks: &[("odd-content-type", "BODY"), ("odd-content-type", "BODYSTRUCTURE")],
    },
    Choice {
        why: "parameters of RFC 2231 as they are written, or decoded to UTF-8",
        versions: &[Version::V24],
        masks: &[
            ("rfc2231", "BODY"),
            ("rfc2231", "BODYSTRUCTURE"),
            ("rfc2231-split", "BODY"),
            ("rfc2231-split", "BODYSTRUCTURE"),
        ],
    },
    Choice {
        why: "no blank line to include (RFC 3501 section 6.4.5): one is added, or none",
        versions: &[Version::V23, Version::V24],
        masks: &[
            ("empty", "BODY[HEADER.FIELDS (FROM SUBJECT X-NONE)]"),
            ("empty", "BODY[HEADER.FIELDS (X-NONE)]"),
            ("no-blank-line", "BODY[HEADER.FIELDS (FROM SUBJECT X-NONE)]"),
            ("no-blank-line", "BODY[HEADER.FIELDS (X-NONE)]"),
        ],
    },
    Choice {
        why: "the line end between the last boundary of an inner multipart and the next one of \
              an outer: the latter's (RFC 2046 section 5.1.1), or the inner part's",
        versions: &[Version::V23, Version::V24],
        masks: &[
            ("boundary-prefix", "BODY[1]"),
            ("boundary-prefix", "BODY[1]<3>"),
            ("boundary-twice", "BODY[1]"),
            ("boundary-twice", "BODY[1]<3>"),
            ("forwarded", "BODY"),
            ("forwarded", "BODYSTRUCTURE"),
            ("forwarded", "BODY[2]"),
            ("forwarded", "BODY[2.TEXT]"),
        ],
    },
];
