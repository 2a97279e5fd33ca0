//! Corners of the core that chance hardly comes to: bounds, second orders, words out of place.

use super::{BARE, Bench, LINE, WDS};
use crate::action::{ACTION_BYTES_MAX, Action, Actions};
use crate::command::{Command, PAGE_CARDS};
use crate::core::card::CARDS_ROOM_BYTES;
use crate::core::{Core, Now};
use crate::limits::{Knobs, Limits, WAKES_PER_STEP};
use crate::record::Flag;
use crate::report::Event as Said;
use crate::ring::{Inbox, Op, PassedKind};
use crate::state::State;
use crate::token::{Kind, Token};
use crate::watch::{Adopted, Adoption, WatchOrder};

/// A bench for so many clients on so many mailboxes.
fn bench(slots_max: u32, mailboxes_max: u32) -> Bench {
    let cold_blocks_max = 32 * (slots_max + 4);
    let limits =
        Limits { slots_max, conns_max: 4, cold_blocks_max, mailboxes_max, ..Limits::default() };
    let mut core = Core::new(&limits, Bench::knobs(), 1);
    let mut out = Actions::new();
    core.start(&mut out);
    let now = Now { mono_ms: 1_000_000, wall_us: 1_800_000_000_000_000 };
    Bench { core, inbox: Inbox::new(64), out, now, lobby: 0, woken: None }
}

impl Bench {
    fn command(&mut self, command: Command) {
        self.inbox.commands.push(command);
        self.step();
    }

    fn answer(&self) -> (Option<u32>, u32) {
        let mut answers = self.out.list.iter().filter_map(|action| match action {
            Action::Answer(answer) => Some((answer.cursor, answer.count)),
            _ => None,
        });
        answers.next_back().expect("an order is answered")
    }

    fn has_stopped(&self) -> bool {
        self.out.list.iter().any(|action| matches!(action, Action::Stopped))
    }

    fn has_sent(&self) -> bool {
        self.ops().any(|op| matches!(op, Op::SendClient { .. }))
    }
}

fn watch() -> Token {
    Token::new(Kind::Watch, 0, 0)
}

#[test]
fn a_crowd_is_woken_listed_and_kicked_in_parts() {
    let crowd = WAKES_PER_STEP as u32 + 20;
    let mut bench = bench(crowd, 4);
    for _ in 0..crowd {
        bench.hibernate(LINE, WDS);
    }
    bench.command(Command::Who { ticket: 1, cursor: 0, user: None });
    assert_eq!(bench.answer(), (Some(PAGE_CARDS), PAGE_CARDS));
    bench.change(1);
    assert_eq!(bench.core.counters().asleep, 20);
    assert_eq!(bench.core.next_deadline_ms(), Some(bench.now.mono_ms), "at once");
    bench.step();
    assert_eq!(bench.core.counters().asleep, 0);
    let user: Box<[u8]> = Box::from(*b"u1");
    bench.command(Command::Kick { ticket: 2, cursor: 0, user, session: None });
    assert_eq!(bench.answer(), (Some(PAGE_CARDS), PAGE_CARDS));
}

#[test]
fn a_card_that_does_not_fit_is_left_out_and_the_list_goes_on_there() {
    let mut bench = bench(4, 4);
    let (slot, _) = bench.hibernate(BARE, None);
    let mut out = Actions::new();
    out.bytes.resize(ACTION_BYTES_MAX - CARDS_ROOM_BYTES + 1, 0);
    assert_eq!(bench.core.card(slot, &mut out).count, 0);
    bench.core.command(Command::Who { ticket: 1, cursor: 0, user: None }, &mut out);
    let Some(Action::Answer(answer)) = out.list.pop() else { panic!("{:?}", out.list) };
    assert_eq!((answer.cursor, answer.count), (Some(slot), 0));
    out.bytes.resize(ACTION_BYTES_MAX, 0);
    bench.core.report_text(Said::Trouble(1), b"x", &mut out);
    bench.core.report_reason(Said::Hibernated, slot, b"x", &mut out);
    for action in out.list {
        let Action::Report(report) = action else { panic!("{action:?}") };
        assert_eq!((report.text.count, report.card.count), (0, 0));
    }
}

#[test]
fn a_stop_finds_the_accept_at_rest_and_comes_once() {
    let mut bench = bench(4, 4);
    bench.complete(Token::new(Kind::Accept, 1, 0), -libc::EMFILE, false);
    assert_eq!(bench.said(), [Said::Trouble(libc::EMFILE)]);
    bench.command(Command::Stop { ticket: 1 });
    assert!(bench.has_stopped(), "nothing has to be waited for");
    bench.command(Command::Stop { ticket: 2 });
    assert!(!bench.has_stopped(), "the end comes once");
}

#[test]
fn what_follows_an_unexpected_line_is_not_read() {
    let mut bench = bench(4, 4);
    let (recv, send) = bench.connect();
    bench.complete(send, 27, false);
    bench.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
    bench.receive(recv, LINE, Some(PassedKind::Tcp), false);
    bench.complete(send, 2, false);
    // An empty line may end in CR LF, and its two bytes may come apart.
    bench.receive(recv, b"\r", Some(PassedKind::Inotify), false);
    assert_eq!(bench.orders().count(), 0);
    bench.receive(recv, b"\n", None, false);
    let orders: Vec<WatchOrder> = bench.orders().collect();
    let [WatchOrder::Adopt { slot, generation, .. }] = orders[..] else { panic!("{orders:?}") };
    bench.receive(recv, b"what\nelse\n", None, false);
    assert_eq!(bench.said().len(), 1, "it is told of once: {:?}", bench.said());
    let outcome = Adoption::Kept;
    bench.inbox.adopted.push(Adopted { slot, generation, outcome });
    bench.step();
    assert_eq!(bench.core.counters().hibernated, 0, "its worker keeps the client");
}

#[test]
fn a_failed_look_at_the_mailboxes_wakes_everybody() {
    let mut bench = bench(4, 4);
    let (slot, _) = bench.hibernate(LINE, WDS);
    bench.complete(watch(), 0, false);
    assert!(bench.ops().any(|op| matches!(op, Op::ReadWatch { .. })), "it is read again");
    bench.complete(watch(), -libc::ENOBUFS, false);
    assert_eq!(bench.core.state(slot), State::Asleep, "nothing is lost for want of a buffer");
    bench.complete(watch(), -libc::EIO, false);
    assert!(bench.said().contains(&Said::Trouble(libc::EIO)));
    assert_eq!(bench.core.state(slot), State::Joining);
}

#[test]
fn who_finds_no_room_for_its_mailbox_is_woken_at_once() {
    let mut bench = bench(4, 1);
    bench.hibernate(LINE, WDS);
    let (slot, _) = bench.hibernate(LINE, Some([3, 4, -1, -1]));
    assert_eq!(bench.core.state(slot), State::Joining);
    let (slot, _) = bench.hibernate(LINE, Some([-1; 4]));
    assert_eq!(bench.core.state(slot), State::Joining, "nor any watch at all");
    assert_eq!(bench.core.counters().wakes_change, 2);
}

#[test]
fn a_tag_that_cannot_be_spoken_is_a_workers_to_answer() {
    let mut bench = bench(4, 4);
    let longest = "t".repeat(129);
    for tag in [longest.as_str(), "a\x033"] {
        let line = format!("u1\tp\ttag={tag}\tidle-cmd\n");
        let (slot, recv) = bench.hibernate(line.as_bytes(), None);
        bench.receive(recv, b"DONE\r\nb7 IDLE\r\n", None, false);
        assert!(!bench.has_sent());
        assert_eq!(bench.core.state(slot), State::Handed);
    }
}

#[test]
fn a_keepalive_that_is_not_out_yet_is_not_followed_by_another() {
    let mut bench = bench(4, 4);
    let (slot, _) = bench.hibernate(b"u1\tp\tidle_notify_interval=1\ttag=a\tidle-cmd\n", None);
    let mut beats = 0;
    for _ in 0..30 {
        bench.now.mono_ms += 100;
        bench.now.wall_us += 100_000;
        bench.step();
        beats += u32::from(bench.has_sent());
    }
    assert_eq!(beats, 1, "in three seconds");
    assert!(bench.core.slots[slot].has(Flag::Send) && bench.core.slots[slot].deadline > 0);
}

#[test]
fn a_step_that_has_much_to_say_gives_nobody_up() {
    let mut bench = bench(4, 4);
    let (slot, recv) = bench.hibernate(BARE, None);
    bench.command(Command::Reload {
        ticket: 1,
        knobs: Knobs { workers_max: 1, input_wait_ms_max: 1, ..Knobs::default() },
    });
    let (other, taken) = bench.hibernate(LINE, WDS);
    bench.receive(taken, b"x", None, false);
    assert_eq!(bench.core.state(other), State::Handed, "the one worker");
    bench.receive(recv, b"x", None, false);
    assert_eq!(bench.core.state(slot), State::Queued);
    bench.core.now.mono_ms += 10_000;
    let mut out = Actions::new();
    out.list.extend((0..5000).map(|_| Action::Stopped));
    bench.core.sweep_waiting(&mut out);
    assert_eq!(bench.core.state(slot), State::Queued);
    out.list.clear();
    bench.core.sweep_waiting(&mut out);
    assert_eq!(bench.core.state(slot), State::Leaving, "given up at the next look");
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
