//! Clients behind a multiplexing proxy: a channel switch is given whole, or not at all.

use super::*;

/// A worker begins with a switch of its own, so half of one must never be left to it.
#[test]
fn a_channel_switch_is_finished_before_a_worker_is_asked() {
    let mut bench = Bench::new();
    let line = BARE.strip_suffix(b"\n").expect("a line");
    let (slot, recv) = bench.hibernate(&[line, b"\tmultiplex_ostream\n"].concat(), None);
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

#[test]
fn a_client_that_never_takes_the_rest_of_a_switch_is_let_go() {
    let mut bench = Bench::new();
    let line = BARE.strip_suffix(b"\n").expect("a line");
    let (slot, recv) = bench.hibernate(&[line, b"\tmultiplex_ostream\n"].concat(), None);
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
            let cancel = Token::new(Kind::CancelRecv, recv.generation(), recv.index());
            bench.inbox.completions.push(Completion::plain(recv, -libc::ECANCELED, false));
            bench.complete(cancel, 0, false);
        }
    }
    assert_eq!(bench.core.state(slot), State::Free);
    assert!((95..=110).contains(&tries), "after {tries} tries of 100 ms");
}
