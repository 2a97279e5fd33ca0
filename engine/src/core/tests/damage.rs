//! What was damaged, or says of itself what cannot be, costs nobody else.

use super::heirs::{NEW_MAIL, event};
use super::*;
use crate::record::Flag;
use crate::report::Goodbye;
use crate::sends::{Send, SendKind};
use crate::watch::MARKS;

impl Bench {
    /// Up to the last `+`; its worker has not gone yet.
    fn given(&mut self) -> u32 {
        let (recv, send) = self.connect();
        self.complete(send, 30, false);
        let hello = [b"VERSION\timap-hibernate\t1\t0\n", BARE].concat();
        self.receive(recv, &hello, Some(PassedKind::Tcp), false);
        self.complete(send, 2, false);
        let slot = self.core.slots.end() - 1;
        assert_eq!(self.core.state(slot), State::Given);
        slot
    }

    /// The kernel has taken a send that is in no table any more.
    fn lose_send(&mut self, slot: u32) {
        self.core.slots[slot].set(Flag::Send);
        self.step();
    }

    fn states<const COUNT: usize>(&self, slots: [u32; COUNT]) -> [State; COUNT] {
        slots.map(|slot| self.core.state(slot))
    }
}

#[test]
fn a_send_to_nobody_is_forgotten() {
    let mut bench = Bench::new();
    let (slot, _) = bench.hibernate(BARE, None);
    let send = Send::new(1 << 20, SendKind::Keepalive, 0, 0, b"* OK Still here\r\n");
    bench.core.sends.insert(send).expect("room");
    bench.step();
    let (bench, _) = bench.killed(&[]);
    assert!(bench.core.sends.is_empty());
    assert_eq!(bench.core.state(slot), State::Asleep);
}

/// Nobody knows how much of it was heard, so it is told nothing more.
#[test]
fn a_client_whose_send_is_lost_goes_without_a_word() {
    let mut bench = Bench::new();
    let [(slot, _), (other, _)] = [(); 2].map(|()| bench.hibernate(BARE, None));
    bench.lose_send(slot);
    let (bench, ops) = bench.killed(&[]);
    assert_eq!(bench.states([slot, other]), [State::Free, State::Asleep]);
    assert!(!ops.iter().any(|op| matches!(op, Op::SendClient { .. })));
    assert!(
        ops.iter().any(|op| matches!(op, Op::CloseClient { slot: closed, .. } if *closed == slot))
    );
}

/// Its good-bye has no room to be kept in either.
#[test]
fn a_torn_client_is_dropped_where_the_store_is_full() {
    let mut bench = Bench::new();
    let [(slot, _), (other, _)] = [(); 2].map(|()| bench.hibernate(BARE, None));
    let entry = bench.core.slots[other].cold;
    while bench.core.cold.append_input(entry, &[b'x'; 64]) {}
    bench.lose_send(slot);
    let (bench, ops) = bench.killed(&[]);
    assert_eq!(bench.states([slot, other]), [State::Free, State::Asleep]);
    assert!(ops.contains(&Op::ReleaseClient { slot }));
    assert_eq!(bench.core.counters().revived, 1);
}

#[test]
fn two_handed_in_one_place_are_one_handed_and_one_queued() {
    let mut bench = Bench::new();
    let [(first, one), (second, two)] = [(); 2].map(|()| bench.hibernate(BARE, None));
    for recv in [one, two] {
        bench.receive(recv, b"DONE\r\n", None, true);
        bench.join(recv);
    }
    let (place, attempt) = bench.core.slots[first].bound();
    bench.core.slots[second].bind(place, attempt + 1);
    bench.step();
    let (mut bench, _) = bench.killed(&[]);
    assert_eq!(bench.states([first, second]), [State::Handed, State::Queued]);
    bench.step();
    assert_eq!(bench.states([first, second]), [State::Handed; 2]);
    let places = [first, second].map(|slot| bench.core.slots[slot].bound().0);
    assert_ne!(places[0], places[1]);
}

/// A conversation is one client's, and a place that is none holds none: those are ours alone.
#[test]
fn a_conversation_that_cannot_be_is_taken_for_over() {
    let mut bench = Bench::new();
    let slots = [(); 3].map(|()| bench.given());
    let (place, number) = bench.core.slots[slots[0]].bound();
    bench.core.slots[slots[1]].bind(place, number);
    let none = bench.core.limits().conns_max;
    bench.core.slots[slots[2]].bind(none, number);
    bench.step();
    let (bench, ops) = bench.killed(&[]);
    assert_eq!(bench.states(slots), [State::Given, State::Asleep, State::Asleep]);
    let claimed = ops.iter().filter(|op| matches!(op, Op::ClaimConn { .. })).count();
    assert_eq!(claimed, 1);
}

/// Of another tenant, of one who has sunk, and of marks, which died with the engine.
#[test]
fn completions_that_the_dead_did_not_wait_for_are_not_applied() {
    let knobs = Knobs { doze_ms: 0, ..Bench::knobs() };
    let mut bench = Bench::with(&Bench::limits(4), knobs);
    let (sunk, item) = bench.hibernate_sunk(BARE);
    let said = b"DONE\r\n";
    bench.core.knobs.doze_ms = Knobs::default().doze_ms;
    let (watching, recv) = bench.hibernate(LINE, WDS);
    let spoken = |generation, slot| {
        let token = Token::new(Kind::ClientRecv, generation, slot);
        Completion::plain(token, said.len() as i32, true)
    };
    let news = event(1, NEW_MAIL);
    let marks = Completion::plain(Token::new(Kind::Watch, 0, MARKS), news.len() as i32, true);
    let (bench, _) = bench.killed(&[
        (spoken(item.generation(), sunk), said),
        (spoken(recv.generation() + 1, watching), said),
        (marks, &news),
    ]);
    assert_eq!(bench.states([sunk, watching]), [State::Asleep; 2]);
    assert_eq!(bench.core.counters().watch_overflows, 0, "nothing is lost that nobody waits for");
}

/// The line can be read, and what the client said cannot.
#[test]
fn damaged_input_ends_in_a_bye_and_is_never_half_told() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(BARE, None);
    bench.receive(recv, b"DONE\r\nb1 NOOP\r\n", None, true);
    let entry = bench.core.slots[slot].cold;
    bench.core.cold.damage_input(entry);
    let cancel = Token::new(Kind::CancelRecv, recv.generation(), recv.index());
    bench.inbox.completions.push(Completion::plain(recv, -libc::ECANCELED, false));
    bench.complete(cancel, 0, false);
    let (send, text) = bench.sent();
    assert!(text.starts_with(b"* BYE This session was damaged"));
    let count = text.len() as i32;
    bench.complete(send, count, false);
    assert_eq!(bench.said(), [Said::Disconnected(Goodbye::Damaged)]);
}
