//! What an heir makes of one client. Damage and kills at any point are the simulators'.

use super::*;
use crate::memory::Memory;
use crate::watch::MARKED_MIN;

/// Its worker had gone, and the engine had not heard of that: the heir hears of it from the old
/// ring, would poll the descriptor, and finds that it died with the engine. Found by the simulator.
#[test]
fn a_notify_descriptor_that_died_is_not_counted_as_kept() {
    let mut bench = Bench::new();
    let (recv, send, slot, generation) = bench.offer_a_watch();
    bench.inbox.adopted.push(Adopted { slot, generation, outcome: Adoption::Kept });
    bench.step();
    bench.complete(send, 2, false);
    let worker_ended = Completion::plain(recv, 0, false);
    let (mut bench, _) = bench.killed(&[(worker_ended, &[])]);
    assert_eq!((bench.core.state(slot), bench.core.counters().notify_kept), (State::Queued, 0));
    bench.step();
    assert_eq!(bench.core.counters().revived, 1);
    bench.join(Token::new(Kind::ClientRecv, generation, slot));
    assert_eq!(bench.core.counters().notify_kept, 0);
}

/// Its event was heard, and the engine was killed before it had deleted the item: the set tells of
/// it for ever, and nobody could delete it once a worker has the client. Found by the simulator.
#[test]
fn the_item_of_a_sleeper_that_had_stirred_is_deleted() {
    let knobs = Knobs { doze_ms: 0, ..Bench::knobs() };
    let mut bench = Bench::with(&Bench::limits(4), knobs);
    let (slot, item) = bench.hibernate_sunk(BARE);
    let told = item.bits().to_ne_bytes();
    bench.receive(Token::new(Kind::Items, 0, 0), &told, None, false);
    let (_, ops) = bench.killed(&[]);
    let at = |is_it: fn(&Op) -> bool| ops.iter().position(is_it).expect("among the first");
    let deleted = at(|op| matches!(op, Op::DeleteItem { .. }));
    assert!(deleted < at(|op| matches!(op, Op::RecvClient { .. } | Op::AddItem { .. })));
    assert_eq!(ops[deleted], Op::DeleteItem { slot });
}

/// Places are taken up a page at a time: nobody is left out, and none is left occupied.
#[test]
fn an_heir_takes_up_every_page() {
    let limits = Limits { conns_max: 1500, ..Bench::limits(4) };
    let mut bench = Bench::with(&limits, Bench::knobs());
    bench.hibernate(BARE, None);
    let (bench, ops) = bench.killed(&[]);
    assert_eq!(bench.core.counters().revived, 1);
    let released = ops.iter().filter(|op| matches!(op, Op::ReleaseConn { .. })).count();
    assert_eq!((released, ops.contains(&Op::ReleaseConn { conn: 1499 })), (1500, true));
}

/// The accept of the dead may be woken for the worker that comes next, until its ring is gone:
/// nobody was told of that worker, who waited for the one after it. Found by a hundred kills.
#[test]
fn an_heir_begins_its_accept_anew_for_a_while() {
    let (mut bench, _) = Bench::new().killed(&[]);
    let mut anew = 0;
    for _ in 0..20 {
        bench.now.mono_ms += 1000;
        bench.step();
        let target = bench.ops().find_map(|op| match op {
            Op::Cancel { target, .. } if target.kind() == Kind::Accept => Some(*target),
            _ => None,
        });
        let Some(target) = target else { continue };
        bench.complete(target, -libc::ECANCELED, false);
        assert!(bench.ops().any(|op| matches!(op, Op::Accept { .. })));
        anew += 1;
    }
    assert_eq!(anew, 10);
    assert_eq!(bench.core.next_deadline_ms(), None, "then it rests");
}

/// It goes on with the watches that were there, and what the dead had read and not applied it
/// applies; that its read was cancelled is no news.
#[test]
fn an_heir_wakes_those_whose_mailbox_has_news_and_nobody_else() {
    let watch = Token::new(Kind::Watch, 0, 0);
    let mut bench = Bench::new();
    let (quiet, _) = bench.hibernate(LINE, WDS);
    let (news, _) = bench.hibernate(LINE, Some([3, 4, -1, -1]));
    let (later, _) = bench.hibernate(LINE, Some([5, 6, -1, -1]));
    let news_bytes = event(4, NEW_MAIL);
    let read = Completion::plain(watch, news_bytes.len() as i32, true);
    let cancelled = Completion::plain(watch, -libc::ECANCELED, false);
    let (mut bench, _) = bench.killed(&[(read, &news_bytes), (cancelled, &[])]);
    assert_eq!(bench.core.next_deadline_ms(), Some(bench.now.mono_ms), "it waits for nothing");
    bench.step();
    let states = [quiet, news, later].map(|slot| bench.core.state(slot));
    assert_eq!(states, [State::Asleep, State::Joining, State::Asleep]);
    assert_eq!(bench.orders().count(), 2, "nobody sleeps on these any more");
    bench.change(5);
    assert_eq!(bench.core.state(later), State::Joining);
    assert_eq!((bench.core.state(quiet), bench.core.counters().mailboxes), (State::Asleep, 1));
}

/// Of a watch that the dead had adopted, or was about to let go, nobody knows; until it stirs.
#[test]
fn an_heir_lets_go_of_what_nobody_sleeps_on() {
    let mut bench = Bench::new();
    bench.hibernate(LINE, WDS);
    bench.change(9);
    assert_eq!(bench.orders().count(), 0, "of ours we know: whoever is adopted will come");
    let (mut bench, _) = bench.killed(&[]);
    bench.step();
    for (wd, mask, released) in
        [(9, NEW_MAIL, true), (9, NEW_MAIL, false), (9, GONE, false), (MARKED_MIN, NEW_MAIL, false)]
    {
        bench.receive(Token::new(Kind::Watch, 0, 0), &event(wd, mask), None, true);
        let orders: Vec<WatchOrder> = bench.orders().collect();
        let expected = released.then_some(WatchOrder::Release { wd });
        assert_eq!(orders, expected.into_iter().collect::<Vec<_>>(), "{wd} {mask:x}");
    }
    assert_eq!(bench.core.counters().mailboxes, 1);
}

/// What an heir says of an event that the dead had read is thrown away, so the next one counts.
/// Found by the simulator.
#[test]
fn a_stray_that_the_dead_had_read_of_is_let_go_when_it_stirs_again() {
    let mut bench = Bench::new();
    bench.hibernate(BARE, None);
    let (watch, bytes) = (Token::new(Kind::Watch, 0, 0), event(9, NEW_MAIL));
    let read = Completion::plain(watch, bytes.len() as i32, true);
    let (mut bench, _) = bench.killed(&[(read, &bytes)]);
    bench.receive(watch, &bytes, None, true);
    assert_eq!(bench.orders().collect::<Vec<_>>(), [WatchOrder::Release { wd: 9 }]);
}

/// An estate of before has none: whoever sleeps on a mailbox wakes, once.
#[test]
fn an_heir_without_memory_of_mailboxes_wakes_whoever_sleeps_on_one() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(LINE, WDS);
    let (other, _) = bench.hibernate(BARE, None);
    let limits = bench.core.limits().clone();
    let (mut bench, _) = bench.killed_with(&[], |memory| {
        memory.mailboxes = Memory::new_mailboxes(&limits).expect("memory");
    });
    bench.step();
    let states = [slot, other].map(|slot| bench.core.state(slot));
    assert_eq!(states, [State::Joining, State::Asleep]);
    bench.join(recv);
    bench.reply(recv, Outcome::Taken);
    let (again, _) = bench.hibernate(LINE, WDS);
    let (mut bench, _) = bench.killed(&[]);
    bench.step();
    assert_eq!(bench.core.state(again), State::Asleep);
}

/// Killed while the watcher adopts: the worker keeps its client, and nobody else is disturbed.
#[test]
fn a_watch_of_an_offer_that_is_taken_back_is_let_go() {
    let mut bench = Bench::new();
    let (_, _, slot, generation) = bench.offer_a_watch();
    let outcome = Adoption::Shared { wds: [1, 2, -1, -1], polled: false, changed: false };
    bench.inbox.adopted.push(Adopted { slot, generation, outcome });
    bench.step();
    assert_eq!(bench.core.counters().mailboxes, 1);
    let (mut bench, _) = bench.killed(&[]);
    assert_eq!(bench.core.state(slot), State::Free);
    bench.step();
    assert_eq!(bench.core.counters().mailboxes, 0);
}

pub(super) fn event(wd: i32, mask: u32) -> Vec<u8> {
    let numbers = [wd.cast_unsigned(), mask, 0, 0];
    numbers.into_iter().flat_map(u32::to_ne_bytes).collect()
}

pub(super) const NEW_MAIL: u32 = 0x100;
const GONE: u32 = 0x8000;

impl Bench {
    /// An offer up to the order to adopt its notify descriptor: the connection's recv and send, the
    /// slot and its generation.
    fn offer_a_watch(&mut self) -> (Token, Token, u32, u32) {
        let (recv, send) = self.connect();
        self.complete(send, 30, false);
        let hello = [b"VERSION\timap-hibernate\t1\t0\n", LINE].concat();
        self.receive(recv, &hello, Some(PassedKind::Tcp), false);
        self.complete(send, 2, false);
        self.receive(recv, b"\n", Some(PassedKind::Inotify), false);
        let order = self.orders().next();
        let Some(WatchOrder::Adopt { slot, generation, .. }) = order else { panic!("{order:?}") };
        (recv, send, slot, generation)
    }

    /// An heir, to whom these completions are left, and what it does first.
    pub(super) fn killed(self, done: &[(Completion, &[u8])]) -> (Self, Vec<Op>) {
        self.killed_with(done, |_| {})
    }

    /// The same over memory that was changed meanwhile.
    pub(super) fn killed_with(
        self,
        done: &[(Completion, &[u8])],
        change: impl FnOnce(&mut Memory),
    ) -> (Self, Vec<Op>) {
        let now = self.now;
        let mut memory = self.core.into_memory();
        change(&mut memory);
        let mut core = Core::revive(Self::knobs(), 1, memory, now).expect("ours");
        let mut out = Actions::new();
        for (done, bytes) in done {
            let mut done = *done;
            done.bytes.count = bytes.len() as u32;
            core.inherit(&done, bytes, &mut out);
            out.clear();
        }
        core.take_over(core.ledger().ring + 1);
        let mut first = Vec::new();
        while core.resume_some(&mut out) {
            first.extend(out.list.drain(..).filter_map(|action| match action {
                Action::Ring(op) => Some(op),
                _ => None,
            }));
            out.clear();
        }
        core.start(&mut out);
        (Self { core, inbox: Inbox::new(64), out, now, lobby: 0, woken: None }, first)
    }
}
