//! The lines of anvil, in both of its dialects, and those of a kick.

use torpor_handoff::line::escape_into;

use crate::card::Card;

/// What the other end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Dovecot 2.3: it says nothing before it is asked.
    V23,
    /// Dovecot 2.4: it greets.
    V24,
}

impl Dialect {
    /// What is sent first. In 2.4 the empty line declines anvil's own orders on this connection.
    pub fn hello(self) -> &'static [u8] {
        match self {
            Self::V23 => b"VERSION\tanvil\t1\t0\n",
            Self::V24 => b"VERSION\tanvil-client\t2\t0\n\n",
        }
    }
}

/// Which sleep of which client: all that a registration has to be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    pub slot: u32,
    pub generation: u32,
    pub started_us: u64,
}

impl Sleep {
    /// The connection GUID of 2.4: 32 hexadecimal digits that nobody has to remember.
    pub fn guid(self) -> String {
        format!("{:08x}{:08x}{:016x}", self.slot, self.generation, self.started_us)
    }

    /// Back from a GUID that anvil was given.
    pub fn from_guid(guid: &str) -> Option<Self> {
        if guid.len() != 32 || !guid.is_ascii() {
            return None;
        }
        Some(Self {
            slot: u32::from_str_radix(&guid[..8], 16).ok()?,
            generation: u32::from_str_radix(&guid[8..16], 16).ok()?,
            started_us: u64::from_str_radix(&guid[16..], 16).ok()?,
        })
    }
}

/// The line that registers a sleeper; `None` when this anvil cannot be told of it: 2.3 knows
/// sessions by address and user, and takes at most 1,024 bytes.
pub fn connect(dialect: Dialect, pid: u32, sleep: Sleep, card: &Card) -> Option<Vec<u8>> {
    let mut line = begin(dialect, "CONNECT", pid, sleep, card)?;
    if dialect == Dialect::V24 {
        // Kick through the admin socket; no destination, which only proxies have.
        line.extend_from_slice(b"\tA\t");
    }
    end(dialect, line)
}

/// The line that takes it back.
pub fn disconnect(dialect: Dialect, pid: u32, sleep: Sleep, card: &Card) -> Option<Vec<u8>> {
    end(dialect, begin(dialect, "DISCONNECT", pid, sleep, card)?)
}

/// `KICK-USER user [guid]`, as anvil sends it to an admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick {
    pub user: String,
    pub guid: Option<String>,
}

impl Kick {
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b'\t').map(|field| {
            let mut text = Vec::new();
            torpor_handoff::line::unescape_into(&mut text, field);
            String::from_utf8_lossy(&text).into_owned()
        });
        let kick = fields.next().filter(|verb| verb == "KICK-USER");
        kick?;
        let user = fields.next().filter(|user| !user.is_empty())?;
        Some(Self { user, guid: fields.next().filter(|guid| !guid.is_empty()) })
    }
}

fn begin(dialect: Dialect, verb: &str, pid: u32, sleep: Sleep, card: &Card) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(verb.as_bytes());
    match dialect {
        Dialect::V23 if card.rip.is_empty() => return None,
        Dialect::V23 => {
            line.extend_from_slice(format!("\t{pid}\timap/{}/", card.rip).as_bytes());
            escape_into(&mut line, card.user.as_bytes());
        }
        Dialect::V24 => {
            line.extend_from_slice(format!("\t{}\t{pid}\t", sleep.guid()).as_bytes());
            escape_into(&mut line, card.user.as_bytes());
            line.extend_from_slice(format!("\timap-hibernate\t{}", card.rip).as_bytes());
        }
    }
    Some(line)
}

fn end(dialect: Dialect, mut line: Vec<u8>) -> Option<Vec<u8>> {
    line.push(b'\n');
    (dialect == Dialect::V24 || line.len() <= V23_LINE_BYTES_MAX).then_some(line)
}

/// Anvil's greeting in 2.4; 2.3 waits for ours.
pub const V24_GREETING: &[u8] = b"VERSION\tanvil-server\t2\t";
/// What an admin socket says first.
pub const ADMIN_GREETING: &[u8] = b"VERSION\tmaster-admin-server\t1\t0\n";
/// The first line from anvil on an admin socket.
pub const ADMIN_HELLO: &[u8] = b"VERSION\tmaster-admin-client\t1\t";

const V23_LINE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEP: Sleep = Sleep { slot: 7, generation: 0x12, started_us: 0x0006_1234_5678_9abc };

    fn card(user: &str, rip: &str) -> Card {
        Card { user: user.into(), rip: rip.into(), ..Card::default() }
    }

    fn text(line: Option<Vec<u8>>) -> String {
        String::from_utf8(line.expect("a line")).expect("text")
    }

    #[test]
    fn the_lines_of_2_3() {
        let card = card("a\tb", "203.0.113.5");
        let line = text(connect(Dialect::V23, 42, SLEEP, &card));
        assert_eq!(line, "CONNECT\t42\timap/203.0.113.5/a\x01tb\n");
        let line = text(disconnect(Dialect::V23, 42, SLEEP, &card));
        assert_eq!(line, "DISCONNECT\t42\timap/203.0.113.5/a\x01tb\n");
    }

    #[test]
    fn what_2_3_cannot_be_told_is_left_out() {
        assert_eq!(connect(Dialect::V23, 1, SLEEP, &card("u", "")), None);
        assert_eq!(connect(Dialect::V23, 1, SLEEP, &card(&"u".repeat(1100), "::1")), None);
    }

    #[test]
    fn the_lines_of_2_4() {
        let guid = "0000000700000012000612345678".to_owned() + "9abc";
        let card = card("u1", "203.0.113.5");
        let line = text(connect(Dialect::V24, 42, SLEEP, &card));
        let body = format!("\t{guid}\t42\tu1\timap-hibernate\t203.0.113.5");
        assert_eq!(line, format!("CONNECT{body}\tA\t\n"));
        let line = text(disconnect(Dialect::V24, 42, SLEEP, &card));
        assert_eq!(line, format!("DISCONNECT{body}\n"));
    }

    #[test]
    fn a_guid_names_its_sleep() {
        assert_eq!(Sleep::from_guid(&SLEEP.guid()), Some(SLEEP));
        assert_eq!(Sleep::from_guid("00"), None);
        assert_eq!(Sleep::from_guid(&"g".repeat(32)), None);
        assert_eq!(Sleep::from_guid(&"ä".repeat(16)), None);
    }

    #[test]
    fn kicks_are_read_and_nonsense_is_not() {
        let kick = |user: &str, guid: Option<&str>| {
            Some(Kick { user: user.into(), guid: guid.map(Into::into) })
        };
        assert_eq!(Kick::parse(b"KICK-USER\tu1"), kick("u1", None));
        assert_eq!(Kick::parse(b"KICK-USER\ta\x01tb\tff"), kick("a\tb", Some("ff")));
        for line in [&b""[..], b"KICK-USER", b"KICK-USER\t", b"KICK\tu1", b"kick-user\tu1"] {
            assert_eq!(Kick::parse(line), None, "{line:?}");
        }
    }
}
