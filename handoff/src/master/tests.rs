//! The machine: every event in every state as a table, then what must hold on every path.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::hear::GREETING_BYTES_MAX;
use super::*;
use crate::line::REASON_BYTES_MAX;

const TIMEOUTS: Timeouts = Timeouts { version_ms: 10_000, ack_ms: 30_000, exit_ms: 1000 };
const REQUEST_BYTES: usize = 40;
const GREETING: Event<'_> = Event::Received { bytes: MASTER_VERSION, has_pidfd: false };
const GREETING_PIDFD: Event<'_> = Event::Received { bytes: MASTER_VERSION, has_pidfd: true };
const VERSION_SENT: Event<'_> = Event::Sent { count: MASTER_VERSION.len() };

/// The ways into each state.
fn states() -> Vec<(&'static str, Vec<Event<'static>>)> {
    let received = |bytes| Event::Received { bytes, has_pidfd: false };
    let (one, rest) = (Event::Sent { count: 1 }, Event::Sent { count: REQUEST_BYTES - 1 });
    let first = vec![Event::Connected, VERSION_SENT, GREETING];
    let first_pidfd = vec![Event::Connected, VERSION_SENT, GREETING_PIDFD];
    let with = |before: &[Event<'static>], more: &[Event<'static>]| [before, more].concat();
    vec![
        ("connecting", vec![]),
        ("greeting", vec![Event::Connected]),
        ("greeting, version sent", vec![Event::Connected, VERSION_SENT]),
        ("greeting, half received", vec![Event::Connected, VERSION_SENT, received(b"VERSI")]),
        ("greeting, greeted", vec![Event::Connected, GREETING]),
        ("first", first.clone()),
        ("rest", with(&first, &[one])),
        ("rest, pidfd", with(&first_pidfd, &[one])),
        ("reply", with(&first, &[one, rest])),
        ("reply, pidfd", with(&first_pidfd, &[one, rest])),
        ("reply, dead", with(&first_pidfd, &[one, rest, Event::WorkerDead])),
        ("refusing", with(&first, &[one, rest, received(b"-no")])),
        ("hung up", with(&first_pidfd, &[one, rest, Event::Eof])),
        ("shut", with(&first, &[one, rest, Event::Deadline])),
        ("over", with(&first, &[one, rest, received(b"+")])),
    ]
}

fn events() -> Vec<(String, Event<'static>)> {
    let mut all = vec![Event::Connected];
    for errno in [Errno::EAGAIN, Errno::ENOENT, Errno::EMFILE] {
        all.push(Event::ConnectFailed(errno as i32));
    }
    let bytes: [&[u8]; 8] = [
        MASTER_VERSION,
        b"VERSION\timap-master\t2\t0\n",
        b"VERSION",
        b"+",
        b"+junk\n",
        b"-no room\n",
        b"-no",
        &[b'x'; 1025],
    ];
    all.extend(bytes.map(|bytes| Event::Received { bytes, has_pidfd: false }));
    let (reset, memory) = (Errno::ECONNRESET as i32, Errno::ENOMEM as i32);
    all.extend([Event::ReceiveFailed(reset), Event::ReceiveFailed(memory), Event::Writable]);
    all.extend([Event::Sent { count: 1 }, Event::SendFailed(Errno::EPIPE as i32)]);
    all.extend([Event::SendFailed(Errno::ETOOMANYREFS as i32), Event::Eof, Event::WorkerDead]);
    all.extend([Event::Deadline, Event::ClientShut, Event::Stop]);
    all.into_iter().map(|event| (name(&event), event)).collect()
}

fn name(event: &Event<'_>) -> String {
    match event {
        Event::Received { bytes, .. } if bytes.len() > 40 => format!("Received {} B", bytes.len()),
        Event::Received { bytes, .. } => format!("Received {:?}", String::from_utf8_lossy(bytes)),
        other => format!("{other:?}"),
    }
}

fn arrived(events: &[Event<'_>]) -> Conversation {
    let mut conversation = Conversation::new(0, &TIMEOUTS, REQUEST_BYTES);
    for event in events {
        let now_ms = conversation.deadline_ms();
        conversation.on(*event, now_ms);
    }
    conversation
}

#[test]
fn every_event_in_every_state() {
    let mut table = String::new();
    for (state, path) in states() {
        writeln!(table, "{state}").unwrap();
        for (name, event) in events() {
            let mut conversation = arrived(&path);
            let now_ms = conversation.deadline_ms();
            // A programmer's error is an assert; the table names it.
            let step = catch_unwind(AssertUnwindSafe(|| conversation.on(event, now_ms)));
            let step = step.map_or("never".to_owned(), |step| match step {
                Step::Finish(_) => format!("{step:?}"),
                _ => format!("{step:?} -> {:?}", conversation.state),
            });
            writeln!(table, "    {name:<40} {step}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_clock_of_the_answer_starts_with_the_descriptor() {
    let mut conversation = Conversation::new(1000, &TIMEOUTS, REQUEST_BYTES);
    assert_eq!(conversation.deadline_ms(), 11_000);
    conversation.on(Event::Connected, 1000);
    conversation.on(VERSION_SENT, 1000);
    assert_eq!(conversation.on(GREETING, 9000), Step::SendFirst);
    assert_eq!(conversation.deadline_ms(), 11_000);
    assert_eq!(conversation.on(Event::Sent { count: 1 }, 10_000), Step::SendRest { from: 1 });
    assert_eq!(conversation.deadline_ms(), 40_000);
    conversation.on(Event::Sent { count: REQUEST_BYTES - 1 }, 12_000);
    assert_eq!(conversation.deadline_ms(), 40_000);
}

#[test]
fn a_greeting_may_come_in_any_pieces() {
    for cut in 1..MASTER_VERSION.len() {
        let mut conversation = arrived(&[Event::Connected, VERSION_SENT]);
        let (head, tail) = MASTER_VERSION.split_at(cut);
        let step = conversation.on(Event::Received { bytes: head, has_pidfd: true }, 0);
        assert_eq!(step, Step::Wait);
        let step = conversation.on(Event::Received { bytes: tail, has_pidfd: false }, 0);
        assert_eq!(step, Step::SendFirst);
    }
}

#[test]
fn a_greeting_is_bounded_in_any_pieces() {
    let mut conversation = arrived(&[Event::Connected, VERSION_SENT]);
    let mut received = 0;
    loop {
        received += 100;
        let bytes = &[b'V'; 100];
        match conversation.on(Event::Received { bytes, has_pidfd: false }, 0) {
            Step::Wait => {
                assert!(received <= GREETING_BYTES_MAX && conversation.inbox.len() < 1100)
            }
            Step::Finish(Outcome::Unsent(Cause::BadGreeting)) => break,
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_reason_is_kept_whole_and_bounded() {
    let (_, path) = states().into_iter().find(|(name, _)| *name == "reply").unwrap();
    let mut conversation = arrived(&path);
    for byte in b"-Failed" {
        conversation.on(Event::Received { bytes: &[*byte], has_pidfd: false }, 0);
    }
    let step = conversation.on(Event::Received { bytes: b" it\nmore", has_pidfd: false }, 0);
    assert_eq!(step, Step::Finish(Outcome::Refused));
    assert_eq!(conversation.reason(), b"Failed it");
    let mut conversation = arrived(&path);
    let step = conversation.on(Event::Received { bytes: &[b'-'; 9999], has_pidfd: false }, 0);
    assert_eq!(step, Step::Finish(Outcome::Refused));
    assert_eq!(conversation.reason().len(), REASON_BYTES_MAX);
}

/// A hundred thousand random paths of events that a driver may tell. Whatever happens: the
/// descriptor is asked for once, after a whole greeting; `Unsent` exactly when it never went;
/// `Lost` exactly after `ShutClient`; and every path ends by its deadlines.
#[test]
fn random_paths_keep_the_rules() {
    let mut outcomes = std::collections::BTreeMap::new();
    for seed in 0..100_000u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let outcome = walk(&mut random);
        *outcomes.entry(format!("{outcome:?}")).or_insert(0) += 1;
    }
    assert!(outcomes.len() == 8, "{outcomes:?}");
    assert!(outcomes.values().all(|count| *count > 50), "{outcomes:?}");
}

fn walk(random: &mut u64) -> Outcome {
    let mut conversation = Conversation::new(0, &TIMEOUTS, REQUEST_BYTES);
    let (mut now_ms, mut fd_sent, mut was_shut, mut greeting) = (0, false, false, 0);
    let mut step = conversation.on(Event::Connected, 0);
    for _ in 0..200 {
        let event = match step {
            Step::Finish(outcome) => {
                assert_eq!(matches!(outcome, Outcome::Unsent(_)), !fd_sent);
                assert_eq!(outcome == Outcome::Lost, was_shut);
                return outcome;
            }
            Step::ShutClient => {
                was_shut = true;
                Event::ClientShut
            }
            Step::SendVersion { from } => send(random, MASTER_VERSION.len() - from),
            Step::SendFirst => {
                assert!(!fd_sent && greeting == MASTER_VERSION.len());
                send(random, 1)
            }
            Step::SendRest { from } => {
                assert!(fd_sent);
                send(random, REQUEST_BYTES - from)
            }
            Step::Wait => match below(random, 16) {
                0..=5 if greeting < MASTER_VERSION.len() => {
                    let count = (1 + below(random, 26)).min(MASTER_VERSION.len() - greeting);
                    let bytes = &MASTER_VERSION[greeting..greeting + count];
                    greeting += count;
                    Event::Received { bytes, has_pidfd: below(random, 2) == 0 }
                }
                6 => Event::Received { bytes: b"+\n", has_pidfd: false },
                7 => Event::Received { bytes: b"-x", has_pidfd: false },
                8 => Event::Eof,
                9 => Event::WorkerDead,
                10 => Event::ReceiveFailed(Errno::ENOBUFS as i32),
                11 => {
                    now_ms = conversation.deadline_ms();
                    Event::Deadline
                }
                _ => Event::Writable,
            },
        };
        let is_first = step == Step::SendFirst;
        fd_sent |= is_first && matches!(event, Event::Sent { .. });
        // EAGAIN: nothing to tell, the driver waits.
        step = match event {
            Event::SendFailed(errno) if errno == Errno::EAGAIN as i32 => Step::Wait,
            event => conversation.on(event, now_ms),
        };
    }
    panic!("it does not end: {conversation:?}");
}

fn send(random: &mut u64, room: usize) -> Event<'static> {
    match below(random, 12) {
        0 => Event::SendFailed(Errno::EPIPE as i32),
        1 => Event::SendFailed(Errno::ENOBUFS as i32),
        2..=4 => Event::SendFailed(Errno::EAGAIN as i32),
        _ => Event::Sent { count: 1 + below(random, room) },
    }
}

fn below(random: &mut u64, bound: usize) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random >> 20) as usize % bound
}
