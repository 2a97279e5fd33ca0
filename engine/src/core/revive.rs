//! The core of an engine that was killed, in the hands of its heir.
//!
//! ```text
//! roll back ─► rebuild ─► inherit what had completed ─► take over its ring ─► resume everybody
//!  (images)    (queue, wheel, conns)   one transaction                         a page a time
//! ```
//! Memory is as it was after the last step that committed; what that step wanted done may be done
//! or not. The kernel's completion queue tells: whatever it was asked for has completed there, or
//! died with its task and never happened. So the heir first does with these completions just what
//! the dead would have done, **as if it were killed again before it could act**: the actions that
//! follow are thrown away. Then every client is taken up from its state:
//!
//! * free: whoever sits in its place is closed
//! * offered: its worker keeps it, unless the last `+` has completed; then it is given
//! * given: its worker's end is awaited on the connection that the vault holds
//! * asleep: armed again; its watch is where it was, and what cannot be answered for counts as a
//!   change (`mailboxes/revive.rs`)
//! * queued, joining: queued since when it was
//! * handed: goes to the handoff thread once more, which finds out by the conversation in its
//!   place whether the last engine gave the client away, and what became of that
//! * leaving: told and closed, unless it has been told
//!
//! Whose record or words are damaged is dropped, and nobody else.

use std::collections::HashMap;

use super::Core;
use super::begin::Parcel;
use super::conn::Stage;
use crate::action::Actions;
use crate::planted::{Bug, planted};
use crate::record::Flag;
use crate::report::Event as Said;
use crate::ring::{Completion, Op};
use crate::slots::Ledger;
use crate::state::{Event, State};
use crate::token::Kind;
use crate::watch::INOTIFY;
use crate::wheel::TICK_MS;

/// How far the heir is.
pub(super) struct Reviving {
    /// Clients and connections in places below it have been taken up.
    pub cursor: u32,
    /// Sends under way, by slot.
    pub sends: HashMap<u32, u32>,
    /// Of those who were handed.
    pub parcels: Vec<Parcel>,
    /// Slots whose records were damaged.
    pub damaged: Vec<u32>,
}

impl Core {
    /// What of the old ring's completions has been applied, for the ring that reads the rest.
    pub fn ledger(&self) -> Ledger {
        self.slots.ledger()
    }

    /// A completion that the last engine had not applied. The caller throws the actions away, but
    /// for reports.
    pub fn inherit(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        assert!(self.reviving.is_some(), "inherited before anything is resumed");
        if !self.is_known(done) || planted(Bug::CompletionsForgotten) {
            return;
        }
        assert!(!matches!(done.token.kind(), Kind::Accept | Kind::Doorbell), "not waited for");
        let mut done = *done;
        if done.token.kind() == Kind::ConnRecv {
            // Whatever a worker says after the last line ends the conversation, as its end does.
            done = Completion::plain(done.token, 0, false);
        }
        self.complete(&done, bytes, out);
    }

    /// From here on the completions of our own ring, under this number, count. For an heir, and
    /// for the first engine if its ring is not the first.
    pub fn take_over(&mut self, ring: u32) {
        let cursor = self.reviving.as_ref().map_or(0, |reviving| reviving.cursor);
        assert_eq!(cursor, 0, "completions come before clients");
        assert!(self.reviving.is_some() || self.slots.used() == 0, "nothing is resumed yet");
        assert_ne!(ring, self.slots.ledger().ring, "each engine has a ring of its own");
        if !planted(Bug::RingKept) {
            self.mailboxes.set_owner(ring);
            self.slots.set_ledger(Ledger { ring, applied: 0, ..self.slots.ledger() });
        }
        self.commit(0);
    }

    /// Takes up a page of clients; `false` when all are.
    pub fn resume_some(&mut self, out: &mut Actions) -> bool {
        assert!(out.list.is_empty() && out.bytes.is_empty(), "actions of an earlier step");
        let Some(mut reviving) = self.reviving.take() else { return false };
        if reviving.cursor == 0 {
            // Those that what had completed has brought to their end.
            self.conns.retain(|_, conn| !conn.closing);
            reviving.sends = self.sends.iter().map(|(place, send)| (send.slot(), place)).collect();
        }
        let page = reviving.cursor..reviving.cursor + PAGE_PLACES;
        for conn in page.start..page.end.min(self.limits.conns_max) {
            if !self.conns.contains(conn as usize) {
                out.ring(Op::ReleaseConn { conn });
            }
        }
        for slot in page.start..page.end.min(self.slots.end()) {
            if reviving.damaged.contains(&slot) {
                self.report_text(Said::Torn(slot), b"", out);
            }
            self.resume(slot, &mut reviving, out);
        }
        reviving.cursor = page.end;
        assert!(reviving.cursor > page.start);
        let is_over = page.end >= self.slots.end().max(self.limits.conns_max);
        assert!(!is_over || (reviving.parcels.is_empty() && reviving.sends.is_empty()));
        if !is_over {
            self.reviving = Some(reviving);
        }
        // What the last engine had still to do about mailboxes waits for nothing.
        self.busy |= self.mailboxes.has_changed();
        self.gauge();
        self.commit(0);
        !is_over || !out.list.is_empty()
    }

    /// True exactly when the completion is about something that the last engine waited for.
    fn is_known(&self, done: &Completion) -> bool {
        assert!(self.reviving.is_some(), "stale ones are told apart where we made them");
        assert!(done.bytes.count == 0 || done.result > 0);
        let (index, generation) = (done.token.index(), done.token.generation());
        let conn = || self.conns.get(index as usize).filter(|conn| conn.generation == generation);
        match done.token.kind() {
            Kind::ClientRecv if done.result > 0 => {
                let is_current = self.slots.is_current(index, generation);
                is_current && self.slots[index].has(Flag::Recv) && self.was_heard(index)
            }
            Kind::ClientSend => {
                let send = self.sends.get(index).filter(|send| !send.is_stalled());
                send.is_some_and(|send| self.slots.is_current(send.slot(), generation))
            }
            // A read that was cancelled had taken nothing.
            Kind::Watch => {
                let is_ours = index == INOTIFY && !planted(Bug::EventsForgotten);
                is_ours && done.result != -libc::ECANCELED
            }
            Kind::ConnSend => conn().is_some_and(|conn| conn.sending.is_some()),
            Kind::ConnRecv => done.result >= 0 && conn().is_some_and(|conn| conn.recv),
            _ => false,
        }
    }

    fn was_heard(&self, slot: u32) -> bool {
        assert!(slot < self.slots.end());
        assert_ne!(self.state(slot), State::Joining, "queued again");
        matches!(self.state(slot), State::Asleep | State::Queued | State::Leaving)
    }

    /// What has no completion was never sent.
    fn resume_send(&mut self, place: u32, out: &mut Actions) {
        let slot = self.sends[place].slot();
        assert!(self.slots[slot].has(Flag::Send));
        let begun_ms = self.sends[place].begun_ms.min(self.now.mono_ms);
        self.sends[place].begun_ms = begun_ms;
        assert!(!matches!(self.state(slot), State::Free | State::Offered | State::Handed));
        if planted(Bug::SendForgotten) {
            self.take_send(place);
        } else if self.sends[place].is_stalled() {
            self.wheel.arm(&mut self.slots, slot, self.now.mono_ms + TICK_MS);
        } else {
            self.sends.set_stalled(place, true);
            self.put(place, out);
        }
    }

    fn resume(&mut self, slot: u32, reviving: &mut Reviving, out: &mut Actions) {
        assert!(self.reviving.is_none(), "one at a time");
        let record = &mut self.slots[slot];
        self.stages.dozing -= u32::from(record.has(Flag::Recv));
        self.stages.sunk -= u32::from(record.has(Flag::Item));
        self.counters.notify_kept -= u64::from(record.has(Flag::Notify));
        let is_in_set = record.has(Flag::Item) && record.state == State::Asleep as u8;
        let trusts_item = is_in_set && planted(Bug::ItemOneshot);
        let gone = [Flag::Recv, Flag::RecvCancel, Flag::Notify, Flag::NotifyCancel, Flag::Item];
        gone.into_iter().for_each(|flag| record.clear(flag));
        if record.has(Flag::Kept) {
            // It died with the engine that polled it.
            record.clear(Flag::Kept);
            record.set(Flag::Changed);
        }
        let state = self.state(slot);
        assert!(state != State::Free || self.slots[slot].is_joined());
        if !matches!(state, State::Free | State::Offered) {
            self.counters.revived += 1;
            out.ring(Op::ClaimClient { slot });
        }
        let may_stray = match state {
            State::Queued | State::Handed | State::Leaving => true,
            State::Asleep => !is_in_set,
            State::Free | State::Offered | State::Given | State::Joining => false,
        };
        if may_stray {
            // The step that gave its item up may not have come to delete it, and nobody could when
            // it has gone to a worker.
            out.ring(Op::DeleteItem { slot });
        }
        if let Some(place) = reviving.sends.remove(&slot) {
            self.resume_send(place, out);
        }
        match state {
            State::Free => out.ring(Op::ReleaseClient { slot }),
            State::Offered => self.take_back_offer(slot, out),
            State::Given => self.await_end(slot, out),
            State::Asleep | State::Queued => {
                if trusts_item {
                    self.slots[slot].set(Flag::Item);
                    self.stages.sunk += 1;
                } else {
                    // Who has sunk has its item, or had not got it yet: it is added once more.
                    self.arm_client(slot, out);
                }
                if self.slots[slot].deadline == 0 {
                    self.arm_beat(slot);
                }
                if self.state(slot) == State::Asleep && self.slots[slot].has(Flag::Changed) {
                    self.changed(slot, out);
                }
            }
            State::Joining => unreachable!("queued again"),
            State::Handed => {
                let (place, _) = self.slots[slot].bound();
                let at = reviving.parcels.iter().position(|parcel| parcel.place == place);
                let parcel = reviving.parcels.swap_remove(at.expect("kept for it"));
                self.hand_over(slot, parcel, true, out);
            }
            State::Leaving => self.try_depart(slot, out),
        }
    }

    /// The last `+` has not gone out, and never will.
    fn take_back_offer(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].is_joined());
        assert_eq!(self.state(slot), State::Offered);
        // It may have been killed before either had its place.
        if let Some(conn) = self.conn_with(slot) {
            self.conns.remove(conn);
            out.ring(Op::ReleaseConn { conn: conn as u32 });
        }
        self.turn(slot, Event::Withdraw);
        self.unwatch(slot, out);
        out.ring(Op::ReleaseClient { slot });
        self.release(slot);
    }

    fn await_end(&mut self, slot: u32, out: &mut Actions) {
        assert_eq!(self.state(slot), State::Given);
        match self.conn_with(slot) {
            Some(conn) => {
                assert_eq!(self.conns[conn].stage, Stage::Settled);
                out.ring(Op::ClaimConn { conn: conn as u32 });
                self.conns[conn].recv = false;
                self.arm_conn(conn, out);
            }
            None => self.settled(slot, out),
        }
    }

    fn conn_with(&self, slot: u32) -> Option<usize> {
        assert!(slot < self.slots.end());
        assert!(matches!(self.state(slot), State::Offered | State::Given));
        self.conns.iter().find(|(_, conn)| conn.slot == slot).map(|(place, _)| place)
    }
}

/// Clients and connections taken up in one transaction.
const PAGE_PLACES: u32 = 1024;
