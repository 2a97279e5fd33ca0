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

mod answers;
mod corners;
mod crowds;
mod damage;
mod heirs;
mod modseq;
mod offers;
mod stages;
mod switch;
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
            let outcome = Adoption::Shared { wds, polled: false, changed: false };
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
