//! The core by hand: one client's life, completion by completion. The simulator does the rest.

use torpor_handoff::message::{Exited, Outcome, Reply, Wake};

use super::{Core, Now};
use crate::action::{Action, Actions};
use crate::command::Command;
use crate::limits::{Knobs, Limits};
use crate::mailboxes::Debounce;
use crate::report::Event as Said;
use crate::ring::{Completion, Inbox, Op, Passed, PassedKind, Peer};
use crate::state::State;
use crate::token::{Kind, Token};
use crate::watch::{Adopted, Adoption, WatchOrder};

mod corners;
mod stages;
mod watches;

/// A core with its inbox and the actions of its last step.
struct Bench {
    core: Core,
    inbox: Inbox,
    out: Actions,
    now: Now,
    lobby: u32,
    /// The last wake, as its worker's end would be told.
    woken: Option<Exited>,
}

impl Bench {
    fn new() -> Self {
        Self::with_sends(1024)
    }

    fn with_sends(sends_in_flight_max: u32) -> Self {
        Self::with(&Self::limits(sends_in_flight_max), Self::knobs())
    }

    /// A change wakes at once: what waits has tests of its own.
    fn knobs() -> Knobs {
        Knobs { debounce: Debounce::NONE, ..Knobs::default() }
    }

    fn limits(sends_in_flight_max: u32) -> Limits {
        Limits {
            slots_max: 4,
            conns_max: 4,
            cold_blocks_max: 256,
            mailboxes_max: 4,
            sends_in_flight_max,
            ..Limits::default()
        }
    }

    fn with(limits: &Limits, knobs: Knobs) -> Self {
        let mut core = Core::new(limits, knobs, 1);
        let mut out = Actions::new();
        core.start(&mut out);
        let now = Now { mono_ms: 1_000_000, wall_us: 1_800_000_000_000_000 };
        Self { core, inbox: Inbox::new(64), out, now, lobby: 0, woken: None }
    }

    fn step(&mut self) {
        self.out.clear();
        self.core.step(&mut self.inbox, self.now, &mut self.out);
        self.inbox.clear();
    }

    fn complete(&mut self, token: Token, result: i32, more: bool) {
        self.inbox.completions.push(Completion::plain(token, result, more));
        self.step();
    }

    fn receive(&mut self, token: Token, bytes: &[u8], passed: Option<PassedKind>, more: bool) {
        let mut done = Completion::plain(token, bytes.len() as i32, more);
        done.bytes = self.inbox.keep(bytes);
        done.passed[0] = passed.map(|kind| self.pass(kind));
        self.inbox.completions.push(done);
        self.step();
    }

    fn pass(&mut self, kind: PassedKind) -> Passed {
        self.lobby += 1;
        Passed { lobby: self.lobby, kind, dev_major: 0, dev_minor: 9, inode: 77 }
    }

    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.out.list.iter().filter_map(|action| match action {
            Action::Ring(op) => Some(op),
            _ => None,
        })
    }

    fn op<T>(&self, find: impl Fn(&Op) -> Option<T>) -> T {
        let found = self.ops().find_map(find);
        found.unwrap_or_else(|| panic!("not among {:?}", self.out.list))
    }

    /// The send to a client of the last step, and its text.
    fn sent(&self) -> (Token, &[u8]) {
        self.op(|op| match op {
            Op::SendClient { token, text, .. } => Some((*token, text.of(&self.out.bytes))),
            _ => None,
        })
    }

    fn said(&self) -> Vec<Said> {
        let reports = self.out.list.iter().filter_map(|action| match action {
            Action::Report(report) => Some(report.event),
            _ => None,
        });
        reports.collect()
    }

    /// A worker connects; the tokens of its recv and of what is said to it.
    fn connect(&mut self) -> (Token, Token) {
        let mut done = Completion::plain(Token::new(Kind::Accept, 1, 0), 9, true);
        done.passed[0] = Some(self.pass(PassedKind::Unix));
        done.peer = Peer { pid: 1, uid: 2, gid: 3 };
        self.inbox.completions.push(done);
        self.step();
        let recv = self.op(|op| match op {
            Op::RecvConn { token, .. } => Some(*token),
            _ => None,
        });
        (recv, Token::new(Kind::ConnSend, recv.generation(), recv.index()))
    }

    /// Hibernates one client; returns its slot and the token of its recv.
    fn hibernate(&mut self, line: &[u8], wds: Option<[i32; 4]>) -> (u32, Token) {
        self.give(line, wds);
        self.op(|op| match op {
            Op::RecvClient { token, slot } => Some((*slot, *token)),
            _ => None,
        })
    }

    /// The same of one that sinks at once; the token of its item.
    fn hibernate_sunk(&mut self, line: &[u8]) -> (u32, Token) {
        self.give(line, None);
        self.op(|op| match op {
            Op::AddItem { token, slot } => Some((*slot, *token)),
            _ => None,
        })
    }

    /// A worker gives a client away.
    fn give(&mut self, line: &[u8], wds: Option<[i32; 4]>) {
        let (recv, send) = self.connect();
        self.complete(send, 30, false);
        let hello = [b"VERSION\timap-hibernate\t1\t0\n", &line[..1]].concat();
        self.receive(recv, &hello, Some(PassedKind::Tcp), false);
        self.receive(recv, &line[1..], None, false);
        self.complete(send, 2, false);
        if let Some(wds) = wds {
            self.receive(recv, b"\n", Some(PassedKind::Inotify), false);
            let orders: Vec<WatchOrder> = self.orders().collect();
            let [WatchOrder::Adopt { slot, generation, .. }] = orders[..] else {
                panic!("an adoption is ordered: {orders:?}");
            };
            let outcome = Adoption::Shared { wds, changed: false };
            self.inbox.adopted.push(Adopted { slot, generation, outcome });
            self.step();
            self.complete(send, 2, false);
        }
        self.complete(recv, 0, false);
    }

    fn orders(&self) -> impl Iterator<Item = WatchOrder> {
        self.out.list.iter().filter_map(|action| match action {
            Action::Watch(order) => Some(*order),
            _ => None,
        })
    }

    /// Something happens in the directory under this watch.
    fn change(&mut self, wd: i32) {
        let mut event = [0; 32];
        event[..4].copy_from_slice(&wd.to_ne_bytes());
        event[12..16].copy_from_slice(&16_u32.to_ne_bytes());
        self.receive(Token::new(Kind::Watch, 0, 0), &event, None, true);
    }

    /// Ends the recv that a wake cancels, and returns the request line.
    fn join(&mut self, recv: Token) -> String {
        let cancel = Token::new(Kind::CancelRecv, recv.generation(), recv.index());
        self.inbox.completions.push(Completion::plain(recv, -libc::ECANCELED, false));
        self.complete(cancel, 0, false);
        let wake = self.out.list.iter().find_map(|action| match action {
            Action::Wake(Wake { slot, generation, session, parcel, .. }) => {
                let (slot, generation, session) = (*slot, *generation, *session);
                Some((Exited { slot, generation, session }, parcel.clone()))
            }
            _ => None,
        });
        let (woken, parcel) = wake.expect("a wake");
        self.woken = Some(woken);
        String::from_utf8(parcel).expect("text")
    }

    fn reply(&mut self, recv: Token, outcome: Outcome) {
        let (slot, generation, parcel) = (recv.index(), recv.generation(), Vec::new());
        let session = self.woken.map_or(0, |woken| woken.session);
        self.inbox.replies.push(Reply { slot, generation, session, outcome, parcel });
        self.step();
    }
}

const LINE: &[u8] = b"u1\tpfx\tidle_notify_interval=120\tsession=s1\trip=203.0.113.5\ttag=a3\t\
stats=x\tidle-cmd\tnotify_fd\tstate=YmFzZQo=\tinput_bytes_extra=26\toutput_bytes_extra=763\n";
const BARE: &[u8] = b"u1\tpfx\tidle_notify_interval=0\ttag=a3\tidle-cmd\n";
const WDS: Option<[i32; 4]> = Some([1, 2, -1, -1]);

#[test]
fn done_wakes_with_the_bytes_as_they_came() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(LINE, WDS);
    assert_eq!(bench.core.counters().asleep, 1);
    bench.receive(recv, b"DO", None, true);
    assert_eq!(bench.core.state(slot), State::Asleep);
    bench.receive(recv, b"NE\r\n", None, true);
    let line = bench.join(recv);
    assert!(line.starts_with("u1\thibernation_started=1800000000.000000\t"), "{line}");
    assert!(line.contains("\tclient_input=RE9ORQ0K\t") && line.contains("\tidle-continue"));
    bench.reply(recv, Outcome::Taken);
    assert_eq!(bench.said(), [Said::Unhibernated(crate::report::Cause::Input)]);
    let counters = bench.core.counters();
    assert_eq!((counters.asleep, counters.awake, counters.cold_blocks_used), (0, 1, 0));
}

#[test]
fn a_changed_mailbox_wakes_once_and_a_refusal_is_retried() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(LINE, WDS);
    bench.change(1);
    assert_eq!(bench.orders().count(), 2, "both watches are released");
    assert!(!bench.join(recv).contains("client_input"));
    bench.reply(recv, Outcome::Refused);
    assert_eq!(bench.core.state(slot), State::Queued);
    let again = bench.op(|op| match op {
        Op::RecvClient { token, .. } => Some(*token),
        _ => None,
    });
    assert_eq!(again, recv, "it is heard while it waits");
    bench.now.mono_ms += 1000;
    bench.step();
    assert!(bench.ops().any(|op| matches!(op, Op::Cancel { target, .. } if *target == recv)));
    bench.join(recv);
    bench.reply(recv, Outcome::Taken);
    assert_eq!(bench.core.counters().retried_refused, 1);
}

#[test]
fn done_and_idle_in_one_breath_is_answered_asleep() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(LINE, WDS);
    bench.receive(recv, b"DONE\r\nb7 IDLE\r\n", None, true);
    let (token, text) = bench.op(|op| match op {
        Op::SendClient { token, text, .. } => Some((*token, *text)),
        _ => None,
    });
    assert_eq!(text.of(&bench.out.bytes), b"a3 OK Idle completed.\r\n+ idling\r\n");
    bench.complete(token, text.count as i32, false);
    assert_eq!(bench.core.state(slot), State::Asleep);
    bench.receive(recv, b"DONE\r\nb8 NOOP\r\n", None, true);
    let line = bench.join(recv);
    assert!(line.contains("\ttag=b7\t"), "{line}");
    assert!(line.contains("\tinput_bytes_extra=41\t"), "{line}");
    assert!(line.contains("\toutput_bytes_extra=796"), "{line}");
}

#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    let mut bench = Bench::new();
    for line in [LINE, BARE] {
        let (slot, recv) = bench.hibernate(line, (line == LINE).then_some([3, 4, -1, -1]));
        bench.complete(recv, 0, false);
        assert!(bench.ops().any(|op| matches!(op, Op::CloseClient { .. })));
        assert_eq!(bench.core.state(slot), State::Free);
        let counters = bench.core.counters();
        assert_eq!((counters.mailboxes, counters.cold_blocks_used), (0, 0));
    }
    assert_eq!(bench.core.counters().disconnected, 2);
}

#[test]
fn each_accept_is_cancelled_under_a_token_of_its_own() {
    let mut bench = Bench::new();
    let mut cancels = Vec::new();
    for ticket in 1..=2 {
        bench.inbox.commands.push(Command::Relisten { ticket });
        bench.step();
        let (token, target) = bench.op(|op| match op {
            Op::Cancel { token, target } => Some((*token, *target)),
            _ => None,
        });
        cancels.push(token);
        // The accept ends, and the completion of its cancel is still to come.
        bench.complete(target, -libc::ECANCELED, false);
        assert!(bench.ops().any(|op| matches!(op, Op::Accept { .. })));
    }
    assert_ne!(cancels[0], cancels[1]);
    for token in cancels {
        bench.complete(token, 0, false);
    }
}

#[test]
fn everybody_is_told_bye_though_sends_are_few() {
    let mut bench = Bench::with_sends(1);
    let recvs = [(); 3].map(|()| bench.hibernate(BARE, None).1);
    bench.inbox.commands.push(Command::Stop { ticket: 1 });
    bench.step();
    let mut told = 0;
    for _ in 0..recvs.len() {
        let sends: Vec<(Token, u32)> = bench
            .ops()
            .filter_map(|op| match op {
                Op::SendClient { token, text, .. } => Some((*token, text.count)),
                _ => None,
            })
            .collect();
        assert_eq!(sends.len(), 1, "one at a time");
        told += 1;
        bench.complete(sends[0].0, sends[0].1 as i32, false);
        bench.now.mono_ms += 200;
        bench.step();
    }
    for recv in recvs {
        let cancel = Token::new(Kind::CancelRecv, recv.generation(), recv.index());
        bench.inbox.completions.push(Completion::plain(recv, -libc::ECANCELED, false));
        bench.complete(cancel, 0, false);
    }
    assert_eq!((told, bench.core.counters().disconnected), (3, 3));
}

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
    let outcome = Adoption::Shared { wds: [1, 2, -1, -1], changed: false };
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

#[test]
fn after_a_long_outage_nobody_rests_for_long_or_alone() {
    let mut bench = Bench::new();
    let clients = [[1, 2, -1, -1], [3, 4, -1, -1]].map(|wds| bench.hibernate(LINE, Some(wds)).1);
    bench.change(1);
    bench.change(3);
    for pause_ms in [0, 60_000] {
        bench.now.mono_ms += pause_ms;
        bench.step();
        for recv in clients {
            bench.join(recv);
            bench.reply(recv, Outcome::Refused);
        }
    }
    // The second slot rests for 969 ms, the first for 1000.
    bench.now.mono_ms += 969;
    bench.step();
    bench.join(clients[1]);
    bench.reply(clients[1], Outcome::Taken);
    assert_eq!(bench.core.state(clients[0].index()), State::Joining, "its rest is over too");
    bench.join(clients[0]);
    bench.reply(clients[0], Outcome::Taken);
    assert_eq!(bench.core.counters().unhibernated, 2);
}

/// A state in which INBOX is selected and these features are on, as Dovecot 2.3.19.1 writes it.
const CONDSTORE: &str =
    "YmFzZQpCSU5CT1gAUVFRUVFRUVFRUVFRUVFRUQCPoJHYBgQDAgAA+fDiAQEBAUZDT05EU1RPUkUA";
const QRESYNC: &str = "YmFzZQpCSU5CT1gAUVFRUVFRUVFRUVFRUVFRUQCPoJHYBgQDAgAA+fDiAQEBAUZDT05\
EU1RPUkUARlFSRVNZTkMA";

fn line_with(state: &str) -> String {
    format!("u1\tpfx\tidle_notify_interval=0\ttag=a3\tidle-cmd\tstate={state}\n")
}

#[test]
fn who_would_not_be_restored_as_it_was_stays_with_its_worker() {
    use crate::limits::KeepAwake::{self, Condstore, Nobody, Qresync};
    assert_eq!(KeepAwake::default(), Qresync);
    let cases = [
        (Nobody, "YmFzZQo=", b'+'),
        (Nobody, CONDSTORE, b'+'),
        (Nobody, QRESYNC, b'+'),
        (Qresync, CONDSTORE, b'+'),
        (Qresync, QRESYNC, b'-'),
        (Condstore, "YmFzZQo=", b'+'),
        (Condstore, CONDSTORE, b'-'),
        (Condstore, QRESYNC, b'-'),
    ];
    for (keep_awake, state, answer) in cases {
        let mut bench = Bench::new();
        bench.core.knobs.keep_awake = keep_awake;
        let (recv, send) = bench.connect();
        bench.complete(send, 30, false);
        bench.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
        bench.receive(recv, line_with(state).as_bytes(), Some(PassedKind::Tcp), false);
        let said = bench.op(|op| match op {
            Op::SendConn { text, .. } => Some(text.of(&bench.out.bytes)[0]),
            _ => None,
        });
        assert_eq!(said, answer, "{keep_awake:?} {state}");
        let refused = u64::from(answer == b'-');
        let counters = bench.core.counters();
        assert_eq!((counters.refused, counters.refused_kept_awake), (refused, refused));
        assert_eq!(matches!(bench.said()[..], [Said::KeptAwake(_)]), answer == b'-');
    }
}

#[test]
fn a_worker_gets_condstore_before_the_mailbox() {
    let mut bench = Bench::new();
    let (_, recv) = bench.hibernate(line_with(CONDSTORE).as_bytes(), None);
    bench.receive(recv, b"DONE\r\n", None, true);
    let moved = "YmFzZQpGQ09ORFNUT1JFAEJJTkJPWABRUVFRUVFRUVFRUVFRUVFRAI+gkdgGBAMCAAD58OIBAQEB";
    let line = bench.join(recv);
    assert!(line.contains(&format!("\tstate={moved}\t")), "{line}");
}

/// A storm of wakes waits for workers, not for the clock.
#[test]
fn a_worker_that_has_ended_makes_room_for_the_next_wake() {
    let mut bench = Bench::new();
    bench.core.knobs.workers_max = 1;
    let [first, second] = ["s1", "s2"].map(|session| {
        let line = format!("u1\tpfx\tidle_notify_interval=0\tsession={session}\ttag=a\tidle-cmd\n");
        bench.hibernate(line.as_bytes(), None).1
    });
    bench.receive(first, b"DONE\r\n", None, true);
    bench.join(first);
    let woken = bench.woken.expect("its wake");
    bench.receive(second, b"DONE\r\n", None, false);
    bench.reply(first, Outcome::Taken);
    assert_eq!(bench.core.state(second.index()), State::Queued, "one worker is all there is");
    let other = Exited { generation: woken.generation + 1, ..woken };
    bench.inbox.exited.push(other);
    bench.step();
    assert_eq!(bench.core.counters().awake, 1, "the end of another wake's worker");
    bench.inbox.exited.push(woken);
    bench.step();
    assert_eq!(bench.core.counters().awake, 0);
    assert_eq!(bench.core.state(second.index()), State::Handed);
}

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

/// The words of one sleeper are damaged in the store: it is told BYE when it stirs, and the other
/// one of the same shape still wakes.
#[test]
fn damaged_words_end_in_a_bye_and_touch_nobody_else() {
    let mut bench = Bench::new();
    let (slot, recv) = bench.hibernate(BARE, None);
    let (_, other) = bench.hibernate(BARE, None);
    let entry = bench.core.slots[slot].cold;
    bench.core.cold.damage(entry);
    bench.receive(recv, b"DONE\r\n", None, false);
    let (send, text) = bench.op(|op| match op {
        Op::SendClient { token, text, .. } => Some((*token, *text)),
        _ => None,
    });
    assert!(text.of(&bench.out.bytes).starts_with(b"* BYE This session was damaged"));
    bench.complete(send, text.count as i32, false);
    assert_eq!(bench.said(), [Said::Disconnected(crate::report::Goodbye::Damaged)]);
    assert_eq!((bench.core.counters().cold_damaged, bench.core.counters().asleep), (1, 1));
    bench.receive(other, b"DONE\r\n", None, true);
    assert!(bench.join(other).contains("client_input=RE9ORQ0K"));
}
