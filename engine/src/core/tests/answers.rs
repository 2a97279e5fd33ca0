//! DONE+IDLE that cannot be answered asleep is a worker's.

use super::*;
use crate::limits::TAG_BYTES_MAX;
use crate::memory::Memory;

const DONE_IDLE: &[u8] = b"DONE\r\nb23456789 IDLE\r\n";

impl Bench {
    /// The client is not answered: its worker gets all that it has said.
    fn is_handed_on(&mut self, recv: Token) {
        assert!(!self.ops().any(|op| matches!(op, Op::SendClient { .. })));
        assert_eq!(self.core.state(recv.index()), State::Joining);
        let said = "client_input=RE9ORQ0KYjIzNDU2Nzg5IElETEUNCg==\t";
        assert!(self.join(recv).contains(said));
        assert_eq!(self.core.counters().idles_answered, 0);
    }
}

#[test]
fn a_tag_that_is_too_long_to_say_is_said_by_a_worker() {
    let tag = "a".repeat(2 * TAG_BYTES_MAX + 1);
    let line = format!("u1\tpfx\tidle_notify_interval=0\ttag={tag}\tidle-cmd\n");
    let mut bench = Bench::new();
    let (_, recv) = bench.hibernate(line.as_bytes(), None);
    bench.receive(recv, DONE_IDLE, None, true);
    bench.is_handed_on(recv);
}

#[test]
fn a_line_grows_by_no_tag_beyond_its_limit() {
    let limits = Limits { line_bytes_max: 1024, ..Bench::limits(4) };
    let prefix = format!("u1\t{}\tidle_notify_interval=0\ttag=a3\tidle-cmd\n", "p".repeat(1024));
    let longest = [b"u1\t", &prefix.as_bytes()[prefix.len() - 1021..]].concat();
    let mut bench = Bench::with(&limits, Bench::knobs());
    let (_, recv) = bench.hibernate(&longest, None);
    bench.receive(recv, DONE_IDLE, None, true);
    bench.is_handed_on(recv);
}

/// What the dead had read is applied before anybody is woken for a mailbox that nobody knows.
#[test]
fn an_heir_answers_nobody_who_is_owed_news() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(LINE, WDS);
    let limits = bench.core.limits().clone();
    let read = Completion::plain(recv, DONE_IDLE.len() as i32, true);
    let (mut bench, ops) = bench.killed_with(&[(read, DONE_IDLE)], |memory| {
        memory.mailboxes = Memory::new_mailboxes(&limits).expect("memory");
    });
    assert!(!ops.iter().any(|op| matches!(op, Op::SendClient { .. })));
    assert_eq!(bench.core.state(slot), State::Queued);
    bench.step();
    let parcel = bench.out.list.iter().find_map(|action| match action {
        Action::Wake(wake) => Some(String::from_utf8_lossy(&wake.parcel).into_owned()),
        _ => None,
    });
    assert!(parcel.expect("a wake").contains("client_input=RE9ORQ0KYjIzNDU2Nzg5IElETEUNCg==\t"));
}
