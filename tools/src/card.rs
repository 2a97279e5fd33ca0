//! A sleeper's card, as the engine writes it: TAB-separated, tab-escaped fields.

use torpor_engine::report::CARD_FIELDS;
use torpor_handoff::line::unescape_into;

/// The words about one client. Absent ones are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    pub user: String,
    pub session: String,
    pub mailbox: String,
    pub lip: String,
    pub lport: String,
    pub rip: String,
    pub rport: String,
    pub uid: String,
    pub gid: String,
    /// The log prefix before its variables are filled in.
    pub prefix: String,
    pub stats: String,
    /// The TAB-joined list of escaped `key=value`.
    pub userdb_fields: String,
}

impl Card {
    /// Reads one line of fields; those that are missing at its end stay empty.
    pub fn parse(line: &[u8]) -> Self {
        let mut fields = line.split(|byte| *byte == b'\t').map(text);
        let mut next = || fields.next().unwrap_or_default();
        // In the order of `CARD_FIELDS`, which the test below compares.
        Self {
            user: next(),
            session: next(),
            mailbox: next(),
            lip: next(),
            lport: next(),
            rip: next(),
            rport: next(),
            uid: next(),
            gid: next(),
            prefix: next(),
            stats: next(),
            userdb_fields: next(),
        }
    }

    /// A field that the user database gave.
    pub fn userdb(&self, key: &str) -> Option<String> {
        let fields = self.userdb_fields.split('\t').map(|field| text(field.as_bytes()));
        let mut values = fields.filter_map(|field| {
            let (name, value) = field.split_once('=')?;
            (name == key).then(|| value.to_owned())
        });
        values.next()
    }
}

/// One line of `Command::Who`: where the client sleeps, and its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleeper {
    pub slot: u32,
    pub generation: u32,
    pub state: String,
    /// When it was hibernated, microseconds since the epoch.
    pub started_us: u64,
    pub card: Card,
}

impl Sleeper {
    /// Reads one line; `None` when it is none of the engine's.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut parts = line.splitn(5, |byte| *byte == b'\t');
        let mut next = || std::str::from_utf8(parts.next()?).ok();
        let (slot, generation) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let (state, started_us) = (next()?.to_owned(), next()?.parse().ok()?);
        let card = Card::parse(parts.next()?);
        Some(Self { slot, generation, state, started_us, card })
    }
}

fn text(field: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    unescape_into(&mut bytes, field);
    String::from_utf8_lossy(&bytes).into_owned()
}

const _: () = assert!(CARD_FIELDS.len() == 12, "a card has the fields that are read above");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_the_order_of_the_engine() {
        let line = CARD_FIELDS.join("\t");
        let Card {
            user, session, mailbox, lip, lport, rip, rport, uid, gid, prefix, stats, ..
        } = Card::parse(line.as_bytes());
        let read =
            [user, session, mailbox, lip, lport, rip, rport, uid, gid, prefix, stats].to_vec();
        assert_eq!(read, CARD_FIELDS[..11]);
        assert_eq!(Card::parse(line.as_bytes()).userdb_fields, CARD_FIELDS[11]);
    }

    #[test]
    fn escapes_are_undone_and_the_userdb_list_twice() {
        let line = b"a\x01tb\ts\t\t\t\t\t\t\t\t\t\tuid=5\x01thome=/x\x011ty";
        let card = Card::parse(line);
        assert_eq!(card.user, "a\tb");
        assert_eq!(card.userdb_fields, "uid=5\thome=/x\u{1}ty");
        assert_eq!(card.userdb("uid").as_deref(), Some("5"));
        assert_eq!(card.userdb("home").as_deref(), Some("/x\ty"));
        assert_eq!(card.userdb("none"), None);
    }

    #[test]
    fn a_line_of_who_is_a_sleeper() {
        let sleeper = Sleeper::parse(b"7\t3\tAsleep\t1700000000000000\tu1\ts1").expect("a line");
        assert_eq!((sleeper.slot, sleeper.generation), (7, 3));
        assert_eq!((sleeper.state.as_str(), sleeper.card.user.as_str()), ("Asleep", "u1"));
        assert_eq!(Sleeper::parse(b"7\t3\tAsleep"), None);
        assert_eq!(Sleeper::parse(b"x\t3\tAsleep\t1\tu"), None);
    }
}
