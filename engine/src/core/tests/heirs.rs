//! What an heir makes of one client. Damage and kills at any point are the simulators'.

use super::*;

/// Its worker had gone, and the engine had not heard of that: the heir hears of it from the old
/// ring, would poll the descriptor, and finds that it died with the engine. Found by the simulator.
#[test]
fn a_notify_descriptor_that_died_is_not_counted_as_kept() {
    let mut bench = Bench::new();
    let (recv, send) = bench.connect();
    bench.complete(send, 30, false);
    let hello = [b"VERSION\timap-hibernate\t1\t0\n", LINE].concat();
    bench.receive(recv, &hello, Some(PassedKind::Tcp), false);
    bench.complete(send, 2, false);
    bench.receive(recv, b"\n", Some(PassedKind::Inotify), false);
    let order = bench.orders().next();
    let Some(WatchOrder::Adopt { slot, generation, .. }) = order else { panic!("{order:?}") };
    bench.inbox.adopted.push(Adopted { slot, generation, outcome: Adoption::Kept });
    bench.step();
    bench.complete(send, 2, false);
    let worker_ended = Completion::plain(recv, 0, false);
    let (mut bench, _) = bench.killed(&[worker_ended]);
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

impl Bench {
    /// An heir, to whom these completions are left, and what it does first.
    fn killed(self, done: &[Completion]) -> (Self, Vec<Op>) {
        let now = self.now;
        let mut core = Core::revive(Self::knobs(), 1, self.core.into_memory(), now).expect("ours");
        let mut out = Actions::new();
        for done in done {
            core.inherit(done, b"", &mut out);
            out.clear();
        }
        core.take_over(1);
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
