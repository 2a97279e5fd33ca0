//! The way back: queue, join, handoff, reply.

use torpor_handoff::line::{Wakeup, unhibernate};
use torpor_handoff::message::{Cause as Unsent, Exited, Outcome, Reply, Wake};
use torpor_handoff::queue::Class;

use super::Core;
use super::begin::Parcel;
use crate::action::{Action, Actions};
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::report::{Cause, Event as Said, Goodbye};
use crate::ring::Op;
use crate::state::{Event, State};

impl Core {
    /// The client is owed a wake, for this reason.
    pub(super) fn wake(&mut self, slot: u32, event: Event, class: Class, out: &mut Actions) {
        let before = self.state(slot);
        assert!(matches!(event, Event::Input | Event::Change | Event::Cut));
        assert!(event != Event::Input || self.slots[slot].has(Flag::Input));
        self.turn(slot, event);
        match before {
            State::Asleep => {
                match (event, class) {
                    (Event::Input, _) => self.counters.wakes_input += 1,
                    (Event::Cut, _) => self.counters.wakes_cut += 1,
                    _ => self.counters.wakes_change += 1,
                }
                self.unwatch(slot, out);
                self.disarm_notify(slot, out);
                self.slots[slot].set_queued_ms(self.now.mono_ms);
                let class = match class {
                    Class::Input if planted(Bug::QueueInverted) => Class::Change,
                    Class::Change if planted(Bug::QueueInverted) => Class::Input,
                    class => class,
                };
                let queued_ms = self.slots[slot].queued_ms();
                self.queue.push(slot, class, self.slots[slot].user_hash, queued_ms);
            }
            State::Queued if class == Class::Input => self.queue.promote(slot),
            _ => {}
        }
        if self.slots[slot].has(Flag::Input) {
            // The rest stays in the socket, for the worker; a flood costs the flooder alone.
            self.disarm_client(slot, out);
        }
    }

    /// Lets go as many as the workers sustain, people first, oldest first, fair per user.
    pub(super) fn grant(&mut self, out: &mut Actions) {
        assert!(self.in_flight <= self.limits.handoffs_in_flight_max);
        let now_ms = self.now.mono_ms;
        while self.in_flight < self.window.open(now_ms)
            && self.in_flight + self.awake.count() < self.knobs.workers_max
            && let Some(slot) = self.queue.pop(now_ms)
        {
            assert_eq!(self.state(slot), State::Queued);
            assert!(!self.parcels.is_empty(), "as many as may be in flight");
            assert!(!self.slots[slot].has(Flag::Doomed), "the doomed are not queued");
            self.turn(slot, Event::Grant);
            self.in_flight += 1;
            self.window.sent(now_ms);
            self.disarm_client(slot, out);
            self.disarm_notify(slot, out);
            self.try_dispatch(slot, out);
        }
    }

    /// Gives the client to the handoff thread, once the kernel holds nothing of it.
    pub(super) fn try_dispatch(&mut self, slot: u32, out: &mut Actions) {
        if !self.slots[slot].is_joined() && !planted(Bug::HandedBeforeJoin) {
            return;
        }
        self.retire(slot, out);
        self.wheel.disarm(&mut self.slots, slot);
        assert!(!self.slots[slot].has(Flag::Doomed));
        assert_eq!(self.slots[slot].mailbox, NIL);
        let mut parcel = self.parcels.pop().expect("granted only while there is a parcel");
        if !self.render(slot, &mut parcel.line) {
            // No worker could take it up where it was: it is told so, and logs in again.
            self.parcels.push(parcel);
            self.slots[slot].doom(Goodbye::Damaged);
            return self.leave(slot, Event::Kick, out);
        }
        self.turn(slot, Event::Join);
        let mut ledger = self.slots.ledger();
        ledger.handoffs = ledger.handoffs.wrapping_add(1);
        self.slots.set_ledger(ledger);
        self.slots[slot].bind(parcel.place, ledger.handoffs);
        self.hand_over(slot, parcel, false, out);
    }

    /// The client goes to the handoff thread, in the place and under the number of its record. Its
    /// line is the one that was read last, unless it is resumed.
    pub(super) fn hand_over(
        &mut self,
        slot: u32,
        parcel: Parcel,
        is_resumed: bool,
        out: &mut Actions,
    ) {
        assert_eq!(self.state(slot), State::Handed);
        let (place, attempt) = self.slots[slot].bound();
        assert_eq!(place, parcel.place);
        assert!(self.in_flight > 0, "counted since it was granted");
        if is_resumed {
            self.line = self.lend_line(slot);
        }
        let (generation, session) = (self.slots[slot].generation, self.read_session(slot));
        let (since_us, parcel, client) = (self.now.wall_us, parcel.line, ());
        out.push(Action::Wake(Wake {
            slot,
            generation,
            session,
            place,
            attempt,
            is_resumed,
            since_us,
            parcel,
            client,
        }));
    }

    /// The request line: words as they came, and what happened since; `false`: they are damaged.
    fn render(&mut self, slot: u32, parcel: &mut Vec<u8>) -> bool {
        assert_eq!(self.state(slot), State::Joining);
        self.line = self.lend_line(slot);
        let record = &self.slots[slot];
        let (line, input, text) = (&self.line, &mut self.input, &mut self.text);
        for buffer in [&mut *input, &mut *text, parcel] {
            buffer.clear();
        }
        input.extend_from_slice(if record.has(Flag::Input) { b"" } else { record.input() });
        let sound = !line.is_empty()
            && self.cold.read_input(record.cold, input)
            && self.cold.read_output(record.cold, text);
        if !sound {
            return false;
        }
        let wakeup = Wakeup {
            hibernation_started_us: record.started_us,
            tag: None,
            client_input: input,
            client_output: text,
            // The worker parses DONE itself: exactly what a session that never slept does.
            idle_continue: record.has(Flag::Idle),
            input_bytes: u64::from(record.bytes_in),
            output_bytes: u64::from(record.bytes_out),
        };
        unhibernate::render(parcel, line, &wakeup);
        assert!(parcel.ends_with(b"\n"));
        true
    }

    /// The handoff thread is done with a client.
    pub(super) fn reply(&mut self, reply: Reply, out: &mut Actions) {
        let Reply { slot, generation, session, outcome, parcel } = reply;
        assert!(self.slots.is_current(slot, generation), "a handed slot waits for its reply");
        assert_eq!(self.state(slot), State::Handed);
        assert!(self.in_flight > 0);
        self.in_flight -= 1;
        let (place, _) = self.slots[slot].bound();
        match outcome {
            Outcome::Taken => self.taken(slot, session, out),
            Outcome::Lost => {
                self.window.refused(self.now.mono_ms);
                self.report_goodbye(slot, Goodbye::Lost, out);
                self.turn(slot, Event::Lose);
                out.ring(Op::ReleaseClient { slot });
                self.release(slot);
            }
            Outcome::Refused | Outcome::Gone | Outcome::Unsent(_) => {
                self.came_back(slot, outcome, &parcel, out);
            }
        }
        if planted(Bug::ParcelLeaked) && outcome == Outcome::Refused {
            return;
        }
        let mut line = parcel;
        line.clear();
        self.parcels.push(Parcel { place, line });
    }

    fn taken(&mut self, slot: u32, session: u64, out: &mut Actions) {
        assert_eq!(self.state(slot), State::Handed);
        assert_ne!(self.slots[slot].cold, NIL);
        self.window.taken(self.now.mono_ms);
        self.moved_ms = self.now.mono_ms;
        if self.queue.has_rested(slot) {
            // Somebody who came back was taken: the workers are well again, so nobody rests.
            self.queue.end_rests();
        }
        self.counters.unhibernated += 1;
        let cause = self.cause(slot);
        self.report(Said::Unhibernated(cause), slot, out);
        let generation = self.slots[slot].generation;
        let wake = Exited { slot, generation, session };
        self.awake.add(wake, self.now.mono_ms, &mut self.slots);
        self.turn(slot, Event::Take);
        if !planted(Bug::PlaceKept) {
            out.ring(Op::ReleaseClient { slot });
        }
        self.release(slot);
    }

    /// A worker that took a client has ended: it makes room for the next one. A session that was
    /// woken anew since is with another worker, and stays counted.
    pub(super) fn exited(&mut self, exited: &Exited) {
        assert!(exited.slot < self.slots.capacity());
        if !planted(Bug::ExitForgotten) {
            self.awake.exited(exited, &mut self.slots);
        }
    }

    /// Still ours, by the fate table of `docs/ARCHITECTURE.md`: tried again.
    fn came_back(&mut self, slot: u32, outcome: Outcome, reason: &[u8], out: &mut Actions) {
        assert!(outcome.is_ours(), "it did not come back");
        let now_ms = self.now.mono_ms;
        match outcome {
            Outcome::Unsent(Unsent::Absent(_) | Unsent::Full) => {
                self.window.absent(now_ms);
                self.counters.retried_unsent += 1;
            }
            Outcome::Unsent(_) => {
                self.window.refused(now_ms);
                self.counters.retried_unsent += 1;
            }
            Outcome::Refused => {
                self.window.refused(now_ms);
                self.counters.retried_refused += 1;
            }
            _ => {
                self.window.refused(now_ms);
                self.counters.retried_gone += 1;
            }
        }
        self.report_reason(Said::Retried(outcome), slot, reason, out);
        self.turn(slot, Event::Return);
        let class = match self.slots[slot].has(Flag::Input) {
            true => Class::Input,
            false => Class::Change,
        };
        if planted(Bug::RetryForgotten) {
            return;
        }
        let queued_ms = self.slots[slot].queued_ms();
        self.queue.push(slot, class, self.slots[slot].user_hash, queued_ms);
        if self.slots[slot].has(Flag::Doomed) {
            return self.leave(slot, Event::Kick, out);
        }
        let waited_ms = now_ms.saturating_sub(queued_ms);
        assert!(self.queue.contains(slot));
        let limit_ms = self.wait_ms_max(slot);
        if outcome == Outcome::Refused && limit_ms > 0 && waited_ms > limit_ms {
            // The workers run, and refuse this one: waiting longer changes nothing.
            return self.give_up(slot, out);
        }
        self.queue.rest(slot, now_ms + self.rest_ms(slot, waited_ms));
        self.doze(slot, out);
    }

    fn cause(&self, slot: u32) -> Cause {
        assert_ne!(self.slots[slot].cold, NIL);
        assert_eq!(self.state(slot), State::Handed);
        let record = &self.slots[slot];
        match (record.has(Flag::Input), record.has(Flag::Changed)) {
            (true, _) => Cause::Input,
            (false, true) => Cause::Change,
            (false, false) => Cause::Cut,
        }
    }
}
