//! Lines of every Dovecot and lines of nobody, through the whole store.

use super::*;

fn store() -> Cold {
    let limits = Limits { slots_max: 2000, cold_blocks_max: 512, ..Limits::default() };
    Cold::new(&limits, None).expect("memory")
}

fn keep(cold: &mut Cold, line: &[u8]) -> u32 {
    cold.store(line).expect("room")
}

/// The same of a line that comes in pieces.
fn keep_pieces(cold: &mut Cold, line: &[u8]) -> u32 {
    let chain = cold.open().expect("room");
    line.chunks(100).for_each(|piece| assert!(cold.append_line(chain, piece)));
    cold.keep(chain, line)
}

fn read(cold: &mut Cold, entry: u32) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(1 << 16);
    cold.read_line(entry, &mut out).then_some(out)
}

impl Cold {
    /// Flips a bit of an entry on the shelf.
    pub(crate) fn damage(&mut self, entry: u32) {
        let place = shelved(entry).expect("on the shelf");
        self.lines.shelf.place_mut(place)[12] ^= 4;
    }

    /// Flips a bit of the first byte of an entry's input, behind a link and a header.
    pub(crate) fn damage_input(&mut self, entry: u32) {
        let chain = self.side(entry).ok().flatten().expect("it has said something");
        let at = chain as usize * BLOCK_BYTES + 24;
        self.chains.image.edit(at, 1)[0] ^= 4;
    }
}

/// A generator that is the same in every run (Steele's splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn word(&mut self, letters: &[u8], least: u64, most: u64) -> String {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| char::from(letters[self.below(letters.len() as u64) as usize])).collect()
    }
}

/// As Dovecot 2.3.19 (`new` false) and 2.4.1 write it, everything in it distinct and random.
fn line(random: &mut Random, new: bool) -> String {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let user = random.word(letters, 6, 12);
    let mailbox = random.word(letters, 4, 12);
    let (ip, port) = (random.next() as u32, random.below(64_000) + 1024);
    let mut session = random.bytes(6);
    session.extend_from_slice(&(port as u16).to_be_bytes());
    session.extend_from_slice(&ip.to_be_bytes());
    let mut state = [b"base\nB", mailbox.as_bytes(), b"\0"].concat();
    state.extend(random.bytes(16));
    state.extend(random.bytes(14));
    let token: String = random.bytes(20).iter().map(|byte| format!("{byte:02x}")).collect();
    let (input, output) = (random.below(4000), random.below(100_000));
    let (count, bytes) = (random.below(50), random.below(200_000));
    let prefix =
        if new { "%{service}(%{user})<%{process:pid}><%{session}>: " } else { "%s(%u)<%{pid}>: " };
    let mut line = format!(
        "{user}@example.org\t{prefix}\tidle_notify_interval=120\tpeer_dev_major=0\t\
         peer_dev_minor=9\tpeer_ino={}\tsession={}\tsession_created={}\tlip=192.0.2.1\tlport=143\t\
         rip={}\trport={port}\tuserdb_fields=uid=5000\x01tgid=5000\x01t\
         home=/srv/mail/example.org/{user}\x01tauth_mech=PLAIN\x01tauth_token={token}\tuid=5000\t\
         gid=5000\tmailbox={mailbox}\ttag={}\tstats=in={input} out={output} deleted=0 expunged=0 \
         trashed=0 hdr_count={count} hdr_bytes={bytes} body_count=0 body_bytes=0\tidle-cmd\t\
         notify_fd\tstate={}",
        100_000 + random.below(4_000_000),
        base64(&session),
        1_795_445_434 + random.below(100_000),
        std::net::Ipv4Addr::from(ip),
        random.word(letters, 1, 4),
        base64(&state),
    );
    if new {
        line += &format!(
            "\tfetch_hdr_count={count}\tfetch_hdr_bytes={bytes}\tfetch_body_count=0\t\
             fetch_body_bytes=0\tdeleted_count=0\texpunged_count=0\ttrashed_count=0\t\
             autoexpunged_count=0\tappend_count=0\tinput_bytes_extra={input}\t\
             output_bytes_extra={output}"
        );
    }
    line + "\n"
}

/// A thousand of each dialect: all come back, all on the shelf, and in no more than 144 bytes.
#[test]
fn lines_of_dovecot_come_back_and_take_little() {
    for new in [false, true] {
        let (mut cold, mut random) = (store(), Random(7));
        let lines: Vec<String> = (0..1000).map(|_| line(&mut random, new)).collect();
        let entries: Vec<u32> = lines.iter().map(|line| keep(&mut cold, line.as_bytes())).collect();
        let bytes = cold.shelf_bytes() as usize / lines.len();
        assert!(entries.iter().all(|entry| shelved(*entry).is_some()));
        assert_eq!(cold.used(), 0);
        assert!((100..=144).contains(&bytes), "{bytes} bytes a line");
        for (line, entry) in lines.iter().zip(&entries) {
            assert_eq!(read(&mut cold, *entry).as_deref(), Some(line.as_bytes()));
        }
        entries.iter().for_each(|entry| cold.close(*entry));
        assert_eq!((cold.used(), cold.shelf_bytes(), cold.damaged()), (0, 0, 0));
    }
}

/// Random changes, cuts and doublings of good lines, NULs and wild bytes included: whatever the
/// store makes of them, they come back to the byte.
#[test]
fn lines_of_nobody_come_back_to_the_byte() {
    let (mut cold, mut random) = (store(), Random(11));
    let mut held = Vec::new();
    for step in 0..3000 {
        let new = random.below(2) == 0;
        let mut bytes = line(&mut random, new).into_bytes();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(5) {
                0 => bytes[at] = random.next() as u8,
                1 => drop(bytes.drain(at..(at + 40).min(bytes.len()))),
                2 => bytes.extend_from_within(at..),
                3 => bytes.truncate(at.max(1)),
                _ => bytes.splice(at..at, *b"\x01t=\t0").for_each(drop),
            }
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        let keep = if step % 3 == 0 { keep_pieces } else { keep };
        let entry = keep(&mut cold, &bytes);
        held.push((entry, bytes));
        if step % 2 == 0 || cold.used() > 256 {
            for _ in 0..2.min(held.len()) {
                let (entry, bytes) = held.swap_remove(random.below(held.len() as u64) as usize);
                assert_eq!(read(&mut cold, entry), Some(bytes));
                cold.close(entry);
            }
        }
    }
    held.iter().for_each(|(entry, _)| cold.close(*entry));
    assert_eq!((cold.used(), cold.shelf_bytes(), cold.damaged()), (0, 0, 0));
}

#[test]
fn a_store_full_of_shapes_keeps_others_as_they_are() {
    let mut cold = store();
    let lines: Vec<String> = (0..300).map(|n| format!("u\tp\tkey{n}=1\ttag=a\n")).collect();
    let entries: Vec<u32> = lines.iter().map(|line| keep(&mut cold, line.as_bytes())).collect();
    assert_eq!(entries.iter().filter(|entry| shelved(**entry).is_some()).count(), 256);
    for (line, entry) in lines.iter().zip(&entries) {
        assert_eq!(read(&mut cold, *entry).as_deref(), Some(line.as_bytes()));
        cold.close(*entry);
    }
    assert!(
        shelved(keep(&mut cold, lines[299].as_bytes())).is_some(),
        "models that nobody needs go"
    );
}

#[test]
fn input_and_output_lie_beside_a_packed_line() {
    let (mut cold, mut random) = (store(), Random(3));
    let text = line(&mut random, true);
    let entry = keep(&mut cold, text.as_bytes());
    assert!(!cold.has_output(entry));
    assert!(cold.append_input(entry, b"DONE\r\n") && cold.append_input(entry, b"x"));
    assert!(cold.set_output(entry, b"ill here\r\n") && cold.has_output(entry));
    let mut out = Vec::with_capacity(64);
    assert!(cold.read_input(entry, &mut out) && cold.read_output(entry, &mut out));
    assert_eq!(out, b"DONE\r\nxill here\r\n");
    assert_eq!(read(&mut cold, entry).as_deref(), Some(text.as_bytes()));
    cold.close(entry);
    assert_eq!((cold.used(), cold.shelf_bytes()), (0, 0));
}

#[test]
fn another_line_takes_the_place_or_nothing_changes() {
    let (mut cold, mut random) = (store(), Random(5));
    let (old, new) = (line(&mut random, true), line(&mut random, false));
    let entry = keep(&mut cold, old.as_bytes());
    let entry = cold.replace(entry, new.as_bytes()).expect("room");
    assert_eq!(read(&mut cold, entry).as_deref(), Some(new.as_bytes()));
    assert_eq!(cold.replace(entry, &[b'x'; 128 * 600]), None, "larger than the store");
    assert_eq!(read(&mut cold, entry).as_deref(), Some(new.as_bytes()));
    let long = cold.replace(entry, &[b'x'; 5000]).expect("room in a chain");
    assert_eq!(read(&mut cold, long).map(|line| line.len()), Some(5000));
    cold.close(long);
    assert_eq!((cold.used(), cold.shelf_bytes()), (0, 0));
}

/// Each bit of a packed line in turn: it is not read, its input neither, and closing it touches
/// nobody.
#[test]
fn a_damaged_entry_is_neither_read_nor_given_back() {
    let mut random = Random(9);
    let (one, two) = (line(&mut random, true), line(&mut random, true));
    let mut cold = store();
    let (first, second) = (keep(&mut cold, one.as_bytes()), keep(&mut cold, two.as_bytes()));
    assert!(cold.append_input(second, b"DONE\r\n"));
    let bits = 8 * cold.lines.shelf.place(second & !SHELVED).len();
    for bit in 0..bits {
        cold.lines.shelf.place_mut(second & !SHELVED)[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(read(&mut cold, second), None, "bit {bit}");
        assert!(!cold.read_input(second, &mut Vec::new()));
        assert!(cold.append_input(second, b"lost"));
        cold.lines.shelf.place_mut(second & !SHELVED)[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(read(&mut cold, second).as_deref(), Some(two.as_bytes()));
    cold.lines.shelf.place_mut(second & !SHELVED)[20] ^= 1;
    let before = cold.shelf_bytes();
    cold.close(second);
    assert_eq!((cold.damaged(), cold.shelf_bytes()), (1, before));
    assert_eq!(read(&mut cold, first).as_deref(), Some(one.as_bytes()));
}

#[test]
fn nothing_of_a_line_stays_in_the_store() {
    let (mut cold, mut random) = (store(), Random(13));
    let text = line(&mut random, true);
    let token = text.split("auth_token=").nth(1).map(|rest| rest[..40].to_owned()).expect("one");
    let other = text.replace("tag=", "tag=b");
    let (entry, other) = (keep(&mut cold, text.as_bytes()), keep(&mut cold, other.as_bytes()));
    let model = cold.lines.models.get(0).expect("the founder's").line.to_vec();
    assert!(!String::from_utf8_lossy(&model).contains(&token), "a model outlives its founder");
    cold.close(entry);
    assert!(cold.lines.models.get(0).is_some(), "still in use");
    cold.close(other);
    assert!(cold.lines.models.get(0).is_none());
}
