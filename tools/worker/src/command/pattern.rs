//! The wildcards of LIST.

/// A mailbox pattern: `*` stands for anything, `%` for anything without a separator.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// INBOX is INBOX in any case. `None`: longer than any name that it could match.
    pub fn new(reference: &str, pattern: &str) -> Option<Self> {
        let mut text = format!("{reference}{pattern}");
        if text.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("INBOX")) {
            text.replace_range(..5, "INBOX");
        }
        (text.len() <= PATTERN_BYTES_MAX).then(|| Self(text.into_bytes()))
    }

    /// True if the name of a parent is told for the sake of its children (RFC 3501, 6.3.9).
    pub fn names_parents(&self) -> bool {
        self.0.contains(&b'%')
    }

    /// In time that is bounded by the product of the lengths, whatever the wildcards: `reached`
    /// holds the places of the pattern up to which the name so far matches.
    pub fn matches(&self, name: &str) -> bool {
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.pass_wildcards(&mut reached);
        for byte in name.bytes() {
            let mut next = vec![false; self.0.len() + 1];
            for (at, wanted) in self.0.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match wanted {
                    b'*' => next[at] = true,
                    b'%' => next[at] |= byte != SEPARATOR,
                    _ => next[at + 1] |= *wanted == byte,
                }
            }
            self.pass_wildcards(&mut next);
            reached = next;
        }
        reached[self.0.len()]
    }

    /// A wildcard may also stand for nothing.
    fn pass_wildcards(&self, reached: &mut [bool]) {
        for (at, wanted) in self.0.iter().enumerate() {
            if reached[at] && matches!(wanted, b'*' | b'%') {
                reached[at + 1] = true;
            }
        }
    }
}

/// Between the levels of a name.
pub const SEPARATOR: u8 = b'.';

const PATTERN_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new("", pattern).unwrap().matches(name)
    }

    #[test]
    fn wildcards_stand_for_what_the_rfc_says() {
        for (pattern, name, expected) in [
            ("*", "A.B.C", true),
            ("%", "A", true),
            ("%", "A.B", false),
            ("A.%", "A.B", true),
            ("A.%", "A", false),
            ("A%", "A", true),
            ("%.%", "A.B", true),
            ("*B*", "A.B.C", true),
            ("a", "A", false),
            ("inbox", "INBOX", true),
            ("inBox.%", "INBOX.x", true),
            ("", "A", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        // 500 wildcards against 255 letters would be tried in 2^255 ways.
        let begin = std::time::Instant::now();
        assert!(!matches(&"*a".repeat(500), &format!("{}b", "a".repeat(254))));
        assert!(begin.elapsed().as_secs() < 2);
        assert!(Pattern::new("", &"*".repeat(2000)).is_none());
    }
}
