//! Changes of mailboxes: gathered, told by several, told too early.

use super::*;
use crate::watch::{MARKED_MIN, MARKS, MARKS_LOST, WatchEvent};

const NEW_MAIL: u32 = 0x100;
const LOST: u32 = 0x4000;

impl Bench {
    /// As far as the watcher's order, which its reply has still to follow.
    fn offer(&mut self) -> (u32, u32) {
        let (recv, send) = self.connect();
        self.complete(send, 27, false);
        self.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
        self.receive(recv, LINE, Some(PassedKind::Tcp), false);
        self.complete(send, 2, false);
        self.receive(recv, b"\n", Some(PassedKind::Inotify), false);
        let orders: Vec<WatchOrder> = self.orders().collect();
        let [WatchOrder::Adopt { slot, generation, .. }] = orders[..] else { panic!("{orders:?}") };
        (slot, generation)
    }

    fn adopted(&mut self, slot: u32, generation: u32, wds: [i32; 4]) {
        let outcome = Adoption::Shared { wds, polled: false, changed: false };
        self.inbox.adopted.push(Adopted { slot, generation, outcome });
        self.step();
    }

    fn watched(&mut self, wd: i32, mask: u32) {
        self.inbox.watched.push(WatchEvent { wd, mask });
        self.step();
    }

    /// Steps at its deadlines until the client is woken; the time that this took.
    fn until_woken(&mut self, slot: u32) -> u64 {
        let start_ms = self.now.mono_ms;
        while self.core.state(slot) == State::Asleep {
            let next_ms = self.core.next_deadline_ms().expect("somebody waits");
            assert!(next_ms > self.now.mono_ms, "steps in vain");
            self.now.mono_ms = next_ms;
            self.step();
        }
        self.now.mono_ms - start_ms
    }
}

#[test]
fn a_burst_of_changes_wakes_once_when_it_is_over() {
    let debounce = Debounce { window_ms: 100, delay_ms_max: 1000 };
    let knobs = Knobs { debounce, doze_ms: 0, ..Knobs::default() };
    let mut bench = Bench::with(&Bench::limits(16), knobs);
    bench.give(LINE, WDS);
    for _ in 0..3 {
        bench.change(1);
        assert_eq!(bench.core.counters().asleep, 1, "more may come");
        bench.now.mono_ms += 10;
    }
    assert_eq!(bench.until_woken(0), 170, "a second window of 100 ms, in which nothing came");
    assert_eq!(bench.core.counters().wakes_change, 1);
}

#[test]
fn what_is_told_before_the_watchers_reply_is_not_missed() {
    for told in [true, false] {
        let mut bench = Bench::new();
        bench.watched(7, NEW_MAIL);
        bench.now.mono_ms += 1;
        let (slot, generation) = bench.offer();
        bench.now.mono_ms += 5;
        if told {
            bench.watched(7, NEW_MAIL);
        }
        bench.watched(8, NEW_MAIL);
        bench.adopted(slot, generation, [7, -1, -1, -1]);
        let changed = bench.core.slots[slot].has(crate::record::Flag::Changed);
        assert_eq!(changed, told, "of before the worker came, it knows itself");
    }
    let mut bench = Bench::new();
    let (slot, generation) = bench.offer();
    bench.watched(-1, LOST);
    bench.adopted(slot, generation, [7, -1, -1, -1]);
    assert!(bench.core.slots[slot].has(crate::record::Flag::Changed), "nobody knows");
}

#[test]
fn marks_are_read_beside_inotify_and_lose_events_apart() {
    let mut bench = Bench::new();
    bench.out.clear();
    bench.core.hear_marks(&mut bench.out);
    let token = bench.op(|op| match op {
        Op::ReadWatch { token } => Some(*token),
        _ => None,
    });
    assert_eq!(token.index(), MARKS);
    let (watched, _) = bench.hibernate(LINE, Some([1, 2, -1, -1]));
    let (marked, _) = bench.hibernate(LINE, Some([MARKED_MIN, MARKED_MIN + 1, -1, -1]));
    bench.complete(token, -libc::ENOBUFS, false);
    assert!(bench.ops().any(|op| *op == Op::ReadWatch { token }), "it is read again");
    bench.watched(MARKS_LOST, LOST);
    assert_eq!(bench.core.state(watched), State::Asleep, "inotify has lost nothing");
    assert_eq!(bench.core.state(marked), State::Joining);
    assert_eq!(bench.core.counters().watch_overflows, 1);
    bench.complete(Token::new(Kind::Watch, 0, 0), -libc::EIO, false);
    assert_eq!(bench.core.state(watched), State::Joining);
}
