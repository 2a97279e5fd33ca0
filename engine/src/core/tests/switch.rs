//! Clients behind a multiplexing proxy: a channel switch is given whole, or not at all.

use super::*;
use crate::report::Goodbye;
use crate::sends::STALLED_MAX;

/// A worker begins with a switch of its own, so half of one must never be left to it.
#[test]
fn a_channel_switch_is_finished_before_a_worker_is_asked() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(MULTIPLEXED, None);
    bench.receive(recv, b"DONE\r\nb1 IDLE\r\n", None, false);
    let whole = b"\x03\xfe\0\0a3 OK Idle completed.\r\n+ idling\r\n";
    assert_eq!(bench.sent().1, whole);
    // Three bytes go in four tries, and the client speaks meanwhile.
    for (tried, result, left) in [(0, 1, 1), (1, -libc::EAGAIN, 1), (2, 2, 3)] {
        let token = bench.sent().0;
        bench.complete(token, result, false);
        assert_eq!(bench.ops().count(), 0, "try {tried} is not repeated at once");
        if tried == 1 {
            bench.receive(recv, b"DONE\r\n", None, false);
            assert_eq!(bench.core.state(slot), State::Joining);
        }
        bench.now.mono_ms += 200;
        bench.step();
        assert_eq!(bench.sent().1, &whole[left..]);
    }
    let token = bench.sent().0;
    bench.complete(token, 6, false);
    assert_eq!(bench.core.state(slot), State::Handed);
    let parcel = bench.out.list.iter().find_map(|action| match action {
        Action::Wake(wake) => Some(String::from_utf8_lossy(&wake.parcel).into_owned()),
        _ => None,
    });
    // What follows `a3 OK`: the worker frames it itself.
    let rest = "IElkbGUgY29tcGxldGVkLg0KKyBpZGxpbmcNCg==";
    assert!(parcel.expect("a wake").contains(&format!("\tclient_output={rest}\t")));
}

const MULTIPLEXED: &[u8] =
    b"u1\tpfx\tidle_notify_interval=0\ttag=a3\tidle-cmd\tmultiplex_ostream\n";

/// A bench with room, and so many who have heard half a switch.
fn halves(count: u32) -> (Bench, Vec<(u32, Token)>) {
    let limits = Limits { slots_max: 80, cold_blocks_max: 2048, ..Bench::limits(128) };
    let mut bench = Bench::with(&limits, Bench::knobs());
    let all = (0..count).map(|_| {
        let (slot, recv) = bench.hibernate(MULTIPLEXED, None);
        bench.receive(recv, b"DONE\r\nb1 IDLE\r\n", None, true);
        let send = bench.sent().0;
        bench.complete(send, 1, false);
        (slot, recv)
    });
    let all = all.collect();
    (bench, all)
}

/// Each holds a place of a table that has an end.
#[test]
fn more_than_so_many_halves_of_a_switch_are_not_waited_for() {
    let (bench, all) = halves(STALLED_MAX + 1);
    let states: Vec<State> = all.iter().map(|(slot, _)| bench.core.state(*slot)).collect();
    let (last, others) = states.split_last().expect("some");
    assert!(others.iter().all(|state| *state == State::Asleep));
    assert_eq!(*last, State::Leaving);
}

#[test]
fn a_client_that_breaks_in_the_midst_of_a_switch_goes() {
    let (mut bench, all) = halves(1);
    let (slot, recv) = all[0];
    bench.now.mono_ms += 200;
    bench.step();
    let send = bench.sent().0;
    bench.complete(send, -libc::EPIPE, false);
    assert_eq!((bench.core.state(slot), bench.ops().count()), (State::Leaving, 1), "one cancel");
    bench.end_recv(recv);
    assert_eq!(bench.said(), [Said::Disconnected(Goodbye::WriteFailed(libc::EPIPE))]);
}

/// BYE after half a switch would be read as the rest of it.
#[test]
fn whoever_is_kicked_in_the_midst_of_a_switch_goes_without_a_word() {
    let (mut bench, _) = halves(0);
    let (slot, recv) = bench.hibernate(MULTIPLEXED, None);
    bench.receive(recv, b"DONE\r\nb1 IDLE\r\n", None, true);
    let (send, user) = (bench.sent().0, Box::from(*b"u1"));
    bench.inbox.commands.push(Command::Kick { ticket: 1, cursor: 0, user, session: None });
    bench.step();
    bench.end_recv(recv);
    assert_eq!((bench.core.state(slot), bench.ops().count()), (State::Leaving, 0), "it sends");
    bench.complete(send, 1, false);
    assert_eq!(bench.said(), [Said::Disconnected(Goodbye::Kicked)]);
    assert!(bench.ops().all(|op| matches!(op, Op::CloseClient { .. })));
}

impl Bench {
    fn end_recv(&mut self, recv: Token) {
        let cancel = Token::new(Kind::CancelRecv, recv.generation(), recv.index());
        self.inbox.completions.push(Completion::plain(recv, -libc::ECANCELED, false));
        self.complete(cancel, 0, false);
    }
}

#[test]
fn a_client_that_never_takes_the_rest_of_a_switch_is_let_go() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(MULTIPLEXED, None);
    bench.receive(recv, b"DONE\r\nb1 IDLE\r\n", None, false);
    let token = bench.sent().0;
    bench.complete(token, 3, false);
    let mut tries = 0;
    while bench.core.counters().disconnected == 0 {
        tries += 1;
        assert!(tries < 200, "it is tried for ever");
        bench.now.mono_ms += 100;
        bench.step();
        if bench.ops().any(|op| matches!(op, Op::SendClient { .. })) {
            let token = bench.sent().0;
            bench.complete(token, -libc::EAGAIN, false);
        }
        if bench.ops().any(|op| matches!(op, Op::Cancel { .. })) {
            bench.end_recv(recv);
        }
    }
    assert_eq!(bench.core.state(slot), State::Free);
    assert!((95..=110).contains(&tries), "after {tries} tries of 100 ms");
}
