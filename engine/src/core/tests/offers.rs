//! Offers of workers: what becomes of a client whose hibernation stops half-way.

use super::*;

#[test]
fn a_last_plus_that_waits_behind_a_failed_word_is_not_waited_for() {
    let mut bench = Bench::new();
    let (recv, send) = bench.connect();
    bench.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
    bench.receive(recv, BARE, Some(PassedKind::Tcp), false);
    assert_eq!(bench.core.counters().conns, 1);
    bench.complete(send, -libc::EPIPE, false);
    assert!(bench.ops().any(|op| matches!(op, Op::CloseClient { .. })));
    let cancel = Token::new(Kind::CancelConn, recv.generation(), recv.index());
    bench.inbox.completions.push(Completion::plain(recv, 0, false));
    bench.complete(cancel, -libc::ENOENT, false);
    let counters = bench.core.counters();
    assert_eq!((counters.hibernated, counters.conns, counters.cold_blocks_used), (0, 0, 0));
}

#[test]
fn both_plusses_may_wait_behind_the_version_line() {
    let mut bench = Bench::new();
    let (recv, send) = bench.connect();
    bench.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
    bench.receive(recv, LINE, Some(PassedKind::Tcp), false);
    bench.receive(recv, b"\n", Some(PassedKind::Inotify), false);
    let orders: Vec<WatchOrder> = bench.orders().collect();
    let [WatchOrder::Adopt { slot, generation, .. }] = orders[..] else {
        panic!("an adoption is ordered: {orders:?}");
    };
    let outcome = Adoption::Shared { wds: [1, 2, -1, -1], polled: false, changed: false };
    bench.inbox.adopted.push(Adopted { slot, generation, outcome });
    bench.step();
    for bytes in [27, 2] {
        bench.complete(send, bytes, false);
        assert_eq!(bench.core.state(slot), State::Offered);
        assert!(bench.ops().any(|op| matches!(op, Op::SendConn { .. })));
    }
    bench.complete(send, 2, false);
    assert_eq!(bench.core.state(slot), State::Given);
}

#[test]
fn a_worker_that_dies_before_the_last_plus_keeps_its_client() {
    let mut bench = Bench::new();
    let (recv, send) = bench.connect();
    bench.complete(send, 30, false);
    bench.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
    bench.receive(recv, LINE, Some(PassedKind::Tcp), false);
    bench.complete(recv, 0, false);
    assert!(bench.ops().any(|op| matches!(op, Op::CloseClient { .. })));
    bench.complete(send, -libc::EPIPE, false);
    assert!(bench.ops().any(|op| matches!(op, Op::CloseConn { .. })));
    let counters = bench.core.counters();
    assert_eq!((counters.hibernated, counters.conns, counters.cold_blocks_used), (0, 0, 0));
}
