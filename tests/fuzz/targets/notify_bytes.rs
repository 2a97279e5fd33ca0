//! Any bytes as what the kernel says of the shared inotify instance: each event is seen, and a
//! sleeper whose directory is named, or might have been, is owed a wake. The same bytes as what it
//! says through marks: what is whole before them is seen, and they end.

use std::cell::Cell;

use torpor_engine::marks;
use torpor_engine::watch::{MARKS_LOST, WatchEvent, events, is_marked};

use super::lab::{Lab, WATCHED};

thread_local! {
    /// Its client sleeps on, for the next input.
    static ASLEEP: Cell<Option<Lab>> = const { Cell::new(None) };
}

pub fn run(input: &[u8]) {
    let seen: Vec<WatchEvent> = events(input).collect();
    assert_eq!(seen, model(input));
    marked(input);
    if input.is_empty() || input.len() > BUFFER_BYTES {
        return;
    }
    let mut lab = ASLEEP.take().unwrap_or_else(|| {
        let mut lab = Lab::new();
        lab.hibernate();
        lab
    });
    lab.watch(input);
    lab.settle();
    let named = seen.iter().any(|event| event.is_overflow() || WATCHED.contains(&event.wd));
    assert_eq!(lab.wakes.len(), usize::from(named), "{seen:?}");
    match named {
        true => lab.finish(),
        false => ASLEEP.set(Some(lab)),
    }
}

/// Behind an event of one directory, as fanotify(7) has it.
fn marked(input: &[u8]) {
    let told: Vec<WatchEvent> = marks::events(input).collect();
    // A record has four bytes at least.
    assert!(told.len() <= 1 + input.len() / 4);
    assert!(told.iter().all(|event| is_marked(event.wd) || event.wd == MARKS_LOST), "{told:?}");
    let both: Vec<WatchEvent> = marks::events(&[WHOLE, input].concat()).collect();
    assert_eq!((both[0].mask, is_marked(both[0].wd)), (0x100, true));
    assert_eq!(both[1..], told);
}

/// inotify(7) by offsets: four numbers in the machine's order, then a name of the fourth's length.
/// What is torn is an overflow, the last event; so is a number below zero, wherever it stands.
fn model(bytes: &[u8]) -> Vec<WatchEvent> {
    let (mut events, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let number = |index: usize| {
            let from = at + 4 * index;
            let bytes = bytes.get(from..from + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let (Some(wd), Some(mask), Some(_), Some(name)) =
            (number(0), number(1), number(2), number(3))
        else {
            events.push(TORN);
            break;
        };
        at += 16 + name as usize;
        let is_watch = at <= bytes.len() && wd.cast_signed() >= 0;
        events.push(if is_watch { WatchEvent { wd: wd.cast_signed(), mask } } else { TORN });
    }
    events
}

/// An event with one record: inode 12 of ext4 has a file more.
const WHOLE: &[u8] = b"\x34\0\0\0\x03\0\x18\0\0\x01\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\
    \x03\0\x1c\0\x07\0\0\0\x08\0\0\0\x08\0\0\0\x01\0\0\0\x0c\0\0\0\x63\0\0\0";
/// IN_Q_OVERFLOW.
const TORN: WatchEvent = WatchEvent { wd: -1, mask: 0x4000 };
/// What the ring reads at once.
const BUFFER_BYTES: usize = 4096;
