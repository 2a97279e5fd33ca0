//! The end of a seed: calm, in which everything owed must be paid, and an end that leaves nothing.

use super::Seed;
use crate::faults::Fault;
use crate::session::Owner;
use crate::world::{File, World};

/// How long everybody falls asleep before a stop, and how long is looked on behind it.
struct Stay {
    ticks: u32,
    /// Within which the first of them begin, milliseconds.
    spread_ms: u32,
    /// Ticks behind the stop, at least.
    after: u32,
}

impl Seed {
    /// Nothing goes wrong any more: everything owed is paid, and everybody comes to an end.
    pub(super) fn calm_down(&mut self) {
        self.world.borrow_mut().calm = true;
        self.settle("after the faults", |world| world.debt());
        self.world.borrow_mut().close_lives();
        self.settle("at the end", |world| world.unfinished());
        // What watchers of engines that were killed left behind goes when it is heard of.
        self.world.borrow_mut().stir_strays();
        self.settle("of strays", |world| {
            (world.watches() > 0).then(|| "[8] a watch is nobody's".to_string())
        });
        let stops = {
            let world = self.world.borrow();
            world.swarm.enabled & Fault::Stop.bit() != 0
        };
        if stops {
            self.stop();
        } else {
            self.settle("at rest", |world| world.unfinished().or_else(|| world.not_at_rest()));
            // A mailbox that nobody sleeps on any more may have its window open still.
            let end = self.ticks + CALM_TICKS_MAX;
            while self.engine().core.counters().mailboxes > 0 && self.ticks < end {
                self.tick();
            }
        }
        self.check_empty();
    }

    /// Ticks until nothing is missing.
    fn settle(&mut self, when: &str, missing: impl Fn(&World) -> Option<String>) {
        let begin_ms = self.world.borrow().mono_ms;
        for round in 0_u32.. {
            self.tick();
            if round % 4 > 0 {
                continue;
            }
            let idle = self.engine().handoff.is_idle() && self.engine().watcher.is_idle();
            let world = self.world.borrow();
            let what = match missing(&world) {
                Some(what) => what,
                None if idle => return,
                None => "work is left over".to_string(),
            };
            let waited_ms = world.mono_ms - begin_ms;
            assert!(waited_ms < CALM_MS_MAX && round < CALM_TICKS_MAX, "{when}: {what}");
        }
    }

    /// Everybody falls asleep again, and then the engine is told to end.
    fn stop(&mut self) {
        let Stay { ticks, spread_ms, after } = self.stay();
        {
            let mut world = self.world.borrow_mut();
            (world.calm, world.closing) = (self.ticks.is_multiple_of(2), false);
            for client in 0..world.clients.len() {
                world.clients[client].sated = false;
                let pause_ms = world.random.ms(0, spread_ms);
                world.clients[client].step_ms = world.mono_ms + pause_ms;
            }
        }
        for _ in 0..ticks {
            self.tick();
        }
        {
            let mut world = self.world.borrow_mut();
            world.calm = true;
            world.order_stop();
        }
        let begin_ms = self.world.borrow().mono_ms;
        let begin = self.ticks;
        while !self.stopped {
            self.tick();
            let waited_ms = self.world.borrow().mono_ms - begin_ms;
            let late = waited_ms > CALM_MS_MAX || self.ticks - begin > CALM_TICKS_MAX;
            let counters = self.engine().core.counters();
            assert!(!late, "[14] the engine does not end: {counters:?}");
        }
        // The listening socket goes with the process.
        while let Some(hand) = {
            let mut world = self.world.borrow_mut();
            world.kernel.backlog.pop_front()
        } {
            self.world.borrow_mut().close(File::Hand(hand));
        }
        // Workers and watcher may still take their time to let go.
        let end = self.ticks + CALM_TICKS_MAX;
        let least = self.ticks + after;
        while self.ticks < least || (self.ticks < end && self.is_unrestful()) {
            self.tick();
        }
    }

    /// A script's faults are over by then, and what follows is the same chance in all of them.
    fn stay(&self) -> Stay {
        let pace_ms = self.world.borrow().swarm.pace_ms;
        match self.is_script {
            true => Stay { ticks: 50, spread_ms: 10 * pace_ms, after: 10 },
            false => Stay { ticks: 150, spread_ms: 500, after: 50 },
        }
    }

    fn is_unrestful(&self) -> bool {
        !self.engine().watcher.is_idle() || self.world.borrow().not_at_rest().is_some()
    }

    /// After the end: nothing is left anywhere.
    pub(super) fn check_empty(&mut self) {
        let held = self.engine().ring.held();
        assert_eq!(held, [0; 4], "[8] lobby, connections, clients, notify descriptors");
        let world = self.world.borrow();
        assert_eq!(world.kernel.buffers, world.kernel.buffers_max, "[7] a buffer is missing");
        assert!(world.has_strays() || world.watches() == 0, "[8] watches that nobody needs");
        assert_eq!(world.odd_refs, 0, "[8] an odd descriptor is still open");
        let notifies = world.notifies.iter().filter(|notify| notify.live).count();
        assert_eq!(notifies, 0, "[8] notify descriptors are still open");
        assert!(world.orders.are_answered(), "an order was never answered");
        let orders = &world.orders;
        let has_end = orders.hibernated == orders.ended || orders.is_hushed;
        assert!(has_end, "[8] who slept has an end");
        let counters = self.engine().core.counters();
        let left = [
            counters.asleep,
            counters.queued_input,
            counters.queued_change,
            counters.in_flight,
            counters.conns,
            counters.mailboxes,
            counters.notify_kept,
            counters.cold_blocks_used,
        ];
        assert_eq!(left, [0; 8], "[8] asleep, queued 2, in flight, conns, boxes, kept, blocks");
    }
}

impl World {
    /// From now on each client wants one whole life at least, and then no more.
    fn close_lives(&mut self) {
        self.closing = true;
        for client in 0..self.clients.len() {
            let entry = &mut self.clients[client];
            let awake = entry
                .session
                .is_some_and(|index| self.sessions[index as usize].owner == Owner::Worker);
            entry.sated = entry.lives > 0 && (awake || entry.session.is_none());
            entry.step_ms = entry.step_ms.min(self.mono_ms + 500);
            entry.act_ms = entry.act_ms.min(self.mono_ms + 500);
        }
    }

    /// A client without a whole life, or still asleep.
    fn unfinished(&self) -> Option<String> {
        for (number, client) in self.clients.iter().enumerate() {
            if client.lives == 0 {
                return Some(format!("[4] client {number} has not come to an end of its life"));
            }
            if let Some(index) = client.session {
                let session = &self.sessions[index as usize];
                if session.owner == Owner::Engine {
                    return Some(format!("[4] s{} has said DONE and sleeps on", session.serial));
                }
            }
        }
        self.debt()
    }

    fn not_at_rest(&self) -> Option<String> {
        let live = self.hands.iter().filter(|hand| hand.live).count();
        (live > 0).then(|| format!("[8] {live} hibernate connections are still open"))
    }

    /// When somebody next does something.
    pub(super) fn next_ms(&self) -> u64 {
        let clients = self.clients.iter().map(|client| client.act_ms.min(client.step_ms));
        let hands = self.hands.iter().filter(|hand| hand.live).map(|hand| hand.due_ms());
        clients.chain(hands).min().unwrap_or(u64::MAX)
    }
}

/// Longer than any back-off, age limit and time-out together.
const CALM_MS_MAX: u64 = 600_000;
const CALM_TICKS_MAX: u32 = 60_000;
