//! Workers after their `+`: how long each serves its session, and when the engine is told of its
//! end. Some serve others afterwards, and are never told of.

use std::collections::VecDeque;

use torpor_handoff::message::Exited;

use crate::faults::AWAKE_AGE_MS_MIN;
use crate::session::Owner;
use crate::world::World;

#[derive(Default)]
pub struct Takers {
    serving: Vec<Taker>,
    /// Whose end the engine has still to be told of.
    ended: VecDeque<Taker>,
    /// Whose end it was told of, in the step under way.
    told: Vec<Taker>,
}

struct Taker {
    exited: Exited,
    session: u32,
    serial: u32,
    /// When its session was last given to the engine; another time says that it was given again.
    given_ms: u64,
    taken_ms: u64,
    /// When its process ends; none while it serves, or for ever.
    ends_ms: Option<u64>,
    is_told: bool,
}

impl Takers {
    pub fn add(&mut self, world: &World, session: u32, exited: Exited, has_pidfd: bool) {
        let entry = &world.sessions[session as usize];
        let (serial, given_ms, taken_ms) = (entry.serial, entry.given_ms, world.mono_ms);
        // An heir that finds a `+` may have been told of it in the dead engine's life.
        let same = |taker: &Taker| taker.serial == serial && taker.given_ms == given_ms;
        self.serving.retain(|taker| taker.session != session || !same(taker));
        let is_told = has_pidfd && !serial.is_multiple_of(4);
        self.serving.push(Taker {
            exited,
            session,
            serial,
            given_ms,
            taken_ms,
            ends_ms: None,
            is_told,
        });
    }

    /// The engine that had their pidfds has ended: its heir is told of nobody's end, not even of
    /// those that the dead one heard of in its last step.
    pub fn unwatched(mut self) -> Self {
        self.serving.extend(self.ended.drain(..));
        self.serving.append(&mut self.told);
        for taker in &mut self.serving {
            (taker.is_told, taker.ends_ms) = (false, None);
        }
        self
    }

    /// Workers that serve, and whom the engine must know of: it has not been offered the client
    /// again, and they are too young to be forgotten.
    pub fn out(&self, world: &World) -> usize {
        let is_known = |taker: &&Taker| {
            let session = &world.sessions[taker.session as usize];
            let is_young = world.mono_ms < taker.taken_ms + u64::from(AWAKE_AGE_MS_MIN);
            taker.serves(world) && !session.is_offered && is_young
        };
        self.serving.iter().filter(is_known).count()
    }

    pub fn run(&mut self, world: &mut World) {
        let now_ms = world.mono_ms;
        for taker in self.serving.iter_mut().filter(|taker| taker.is_told) {
            if taker.ends_ms.is_none() && !taker.serves(world) {
                taker.ends_ms = Some(now_ms + u64::from(taker.serial) * 37 % 300);
            }
        }
        let is_over = |taker: &mut Taker| taker.ends_ms.is_some_and(|at| at <= now_ms);
        for taker in self.serving.extract_if(.., is_over) {
            self.ended.push_back(taker);
            world.kernel.ring_bell();
        }
        self.serving.retain(|taker| now_ms < taker.taken_ms + FORGOTTEN_MS);
    }

    pub fn exited(&mut self) -> Option<Exited> {
        self.told.push(self.ended.pop_front()?);
        self.told.last().map(|taker| taker.exited)
    }

    /// The step has committed.
    pub fn applied(&mut self) {
        self.told.clear();
    }

    /// Nobody counts as awake whose worker was told to have ended, or who sleeps again.
    pub fn check(&self, world: &World, counted: u64) {
        let again = |taker: &Taker| {
            let session = &world.sessions[taker.session as usize];
            session.serial == taker.serial && session.given_ms != taker.given_ms
        };
        let awake = self.serving.iter().filter(|taker| !again(taker)).count();
        assert!(counted <= awake as u64, "{counted} count as awake, {awake} can be");
    }
}

impl Taker {
    fn serves(&self, world: &World) -> bool {
        let session = &world.sessions[self.session as usize];
        let same = session.serial == self.serial && session.given_ms == self.given_ms;
        session.live && same && session.owner == Owner::Worker
    }
}

/// Longer than any age limit of the swarm, a stall and a sweep.
const FORGOTTEN_MS: u64 = 20_000;
