//! The simulated ring against the kernel's: the same random script on both, and what comes back
//! compared after each step, as a multiset per token. Where they differ, the simulator proves
//! nothing.
//!
//! Left out is what cannot be made to happen on both in the same way: a full completion queue, an
//! empty pool, a reset and a full socket. Those are measured in the unit tests of the real ring.

use std::panic::{AssertUnwindSafe, catch_unwind};

use torpor_engine::ring::{Completion, Inbox, Op, Passed, PassedKind, Ring, Span};
use torpor_engine::token::{Kind, Token};

use crate::COMMAND;

use crate::net::Random;

mod real;
mod simulated;

/// Runs the scripts of many seeds; `false` when one of them came out differently.
pub fn all() -> bool {
    for seed in 1..=SEEDS {
        if catch_unwind(AssertUnwindSafe(|| compare(seed))).is_err() {
            println!("fidelity {seed} FAILED: {COMMAND} -- fidelity {seed}");
            return false;
        }
    }
    println!("{SEEDS} scripts came out the same on the simulated and on the real ring");
    true
}

/// One script on both.
pub fn compare(seed: u64) {
    let mut random = Random::new(seed);
    let mut real = Bench::new(real::Kernel::new(seed));
    let mut simulated = Bench::new(simulated::World::new(seed));
    let mut script = Script::default();
    for _ in 0..STEPS {
        // Several steps between two turns of the ring, so that they can meet.
        for _ in 0..1 + random.below(3) {
            if let Some(step) = script.next(&mut random) {
                real.play(&step);
                simulated.play(&step);
                script.trace.push(step);
            }
        }
        let (real, simulated) = (real.settle(), simulated.settle());
        assert_eq!(real, simulated, "real and simulated, after {:#?}", script.trace);
        script.learn(&real);
    }
}

/// One thing that happens, on either side of the ring.
#[derive(Clone, Debug)]
enum Step {
    /// The engine's side.
    Arm(Kind, u32),
    Cancel(Kind, u32),
    Delete(u32),
    Reply(u32, Vec<u8>),
    /// The world's side: a client sends, or ends.
    Say(u32, Vec<u8>),
    HangUp(u32),
    /// A worker sends a text with descriptors on its first byte, or ends.
    Pass(u32, Vec<u8>, Vec<PassedKind>),
    Leave(u32),
    /// The notify descriptor of a slot becomes readable.
    Notify(u32),
}

/// What both worlds can do beside their ring.
trait World {
    type Ring: Ring;
    fn ring(&mut self) -> &mut Self::Ring;
    fn act(&mut self, step: &Step);
    /// Seats the clients, notify descriptors and connections that the script is about.
    fn seat(&mut self);
}

/// A ring and what it has said.
struct Bench<W> {
    world: W,
    inbox: Inbox,
}

/// A completion without what may differ: numbers of descriptors and places.
type Seen = (u64, i32, bool, Vec<u8>, Vec<PassedKind>, bool);

impl<W: World> Bench<W> {
    fn new(mut world: W) -> Self {
        world.seat();
        Self { world, inbox: Inbox::new(1) }
    }

    fn play(&mut self, step: &Step) {
        let (op, text): (Op, &[u8]) = match step {
            Step::Arm(kind, place) => (arm(*kind, *place).0, b""),
            Step::Cancel(kind, place) => (cancel(*kind, *place), b""),
            Step::Delete(slot) => (Op::DeleteItem { slot: *slot }, b""),
            Step::Reply(conn, text) => {
                let span = Span { at: 0, count: text.len() as u32 };
                (
                    Op::SendConn { token: token(Kind::ConnSend, *conn), conn: *conn, text: span },
                    text,
                )
            }
            _ => return self.world.act(step),
        };
        while !self.world.ring().push(&op, text) {
            self.world.ring().enter(Some(0)).expect("enter");
        }
    }

    /// Turns until nothing comes any more.
    fn settle(&mut self) -> Vec<Seen> {
        let (mut seen, mut quiet) = (Vec::new(), 0);
        while quiet < 3 {
            self.world.ring().enter(Some(0)).expect("enter");
            self.inbox.clear();
            self.world.ring().reap(&mut self.inbox);
            self.world.ring().applied();
            quiet = if self.inbox.completions.is_empty() { quiet + 1 } else { 0 };
            for done in self.inbox.completions.drain(..) {
                for passed in done.passed.into_iter().flatten() {
                    assert!(self.world.ring().push(&Op::Drop { passed }, b""));
                }
                seen.push(view(&done, &self.inbox.bytes));
            }
        }
        // Stable: what one operation says keeps its order.
        seen.sort_by_key(|seen| seen.0);
        seen
    }
}

fn view(done: &Completion, arena: &[u8]) -> Seen {
    let kinds = done.passed.iter().flatten().map(|passed: &Passed| passed.kind).collect();
    let mut bytes = done.bytes.of(arena).to_vec();
    if done.token.kind() == Kind::Items {
        // Items are ready in no promised order.
        bytes.as_chunks_mut::<8>().0.sort_unstable();
    }
    (done.token.bits(), done.result, done.more, bytes, kinds, done.passed_lost)
}

/// What the script may do next, from what has come back.
#[derive(Default)]
struct Script {
    armed: Vec<u64>,
    /// Slots with an item in the epoll set.
    items: [bool; PLACES as usize],
    hung_up: [bool; PLACES as usize],
    left: [bool; PLACES as usize],
    trace: Vec<Step>,
}

impl Script {
    fn next(&mut self, random: &mut Random) -> Option<Step> {
        let place = random.below(PLACES.into()) as u32;
        let at = place as usize;
        let text = |random: &mut Random, most: u64| {
            let count = 1 + random.below(most);
            (0..count).map(|_| b'a' + random.below(26) as u8).collect::<Vec<_>>()
        };
        match random.below(108) {
            choice @ 0..40 => {
                let kinds = [Kind::ClientRecv, Kind::ConnRecv, Kind::Notify, Kind::Items];
                let kind = kinds[choice as usize % 4];
                let bits = arm(kind, place).1;
                // Beside an item a recv would eat what it tells of.
                let heard = kind == Kind::ClientRecv && self.items[at];
                let free = !self.armed.contains(&bits) && !heard;
                free.then(|| {
                    self.armed.push(bits);
                    Step::Arm(kind, place)
                })
            }
            40..52 => {
                let kinds = [Kind::ClientRecv, Kind::ConnRecv, Kind::Notify];
                let kind = kinds[random.below(3) as usize];
                // With nothing armed, too: it must say so.
                let bits = cancel_token(kind, place).bits();
                let free = !self.armed.contains(&bits);
                free.then(|| {
                    self.armed.push(bits);
                    Step::Cancel(kind, place)
                })
            }
            52..57 => {
                let bits = token(Kind::ConnSend, place).bits();
                let free = !self.armed.contains(&bits);
                free.then(|| {
                    self.armed.push(bits);
                    Step::Reply(place, text(random, 200))
                })
            }
            57..77 if !self.hung_up[at] => {
                let most = [8, 60, 160, 400][random.below(4) as usize];
                Some(Step::Say(place, text(random, most)))
            }
            77..79 => {
                let first = !std::mem::replace(&mut self.hung_up[at], true);
                first.then_some(Step::HangUp(place))
            }
            79..94 if !self.left[at] => {
                let kinds = [PassedKind::Pollable, PassedKind::Unix, PassedKind::Other];
                let count = [0, 0, 1, 2, 3][random.below(5) as usize];
                let kinds = (0..count).map(|_| kinds[random.below(3) as usize]).collect();
                let most = [8, 900, 6000][random.below(3) as usize];
                Some(Step::Pass(place, text(random, most), kinds))
            }
            94..96 => {
                let first = !std::mem::replace(&mut self.left[at], true);
                first.then_some(Step::Leave(place))
            }
            96..98 => Some(Step::Notify(place)),
            98..104 => {
                let heard = self.armed.contains(&token(Kind::ClientRecv, place).bits());
                let add = !self.items[at] && !heard;
                add.then(|| {
                    self.items[at] = true;
                    Step::Arm(Kind::Item, place)
                })
            }
            104..108 => {
                let delete = std::mem::replace(&mut self.items[at], false);
                delete.then_some(Step::Delete(place))
            }
            _ => None,
        }
    }

    /// Operations that have ended may be started again.
    fn learn(&mut self, seen: &[Seen]) {
        self.armed.retain(|bits| !seen.iter().any(|(ended, _, more, ..)| ended == bits && !more));
    }
}

/// The operation and the bits that it is told by; the set is one.
fn arm(kind: Kind, place: u32) -> (Op, u64) {
    let token = token(kind, if kind == Kind::Items { 0 } else { place });
    let op = match kind {
        Kind::ClientRecv => Op::RecvClient { token, slot: place },
        Kind::ConnRecv => Op::RecvConn { token, conn: place },
        Kind::Notify => Op::PollNotify { token, slot: place },
        Kind::Items => Op::ReadItems { token },
        Kind::Item => Op::AddItem { token, slot: place },
        kind => unreachable!("{kind:?} is not armed by the script"),
    };
    (op, token.bits())
}

fn cancel(kind: Kind, place: u32) -> Op {
    Op::Cancel { token: cancel_token(kind, place), target: token(kind, place) }
}

fn cancel_token(kind: Kind, place: u32) -> Token {
    match kind {
        Kind::ClientRecv => token(Kind::CancelRecv, place),
        Kind::ConnRecv => token(Kind::CancelConn, place),
        _ => token(Kind::CancelNotify, place),
    }
}

fn token(kind: Kind, place: u32) -> Token {
    Token::new(kind, 5, place)
}

/// Seats connection `conn` from a fresh accept of the ring.
fn seat_conn<R: Ring>(ring: &mut R, conn: u32) {
    let (accept, end) = (token(Kind::Accept, 0), token(Kind::CancelAccept, 0));
    let mut inbox = Inbox::new(1);
    assert!(ring.push(&Op::Accept { token: accept }, b""));
    while inbox.completions.is_empty() {
        ring.enter(Some(0)).expect("enter");
        ring.reap(&mut inbox);
        ring.applied();
    }
    let done = inbox.completions[0];
    assert!(done.result >= 0 && done.more, "{done:?}");
    let passed = done.passed[0].expect("an accept brings a connection");
    assert_eq!(passed.kind, PassedKind::Unix);
    assert!(ring.push(&Op::SeatConn { passed, conn }, b""));
    assert!(ring.push(&Op::Cancel { token: end, target: accept }, b""));
    inbox.clear();
    while inbox.completions.len() < 2 {
        ring.enter(Some(0)).expect("enter");
        ring.reap(&mut inbox);
        ring.applied();
    }
}

/// Clients, connections and notify descriptors, as many of each.
const PLACES: u32 = 3;
const STEPS: u32 = 60;
const SEEDS: u64 = 300;
