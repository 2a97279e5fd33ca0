//! What an engine that was killed knew beside its memory, made anew from it: free places, queue,
//! wheel, connections, conversations under way.
//!
//! Nothing of it is in the world yet; see `core/revive.rs` for how it gets there.

use std::collections::{HashMap, HashSet};

use torpor_handoff::queue::Class;

use super::accept::REACCEPTS;
use super::conn::{Conn, Stage, Word};
use super::revive::Reviving;
use super::word::LAST_PLUS;
use super::{Core, Now};
use crate::awake::Awake;
use crate::cold::Cold;
use crate::image::Foreign;
use crate::limits::Knobs;
use crate::mailboxes::Mailboxes;
use crate::memory::Memory;
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::report::Goodbye;
use crate::ring::Peer;
use crate::sends::Sends;
use crate::slots::Slots;
use crate::state::State;
use crate::token::GENERATION_MASK;
use crate::wheel::TICK_MS;

impl Core {
    /// The core over the memory of an engine that was killed. It has the limits of that engine.
    /// What follows is [`Core::inherit`] for each completion that was not applied, then
    /// [`Core::take_over`], then [`Core::resume_some`] until it has nothing left.
    ///
    /// # Errors
    /// The memory is none of ours, or newer than we are.
    pub fn revive(knobs: Knobs, seed: u64, memory: Memory, now: Now) -> Result<Self, Foreign> {
        let (slots, limits, damaged) = Slots::revive(memory.records)?;
        let committed = slots.committed();
        let cold = Cold::revive(memory.cold, committed, limits.cold_blocks_max)?;
        let mut sending = HashSet::new();
        let sends = Sends::revive(limits.sends_in_flight_max, memory.sends, committed, |slot| {
            slot < slots.end() && slots[slot].has(Flag::Send) && sending.insert(slot)
        })?;
        let (max, owner) = (limits.mailboxes_max, slots.ledger().ring);
        let mailboxes = Mailboxes::revive(max, memory.mailboxes, committed, owner)?;
        let mut core = Self::over(&limits, knobs, seed, (slots, sends, cold, mailboxes));
        core.stray = Some(-1);
        core.reaccepts = if planted(Bug::AcceptTrusted) { 0 } else { REACCEPTS };
        assert!(now.mono_ms > 0, "the machine has been running since before us");
        core.now = now;
        if !planted(Bug::AwakeForgotten) {
            let max = limits.awake_max() as usize;
            core.awake = Awake::revive(max, &mut core.slots, now.mono_ms);
        }
        let (sends_by_slot, parcels) = (HashMap::new(), Vec::new());
        core.reviving = Some(Reviving { cursor: 0, sends: sends_by_slot, parcels, damaged });
        core.claim_words(&sending);
        for slot in 0..core.slots.end() {
            core.rebuild(slot, &sending);
        }
        core.mailboxes.settle();
        core.reconnect();
        assert_eq!(core.counts.iter().sum::<u32>(), core.slots.used(), "each is somewhere");
        core.stalled_sends = core.sends.iter().filter(|(_, send)| send.is_slow()).count() as u32;
        Ok(core)
    }

    /// Every client's words are its own, and no memory is lost. Whose are damaged must go, and who
    /// was told something that nobody knows any more.
    fn claim_words(&mut self, sending: &HashSet<u32>) {
        let mut claims = self.cold.claims();
        let mut torn = Vec::new();
        for slot in 0..self.slots.end() {
            let is_free = self.state(slot) == State::Free;
            let is_cut = self.slots[slot].has(Flag::Send) && !sending.contains(&slot);
            if !is_free && (is_cut || !self.cold.claim(self.slots[slot].cold, &mut claims)) {
                torn.push(slot);
            }
        }
        self.cold.free_the_rest(&claims);
        assert!(self.cold.used() <= self.limits.cold_blocks_max);
        for slot in torn {
            let Some(chain) = self.cold.open() else {
                // Not even room to say so: as if the record itself were damaged.
                self.slots.forget(slot);
                self.reviving.as_mut().expect("begun").damaged.push(slot);
                continue;
            };
            let record = &mut self.slots[slot];
            assert_ne!(record.state, State::Free as u8, "nobody has no words");
            record.cold = chain;
            let state = State::from_code(record.state);
            if state == State::Offered {
                continue;
            }
            record.doom(Goodbye::Damaged);
            assert!(record.has(Flag::Doomed));
            if record.has(Flag::Send) || !matches!(state, State::Asleep | State::Given) {
                // It may have heard half a line of ours, as who is owed a wake may have.
                record.take_bye();
            }
            if matches!(state, State::Asleep | State::Queued | State::Joining) {
                record.state = State::Leaving as u8;
                (record.mailbox, record.deadline) = (NIL, 0);
            }
        }
    }

    /// What the engine knows of a client beside its record.
    fn rebuild(&mut self, slot: u32, sending: &HashSet<u32>) {
        assert!(slot < self.slots.end() && !self.queue.contains(slot));
        let record = &mut self.slots[slot];
        if record.state == State::Joining as u8 {
            record.state = State::Queued as u8;
        }
        let (state, deadline) = (State::from_code(record.state), record.deadline);
        if state == State::Free {
            return;
        }
        let knows_mailbox = record.mailbox == NIL || self.mailboxes.rejoin(&mut self.slots, slot);
        let record = &mut self.slots[slot];
        if !knows_mailbox && !planted(Bug::TornMailboxDeaf) {
            record.set(Flag::Changed);
        }
        self.stages.dozing += u32::from(record.has(Flag::Recv));
        self.stages.sunk += u32::from(record.has(Flag::Item));
        self.counters.notify_kept += u64::from(record.has(Flag::Notify));
        if !sending.contains(&slot) {
            record.clear(Flag::Send);
        }
        if deadline > 0 {
            assert!(!matches!(state, State::Offered | State::Given | State::Handed), "bound");
            record.deadline = 0;
            self.wheel.arm(&mut self.slots, slot, u64::from(deadline) * TICK_MS);
        }
        match state {
            State::Queued => self.queue_again(slot),
            State::Handed => self.hand_again(slot),
            _ => {}
        }
        let state = self.state(slot);
        assert_ne!(state, State::Joining, "queued again");
        self.counts[state as usize] += 1;
    }

    fn queue_again(&mut self, slot: u32) {
        assert!(matches!(self.state(slot), State::Queued | State::Handed));
        let queued_ms = self.slots[slot].queued_ms().min(self.now.mono_ms + TICK_MS);
        self.slots[slot].set_queued_ms(queued_ms);
        let class = if self.slots[slot].has(Flag::Input) { Class::Input } else { Class::Change };
        if !planted(Bug::QueueForgotten) || self.state(slot) == State::Handed {
            self.queue.push(slot, class, self.slots[slot].user_hash, queued_ms);
            assert!(self.queue.contains(slot));
        }
    }

    fn hand_again(&mut self, slot: u32) {
        assert_eq!(self.state(slot), State::Handed);
        let (place, _) = self.slots[slot].bound();
        self.queue_again(slot);
        let Some(at) = self.parcels.iter().position(|parcel| parcel.place == place) else {
            // No two had one place, and none had a place that is none.
            self.slots[slot].state = State::Queued as u8;
            return;
        };
        self.queue.grant(slot);
        let parcel = self.parcels.swap_remove(at);
        self.reviving.as_mut().expect("begun").parcels.push(parcel);
        self.in_flight += 1;
        assert!(self.in_flight <= self.limits.handoffs_in_flight_max);
        self.window.sent(self.now.mono_ms);
    }

    /// The hibernate connections that a client's fate hangs on.
    fn reconnect(&mut self) {
        assert!(self.conns.is_empty());
        let mut found: Vec<(usize, Conn)> = Vec::new();
        for slot in 0..self.slots.end() {
            if !matches!(self.state(slot), State::Offered | State::Given) {
                continue;
            }
            let (place, number) = self.slots[slot].bound();
            let is_first = found.iter().all(|(conn, _)| *conn != place as usize);
            if place >= self.limits.conns_max || !is_first {
                continue;
            }
            let (peer, now_ms) = (Peer::default(), self.now.mono_ms);
            let mut conn = Conn::new(number & GENERATION_MASK, peer, now_ms);
            (conn.slot, conn.recv) = (slot, true);
            match self.state(slot) {
                State::Offered if number & LAST_PLUS != 0 => {
                    (conn.stage, conn.sending) = (Stage::Settling, Some(Word::LastPlus));
                }
                State::Given => conn.stage = Stage::Settled,
                _ => continue,
            }
            found.push((place as usize, conn));
        }
        assert!(found.len() <= self.limits.conns_max as usize);
        self.conns = found.into_iter().collect();
        let room = self.limits.conns_max as usize - self.conns.len();
        self.conns.reserve(room);
        assert!(self.conns.capacity() >= self.limits.conns_max as usize);
    }
}
