//! The simulated handoff thread: the real conversations over a simulated imap-master.

mod talk;
mod words;

use std::collections::{BTreeMap, VecDeque};

use torpor_engine::drive::Handoff;
use torpor_engine::planted::{Bug, planted};
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::master::{Conversation, Event, Found, Step, Timeouts};
use torpor_handoff::message::{Cause, Exited, Outcome, Returned, Wake};

use crate::counting;
use crate::net::{Owner, Shared, SimFd, Thing};
use talk::{Far, Said, Stage, Talk, manner, sent};

pub struct SimHandoff {
    net: Shared,
    talks: Vec<Talk>,
    returned: VecDeque<Returned<SimFd>>,
    /// Conversations that are over here, by their places: the vault holds each until its place is
    /// wanted again.
    over: BTreeMap<u32, Far>,
}

impl SimHandoff {
    pub fn new(net: Shared) -> Self {
        Self { net, talks: Vec::new(), returned: VecDeque::new(), over: BTreeMap::new() }
    }

    /// The engine was killed, and its handoff thread with it.
    pub fn heir(self) -> Self {
        let mut over = self.over;
        for client in &mut self.net.borrow_mut().clients {
            client.handed = 0;
        }
        let held = self.talks.into_iter().filter(|talk| talk.far.is_held);
        over.extend(held.map(|talk| (talk.wake.place, talk.far)));
        Self { net: self.net, talks: Vec::new(), returned: VecDeque::new(), over }
    }

    /// Descriptors in its hands.
    pub fn held(&self) -> usize {
        self.talks.len() + self.returned.iter().filter(|back| back.client.is_some()).count()
    }

    /// Lets every conversation go on by one event.
    pub fn tick(&mut self) {
        let mut at = 0;
        while at < self.talks.len() {
            match self.advance(at) {
                Some(outcome) => {
                    let Talk { wake, conversation, far, .. } = self.talks.swap_remove(at);
                    if far.is_held {
                        self.over.insert(wake.place, far);
                    }
                    let refused = outcome == Outcome::Refused;
                    let reason = if refused { conversation.reason() } else { b"" };
                    self.returned.push_back(Returned::new(wake, outcome, reason));
                }
                None => at += 1,
            }
        }
    }

    fn advance(&mut self, at: usize) -> Option<Outcome> {
        let mut net = self.net.borrow_mut();
        let talk = &mut self.talks[at];
        let now_ms = net.now.mono_ms;
        let mut step = talk.next;
        if step == Step::Wait {
            step = talk.hear(&mut net)?;
        }
        for _ in 0..16 {
            let event = match step {
                Step::Wait => {
                    talk.next = Step::Wait;
                    return None;
                }
                Step::SendVersion { from } => sent(&mut net, MASTER_VERSION.len() - from),
                Step::SendFirst => {
                    // Before the risky step.
                    talk.far.is_held = !planted(Bug::TalkNotHeld);
                    talk.far.line = talk.wake.parcel.clone();
                    self.over.remove(&talk.wake.place);
                    Event::Sent { count: 1 }
                }
                Step::SendRest { from } => {
                    let count = talk.wake.parcel.len() - from;
                    let event = sent(&mut net, count);
                    talk.far.sent_all |=
                        matches!(event, Event::Sent { count: all } if all == count);
                    event
                }
                Step::ShutClient => {
                    net.clients[talk.client].shut = true;
                    Event::ClientShut
                }
                Step::Finish(outcome) => {
                    net.say(|| format!("client {}: {outcome:?}", talk.client));
                    if outcome == Outcome::Lost {
                        let owner = net.clients[talk.client].owner;
                        // The engine before us may have come as far, and was killed then.
                        let again = talk.wake.is_resumed && owner == Owner::Nobody;
                        assert!(again || owner == Owner::Engine, "shut for nothing");
                        net.clients[talk.client].owner = Owner::Nobody;
                    }
                    net.clients[talk.client].handed -= 1;
                    return Some(outcome);
                }
            };
            step = talk.conversation.on(event, now_ms);
        }
        talk.next = step;
        None
    }
}

impl Handoff for SimHandoff {
    type Descriptor = SimFd;

    fn send(&mut self, wake: Wake<SimFd>) {
        counting::pause();
        let mut net = self.net.borrow_mut();
        let Thing::Client(client) = wake.client.thing else { panic!("no client is handed over") };
        let now_ms = net.now.mono_ms;
        if wake.is_resumed {
            drop(net);
            return self.resume(wake, client);
        }
        assert_eq!(net.clients[client].owner, Owner::Engine, "handed over by a stranger");
        // One that was on its way in the very step of the order may still go.
        let dismissed = net.clients[client].dismissed.is_some_and(|at| now_ms > at + 100);
        assert!(!dismissed, "kicked, and yet given to a worker");
        net.clients[client].handed += 1;
        let manner = manner(&mut net);
        let conversation = Conversation::new(now_ms, &TIMEOUTS, wake.parcel.len());
        net.say(|| format!("client {client} goes to a worker: {manner:?}"));
        let far = Far {
            attempt: wake.attempt,
            is_held: false,
            manner,
            due_ms: now_ms,
            stage: Stage::Connect,
            sent_all: false,
            line: Vec::new(),
            said: Said::Nothing,
        };
        self.talks.push(Talk { wake, client, conversation, far, next: Step::Wait });
    }

    fn returned(&mut self) -> Option<Returned<SimFd>> {
        self.returned.pop_front()
    }

    /// In this world a worker goes on with others: it is counted by age.
    fn exited(&mut self) -> Option<Exited> {
        None
    }
}

impl SimHandoff {
    /// The engine before us gave this client away, perhaps.
    fn resume(&mut self, wake: Wake<SimFd>, client: usize) {
        let net = self.net.borrow();
        let far = self.over.remove(&wake.place);
        let found = far.as_ref().map(|far| Found { attempt: far.attempt, has_pidfd: true });
        let now_ms = net.now.mono_ms;
        let conversation = Conversation::resumed(now_ms, &TIMEOUTS, wake.attempt, found);
        let Some((mut far, conversation)) = far.zip(conversation) else {
            net.say(|| format!("client {client} was not given away"));
            let outcome = Outcome::Unsent(Cause::Host(libc::ECANCELED));
            return self.returned.push_back(Returned::new(wake, outcome, b""));
        };
        net.say(|| format!("client {client} was given away: {:?} {:?}", far.manner, far.said));
        if !far.sent_all && far.said == Said::Nothing {
            // Half a line, and then the end of it.
            (far.stage, far.said) = (Stage::Mute, Said::HungUp);
        }
        drop(net);
        self.net.borrow_mut().clients[client].handed += 1;
        let mut talk = Talk { wake, client, conversation, far, next: Step::Wait };
        talk.next = talk.listen(now_ms).unwrap_or(Step::Wait);
        self.talks.push(talk);
    }
}

const TIMEOUTS: Timeouts = Timeouts { version_ms: 2000, ack_ms: 3000, exit_ms: 200 };
