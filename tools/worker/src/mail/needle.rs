//! A string that SEARCH looks for: in any case of its letters, anywhere.

use memchr::memmem::Finder;

/// Lower-case text, ready to be found.
#[derive(Clone, Debug)]
pub struct Needle(Finder<'static>);

impl Needle {
    pub fn new(text: &str) -> Needle {
        Needle(Finder::new(&text.to_lowercase()).into_owned())
    }

    /// True exactly when the text contains it; the empty needle is everywhere. Letters compare by
    /// their simple lower case. Needs memory for a window, not for the text.
    pub fn is_in(&self, text: &str) -> bool {
        let overlap = self.0.needle().len().saturating_sub(1);
        let mut window = Vec::with_capacity(WINDOW_BYTES.min(text.len()) + overlap);
        let mut rest = text;
        loop {
            let (piece, tail) = rest.split_at(rest.floor_char_boundary(WINDOW_BYTES));
            let kept = window.len().saturating_sub(overlap);
            window.drain(..kept);
            match piece.is_ascii() {
                true => window.extend(piece.bytes().map(|byte| byte.to_ascii_lowercase())),
                false => window.extend(piece.to_lowercase().bytes()),
            }
            if self.0.find(&window).is_some() {
                return true;
            }
            if tail.is_empty() {
                return false;
            }
            rest = tail;
        }
    }
}

const WINDOW_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_nothing_is_everywhere() {
        assert!(Needle::new("GRÜSSE").is_in("viele grüsse"));
        assert!(Needle::new("привет").is_in("ПРИВЕТ"));
        assert!(Needle::new("").is_in(""));
        assert!(!Needle::new("a").is_in(""));
        assert!(!Needle::new("ab").is_in("a b"));
    }

    #[test]
    fn a_needle_is_found_across_windows() {
        let needle = Needle::new("Nädel");
        for shift in 0..10 {
            let text = format!("{}{}", "x".repeat(WINDOW_BYTES - shift), "nÄDEL");
            assert!(needle.is_in(&text), "{shift}");
            assert!(!needle.is_in(&text[..text.len() - 1]), "{shift}");
        }
    }
}
