//! What the engine answers on a hibernate connection, and from when on the client is its own.

use crate::faults::WORKER_UID;
use crate::hand::Plan;
use crate::session::Owner;
use crate::world::World;

impl World {
    /// What a send on a hibernate connection comes to.
    pub fn send_conn(&mut self, index: u32, text: u32) -> i32 {
        let bytes = self.kernel.bytes(text).to_vec();
        let hand = &mut self.hands[index as usize];
        if hand.worker_closed {
            return -libc::EPIPE;
        }
        let session = hand.session;
        hand.due_ms = hand.due_ms.min(self.mono_ms + 1);
        match bytes[0] {
            b'V' => {}
            b'-' => hand.refused = true,
            b'+' => {
                hand.pluses += 1;
                if hand.pluses == hand.pluses_needed {
                    hand.given_ms = Some(self.mono_ms);
                    let plan = hand.plan;
                    assert!(!matches!(plan, Plan::Hostile(_)), "[13] {plan:?} got its last +");
                    assert_eq!(hand.peer.uid, WORKER_UID, "[13] a stranger got its last +");
                    self.check_given(session);
                }
            }
            _ => panic!("a worker is told {}", bytes.escape_ascii()),
        }
        bytes.len() as i32
    }

    /// True when the worker has let the client go, or must be taken to have done so.
    pub fn hand_is_off(&self, session: u32) -> bool {
        let mut hands = self.hands.iter().filter(|hand| hand.live && hand.session == session);
        hands.all(|hand| {
            let given_ms = hand.given_ms.unwrap_or(u64::MAX - 1000);
            hand.worker_closed || hand.broken || self.mono_ms >= given_ms + 300
        })
    }

    /// A change between the worker's last look and its notify descriptor was not seen by the
    /// adoption. It must be, when the look goes far enough back.
    pub fn check_unseen(&self, session: u32, version: u64) {
        let Some(index) = self.hand_of(session) else { return };
        let (hand, entry) = (&self.hands[index], &self.sessions[session as usize]);
        let late_ms = self.orders.late_change_ms;
        let accepted_ms = hand.accepted_ms.unwrap_or(u64::MAX);
        let in_reach = accepted_ms < hand.begun_ms + late_ms;
        let steady = self.jumped_ms < hand.begun_ms;
        let missed = version > entry.seen && in_reach && steady;
        assert!(!missed, "[4] s{} changed {} ms too early", entry.serial, hand.begun_ms);
    }

    /// The last `+` has reached the worker: the engine owns the client.
    fn check_given(&mut self, index: u32) {
        let session = &mut self.sessions[index as usize];
        assert_eq!(session.owner, Owner::Worker, "[1] given by one who does not own it");
        session.owner = Owner::Engine;
        (session.acct, session.given_ms) = (0, self.mono_ms);
        (session.bytes_in, session.bytes_out, session.switch) = (0, 0, 0);
        session.torn_ms = None;
        (session.asleep_ms, session.handed, session.must_go) = (None, false, false);
        (session.cut, session.tried, session.overtaken, session.got) = (false, false, 0, 0);
    }
}
