//! A hibernate line becomes a client: checks, slot, adoption of its watches, the last `+`.

use torpor_handoff::line::{HibernateLine, Modseq, modseq};

use super::conn::{Stage, Word};
use super::{Core, card};
use crate::action::{Action, Actions};
use crate::keepalive;
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::report::{Event as Said, Goodbye};
use crate::ring::{Op, Passed, PassedKind};
use crate::state::{Event, State};
use crate::watch::{Adopted, Adoption, WatchOrder};

impl Core {
    /// A whole line has come. Checks everything that can be checked before the client is ours.
    pub(super) fn offer(&mut self, conn: usize, whole: &[u8], out: &mut Actions) {
        assert!(whole.ends_with(b"\n"), "half a line is offered");
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let parsed = match HibernateLine::parse(line) {
            Ok(parsed) => parsed,
            Err(why) => {
                let prefix = "Failed to parse client input";
                let text = self.write_text(format_args!("{prefix}: {why}"));
                self.refuse(conn, &text, out);
                self.text = text;
                return;
            }
        };
        let passed = match self.conns[conn].passed {
            [Some(passed), None] => passed,
            [None, _] => return self.refuse(conn, b"IMAP client fd not received", out),
            _ => return self.refuse(conn, b"Two descriptors received, one expected", out),
        };
        if let Err(why) = check_client(&parsed, &passed) {
            return self.refuse(conn, why, out);
        }
        if self.stop.is_some() {
            return self.refuse(conn, b"Server shutting down", out);
        }
        if let Some(reason) = self.keeps_awake(&parsed) {
            self.counters.refused_kept_awake += 1;
            let said = Said::KeptAwake(self.conns[conn].peer);
            return self.refuse_as(said, conn, reason, out);
        }
        let Some(slot) = self.slots.claim() else {
            return self.refuse_full(conn, b"full: slots_max is reached", out);
        };
        self.conns[conn].passed = [None, None];
        self.conns[conn].slot = slot;
        self.admit(conn, slot, whole, &parsed, &passed);
        out.ring(Op::SeatClient { passed, slot });
        if parsed.notify_fd {
            self.conns[conn].stage = Stage::Notify;
            self.say(conn, Word::Plus, out);
        } else {
            self.conns[conn].stage = Stage::Settling;
            self.say(conn, Word::LastPlus, out);
        }
    }

    /// Why this session had better stay with its worker, if it had.
    fn keeps_awake(&mut self, parsed: &HibernateLine<'_>) -> Option<&'static [u8]> {
        assert!(self.text.capacity() >= parsed.state.unwrap_or_default().len(), "the text is lent");
        let modseq = modseq(parsed.state?, &mut self.text);
        assert!(self.text.len() <= self.limits.line_bytes_max as usize);
        let refused = self.knobs.keep_awake.refuses(modseq);
        refused.then_some(match modseq {
            Modseq::Qresync => b"QRESYNC is on and hibernate.keep_awake names it",
            _ => b"CONDSTORE is on and hibernate.keep_awake names it",
        })
    }

    /// Fills the record of a client that is offered with this line.
    fn admit(
        &mut self,
        conn: usize,
        slot: u32,
        line: &[u8],
        parsed: &HibernateLine<'_>,
        passed: &Passed,
    ) {
        assert_eq!(self.conns[conn].slot, slot);
        self.turn(slot, Event::Offer);
        let cold = match core::mem::replace(&mut self.conns[conn].chain, NIL) {
            NIL => self.cold.store(line).expect("there was room for a chain"),
            chain => self.cold.keep(chain, line),
        };
        let secs = parsed.idle_notify_interval_secs.min(u32::from(u16::MAX)) as u16;
        let mut user = core::mem::take(&mut self.text);
        user.clear();
        torpor_handoff::line::unescape_into(&mut user, parsed.username);
        let generation = self.conns[conn].generation;
        let record = &mut self.slots[slot];
        assert!(record.cold == NIL && cold != NIL);
        assert!(record.is_joined());
        record.bind(conn as u32, generation);
        record.cold = cold;
        record.started_us = self.now.wall_us;
        record.user_hash = card::hash(parsed.username) as u32;
        record.keepalive_secs = secs;
        record.keepalive_phase = keepalive::phase(parsed.rip, &user, secs);
        self.text = user;
        if passed.kind == PassedKind::Unix {
            record.set(Flag::Unix);
        }
        if parsed.multiplex_ostream {
            record.set(Flag::Multiplex);
        }
        if parsed.idle_cmd {
            record.set(Flag::Idle);
        }
        self.keep_card(slot, parsed);
        if let Some(session) = parsed.session {
            self.awake.remove(card::hash(session), &mut self.slots);
        }
    }

    /// The empty line that carries the notify descriptor.
    pub(super) fn feed_notify(&mut self, conn: usize, piece: &[u8], out: &mut Actions) {
        assert!(self.conns[conn].chain == NIL, "the line is with the client");
        if !matches!(piece, b"\n" | b"\r\n" | b"\r") {
            return self.refuse(conn, b"Expected empty notify fd line", out);
        }
        if piece == b"\r" {
            return;
        }
        let passed = match self.conns[conn].passed {
            [Some(passed), None] => passed,
            [None, _] => return self.refuse(conn, b"IMAP notify fd not received", out),
            _ => return self.refuse(conn, b"Two notify descriptors received, one expected", out),
        };
        if !matches!(passed.kind, PassedKind::Inotify | PassedKind::Pollable) {
            return self.refuse(conn, b"notify_fd is not an inotify descriptor", out);
        }
        let entry = &mut self.conns[conn];
        assert!(entry.slot != NIL && entry.stage == Stage::Notify);
        entry.passed = [None, None];
        entry.stage = Stage::Adopting;
        let (slot, generation) = (entry.slot, self.slots[entry.slot].generation);
        // Counted from the worker's arrival, not from now: a slow hand-over hides no change.
        let age_ms = self.knobs.late_change_ms + self.now.mono_ms - self.conns[conn].since_ms;
        let since_us = self.now.wall_us.saturating_sub(age_ms * 1000);
        out.push(Action::Watch(WatchOrder::Adopt { passed, slot, generation, since_us }));
    }

    /// The watcher has replied.
    pub(super) fn adopted(&mut self, adopted: Adopted, out: &mut Actions) {
        let slot = adopted.slot;
        assert!(self.slots.is_current(slot, adopted.generation), "an adoption is waited for");
        let found = self.conns.iter().find(|(_, entry)| entry.slot == slot);
        let conn = found.map(|(conn, _)| conn).expect("its connection waits");
        assert_eq!(self.conns[conn].stage, Stage::Adopting);
        assert_eq!(self.state(slot), State::Offered);
        match adopted.outcome {
            Adoption::Shared { wds, polled, changed } => {
                let since_ms = self.conns[conn].since_ms;
                self.watch_shared(slot, (&wds, polled), changed, since_ms, out);
            }
            Adoption::Kept => self.slots[slot].set(Flag::Kept),
        }
        self.conns[conn].stage = Stage::Settling;
        if self.conns[conn].ended {
            return self.break_off(conn, b"Connection closed during the hand-over", out);
        }
        self.say(conn, Word::LastPlus, out);
    }

    /// The last `+` is out: the client is ours, though we keep our hands off it until the worker
    /// has closed.
    pub(super) fn given(&mut self, conn: usize, out: &mut Actions) {
        let slot = self.conns[conn].slot;
        assert_eq!(self.conns[conn].stage, Stage::Settling);
        assert_ne!(slot, NIL);
        self.turn(slot, Event::Give);
        self.counters.hibernated += 1;
        self.report(Said::Hibernated, slot, out);
        let entry = &mut self.conns[conn];
        entry.stage = Stage::Settled;
        entry.since_ms = self.now.mono_ms;
        if entry.ended || planted(Bug::ArmedTooEarly) {
            self.settle(conn, out);
        }
    }

    /// The worker has closed: the client sleeps.
    pub(super) fn settle(&mut self, conn: usize, out: &mut Actions) {
        assert_eq!(self.state(self.conns[conn].slot), State::Given);
        let slot = core::mem::replace(&mut self.conns[conn].slot, NIL);
        assert_eq!(self.conns[conn].stage, Stage::Settled);
        assert_ne!(slot, NIL);
        self.close(conn, out);
        self.settled(slot, out);
    }

    /// Nobody but us has the client any more.
    pub(super) fn settled(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].is_joined());
        assert_eq!(self.state(slot), State::Given);
        self.turn(slot, Event::Settle);
        if self.stop.is_some() {
            self.slots[slot].doom(Goodbye::Shutdown);
        }
        if self.slots[slot].has(Flag::Doomed) {
            return self.leave(slot, Event::Kick, out);
        }
        self.doze(slot, out);
        self.arm_notify(slot, out);
        if self.slots[slot].has(Flag::Changed) {
            self.changed(slot, out);
        }
    }

    /// The worker keeps its client: our copies go.
    pub(super) fn forget_offer(&mut self, conn: usize, out: &mut Actions) {
        let entry = &mut self.conns[conn];
        for passed in core::mem::take(&mut entry.passed).into_iter().flatten() {
            out.ring(Op::Drop { passed });
        }
        let (chain, slot) = (entry.chain, entry.slot);
        assert!(chain == NIL || slot == NIL, "the line lies with one of them");
        assert_ne!(entry.stage, Stage::Adopting, "the watcher's reply would find nobody");
        (entry.chain, entry.slot) = (NIL, NIL);
        if chain != NIL {
            self.cold.close(chain);
        }
        if slot != NIL && !planted(Bug::SlotKept) {
            self.turn(slot, Event::Withdraw);
            self.unwatch(slot, out);
            if planted(Bug::RetiredTooLate) {
                self.slots[slot].clear(Flag::Kept);
            }
            self.retire(slot, out);
            self.close_client(slot, out);
        }
    }
}

/// The descriptor must be a connected stream, and the very one that the line speaks of.
fn check_client(parsed: &HibernateLine<'_>, passed: &Passed) -> Result<(), &'static [u8]> {
    assert!(!parsed.username.is_empty(), "a parsed line has a user");
    assert!(passed.lobby != NIL);
    if !matches!(passed.kind, PassedKind::Tcp | PassedKind::Unix) {
        return Err(b"IMAP client fd is not a connected stream socket");
    }
    let claimed = parsed.peer.filter(|peer| peer.ino != 0);
    let matches = claimed.is_none_or(|peer| {
        (peer.ino, peer.dev_major, peer.dev_minor)
            == (passed.inode, passed.dev_major, passed.dev_minor)
    });
    if matches { Ok(()) } else { Err(b"peer_ino does not name the IMAP client fd received") }
}
