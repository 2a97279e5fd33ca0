//! Where the RFCs leave a choice that Dovecot and the worker make differently.

use std::collections::BTreeSet;

use super::value::Value;

/// One choice: what one command or item says of one mail is not compared.
pub struct Mask {
    /// The name of a mail, or `*`.
    pub mail: &'static str,
    /// The name of an item of FETCH, or a whole SEARCH.
    pub item: &'static str,
    pub why: &'static str,
}

/// The masks, and which of them have hidden something.
#[derive(Default)]
pub struct Masks {
    used: BTreeSet<usize>,
    compared: usize,
}

impl Masks {
    /// Compares; a difference that no mask hides is returned as a text.
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
        let hides = |mask: &Mask| (mask.mail == mail || mask.mail == "*") && mask.item == item;
        match MASKS.iter().position(hides) {
            Some(at) => {
                self.used.insert(at);
                None
            }
            None => Some(format!("{mail}: {item}\n  Dovecot {referee:?}\n  worker  {ours:?}")),
        }
    }

    /// Fails with the differences, and with masks for these items that hide nothing.
    pub fn judge(self, differences: &[String], items: &[&str]) {
        println!("{} answers compared, {} masks", self.compared, self.used.len());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        for (at, Mask { mail, item, why }) in MASKS.iter().enumerate() {
            let is_used = self.used.contains(&at) || !items.contains(item);
            assert!(is_used, "this mask hides nothing: {mail} {item}: {why}");
        }
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

const MASKS: &[Mask] = &[
    Mask { mail: "broken-addresses", item: "ENVELOPE", why: NOT_AN_ADDRESS },
    Mask { mail: "broken-content-type", item: "BODY", why: NOT_A_TYPE },
    Mask { mail: "broken-content-type", item: "BODYSTRUCTURE", why: NOT_A_TYPE },
    Mask { mail: "type-without-subtype", item: "BODY", why: NOT_A_TYPE },
    Mask { mail: "type-without-subtype", item: "BODYSTRUCTURE", why: NOT_A_TYPE },
    Mask { mail: "odd-content-type", item: "BODY", why: BROKEN_LIST },
    Mask { mail: "odd-content-type", item: "BODYSTRUCTURE", why: BROKEN_LIST },
    Mask { mail: "forwarded", item: "BODY", why: TWO_BOUNDARIES },
    Mask { mail: "forwarded", item: "BODYSTRUCTURE", why: TWO_BOUNDARIES },
    Mask { mail: "forwarded", item: "BODY[2]", why: TWO_BOUNDARIES },
    Mask { mail: "forwarded", item: "BODY[2.TEXT]", why: TWO_BOUNDARIES },
    Mask { mail: "boundary-prefix", item: "BODY[1]", why: TWO_BOUNDARIES },
    Mask { mail: "boundary-prefix", item: "BODY[1]<3>", why: TWO_BOUNDARIES },
    Mask { mail: "boundary-twice", item: "BODY[1]", why: TWO_BOUNDARIES },
    Mask { mail: "boundary-twice", item: "BODY[1]<3>", why: TWO_BOUNDARIES },
    Mask { mail: "empty", item: "BODY[HEADER.FIELDS (FROM SUBJECT X-NONE)]", why: NO_BLANK_LINE },
    Mask { mail: "empty", item: "BODY[HEADER.FIELDS (X-NONE)]", why: NO_BLANK_LINE },
    Mask {
        mail: "no-blank-line",
        item: "BODY[HEADER.FIELDS (FROM SUBJECT X-NONE)]",
        why: NO_BLANK_LINE,
    },
    Mask { mail: "no-blank-line", item: "BODY[HEADER.FIELDS (X-NONE)]", why: NO_BLANK_LINE },
];

const BROKEN_LIST: &str = "an empty parameter is none of RFC 2045's: what of the list can be read";
const NO_BLANK_LINE: &str =
    "no blank line to include (RFC 3501 section 6.4.5): an added one or none";
const NOT_A_TYPE: &str = "RFC 2045 section 5.2: text/plain is suggested, not demanded";
const NOT_AN_ADDRESS: &str = "outside of the grammar of RFC 5322: what can be read of it";
const TWO_BOUNDARIES: &str = "the line end between the ends of an inner and an outer multipart: \
    the outer boundary's (RFC 2046 section 5.1.1), or part of what is inside";
