//! The table, exhaustively: whatever lies in the place, whatever the worker has said, in whatever
//! order its end and its death are told.

use super::*;
use crate::master::{Event, Step};
use crate::outcome::Outcome;

const TIMEOUTS: Timeouts = Timeouts { version_ms: 10_000, ack_ms: 30_000, exit_ms: 1000 };
const ATTEMPT: u32 = 7;

#[test]
fn an_attempt_that_is_not_there_was_never_sent() {
    let resumed = |found| Conversation::resumed(0, &TIMEOUTS, ATTEMPT, found);
    assert!(resumed(None).is_none());
    for attempt in [0, ATTEMPT - 1, ATTEMPT + 1, u32::MAX] {
        for has_pidfd in [true, false] {
            let earlier = Found { attempt, has_pidfd };
            assert!(resumed(Some(earlier)).is_none(), "{earlier:?} is somebody else's");
        }
    }
    assert!(resumed(Some(Found { attempt: ATTEMPT, has_pidfd: false })).is_some());
}

/// What the worker did before it was looked at, and what the table makes of it.
#[test]
fn what_the_worker_did_decides() {
    let rows: [(&[u8], Outcome, Outcome); 6] = [
        // Said, and then: hung up, or still there.
        (b"+", Outcome::Taken, Outcome::Taken),
        (b"+\nand more", Outcome::Taken, Outcome::Taken),
        (b"-no room\n", Outcome::Refused, Outcome::Refused),
        (b"-no ro", Outcome::Refused, Outcome::Refused),
        (b"what?\n", Outcome::Refused, Outcome::Refused),
        (b"", Outcome::Gone, Outcome::Lost),
    ];
    for (said, hung_up, still_there) in rows {
        for has_pidfd in [true, false] {
            for is_dead in [true, false] {
                for ends in [true, false] {
                    let expected = if ends { hung_up } else { still_there };
                    let outcome = play(said, ends, has_pidfd, is_dead && has_pidfd);
                    let row = (said.escape_ascii().to_string(), ends, has_pidfd, is_dead);
                    assert_eq!(outcome, expected, "{row:?}");
                }
            }
        }
    }
}

/// Only silence can lose a client, and then it is shut down first.
fn play(said: &[u8], ends: bool, has_pidfd: bool, is_dead: bool) -> Outcome {
    let found = Found { attempt: ATTEMPT, has_pidfd };
    let resumed = Conversation::resumed(0, &TIMEOUTS, ATTEMPT, Some(found));
    let mut conversation = resumed.expect("it was sent, perhaps");
    let mut events = Vec::new();
    if !said.is_empty() {
        events.push(Event::Received { bytes: said, has_pidfd });
    }
    if ends {
        events.push(Event::Eof);
    }
    if is_dead {
        events.push(Event::WorkerDead);
    }
    events.extend([Event::Deadline; 2]);
    let mut now_ms = 0;
    for event in events {
        if matches!(event, Event::Deadline) {
            now_ms = conversation.deadline_ms();
        }
        match conversation.on(event, now_ms) {
            Step::Finish(outcome) => {
                assert_ne!(outcome, Outcome::Lost, "not without a shutdown");
                return outcome;
            }
            Step::ShutClient => {
                assert!(now_ms >= TIMEOUTS.ack_ms, "a worker has its time");
                let step = conversation.on(Event::ClientShut, now_ms);
                assert_eq!(step, Step::Finish(Outcome::Lost));
                return Outcome::Lost;
            }
            Step::Wait => {}
            step => panic!("an heir has nothing to send, but {step:?}"),
        }
    }
    panic!("it never ends");
}
