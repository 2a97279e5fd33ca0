//! Reading as much of a message as a question needs.

use torpor_store::{Mailbox, StoreError};

use crate::mail::header::header_length;

/// How much of a message that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    #[default]
    Nothing,
    /// At least the header with its blank line.
    Header,
    Whole,
}

/// The bytes of a message, as they lie on the disk. Most headers fit into one short read.
///
/// # Errors
/// The store's; `Expunged` if the message has gone.
pub fn read(mailbox: &Mailbox, uid: u32, extent: Extent) -> Result<Vec<u8>, StoreError> {
    if extent == Extent::Nothing {
        return Ok(Vec::new());
    }
    let mut file = mailbox.open_message(uid)?;
    if extent == Extent::Header {
        let start = file.read_start(HEADER_READ_BYTES)?;
        if header_length(&start) < start.len() || (start.len() as u64) < HEADER_READ_BYTES {
            return Ok(start);
        }
    }
    file.read()
}

/// Longer headers cost a second read, of the whole message.
const HEADER_READ_BYTES: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use torpor_store::{Flags, Home, MailboxName};

    use super::*;

    fn kept(text: &str, extent: Extent) -> usize {
        let home = tempfile::tempdir().expect("a temporary folder");
        let home = Home::open(home.path()).expect("a home");
        let mut mailbox = home.open_mailbox(&MailboxName::inbox()).expect("an INBOX");
        let size = text.len() as u64;
        let uid = mailbox.append(&mut text.as_bytes(), size, Flags::default(), None);
        read(&mailbox, uid.expect("an append"), extent).expect("its bytes").len()
    }

    #[test]
    fn a_header_is_read_whole_and_little_else() {
        let most = HEADER_READ_BYTES as usize;
        for length in [0, 1, most - 20, most - 3, most - 2, most - 1, most, 2 * most] {
            let header = format!("A: {}\r\n\r\n", "x".repeat(length));
            let text = header.clone() + &"body\r\n".repeat(10_000);
            let kept = kept(&text, Extent::Header);
            assert!(kept >= header.len(), "{length}: {kept}");
            assert!(kept <= most || kept == text.len(), "{length}: {kept}");
        }
        assert_eq!(kept("A: b\r\n", Extent::Header), 6);
        assert_eq!(kept("A: b\r\n\r\nc", Extent::Whole), 9);
        assert_eq!(kept("A: b\r\n", Extent::Nothing), 0);
    }
}
