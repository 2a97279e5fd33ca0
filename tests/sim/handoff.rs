//! The simulated handoff thread: the real conversations over a simulated imap-master.

use std::collections::{BTreeMap, VecDeque};

use torpor_engine::drive::Handoff;
use torpor_engine::planted::{Bug, planted};
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::master::{Conversation, Event, Found, Step, Timeouts};
use torpor_handoff::message::{Cause, Exited, Outcome, Returned, Wake};

use crate::counting;
use crate::faults::Fault;
use crate::net::{Client, Net, Owner, Shared, SimFd, Thing};

pub struct SimHandoff {
    net: Shared,
    talks: Vec<Talk>,
    returned: VecDeque<Returned<SimFd>>,
    /// Conversations that are over here, by their places: the vault holds each until its place is
    /// wanted again.
    over: BTreeMap<u32, Far>,
}

/// How the other side behaves in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    Absent,
    Full,
    SilentBefore,
    BadGreeting,
    ClosesBefore,
    Refuses,
    DiesAfter,
    SilentAfter,
    LateAfter,
}

struct Talk {
    wake: Wake<SimFd>,
    client: usize,
    conversation: Conversation,
    far: Far,
    next: Step,
}

/// The other side of a conversation, which knows nothing of crashes.
struct Far {
    attempt: u32,
    /// True exactly when the vault holds our end.
    is_held: bool,
    manner: Manner,
    /// When it next does something.
    due_ms: u64,
    stage: Stage,
    sent_all: bool,
    /// The request, as far as it was sent.
    line: Vec<u8>,
    said: Said,
}

/// What it has said in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Plus,
    Minus,
    HungUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connect,
    Greet,
    Answer,
    Mute,
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
                Some(returned) => {
                    let talk = self.talks.swap_remove(at);
                    if talk.far.is_held {
                        self.over.insert(talk.wake.place, talk.far);
                    }
                    self.returned.push_back(returned.0);
                }
                None => at += 1,
            }
        }
    }

    fn advance(&mut self, at: usize) -> Option<Ended> {
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
                    let talk = self.talks.get_mut(at)?;
                    net.say(|| format!("client {}: {outcome:?}", talk.client));
                    if outcome == Outcome::Lost {
                        let owner = net.clients[talk.client].owner;
                        // The engine before us may have come as far, and was killed then.
                        let again = talk.wake.is_resumed && owner == Owner::Nobody;
                        assert!(again || owner == Owner::Engine, "shut for nothing");
                        net.clients[talk.client].owner = Owner::Nobody;
                    }
                    net.clients[talk.client].handed -= 1;
                    let parcel = std::mem::take(&mut talk.wake.parcel);
                    let Wake { slot, generation, session, place, attempt, .. } = talk.wake;
                    let Wake { is_resumed, since_us, .. } = talk.wake;
                    let open = net.open.clone();
                    let client = SimFd::new(Thing::Client(talk.client), &open);
                    let wake = Wake {
                        slot,
                        generation,
                        session,
                        place,
                        attempt,
                        is_resumed,
                        since_us,
                        parcel,
                        client,
                    };
                    let reason = talk.conversation.reason().to_vec();
                    let refused = outcome == Outcome::Refused;
                    let reason = if refused { &reason[..] } else { b"" };
                    return Some(Ended(Returned::new(wake, outcome, reason)));
                }
            };
            step = talk.conversation.on(event, now_ms);
        }
        talk.next = step;
        None
    }
}

struct Ended(Returned<SimFd>);

/// How much of a write fits.
fn sent(net: &mut Net, count: usize) -> Event<'static> {
    let partial = count > 1 && net.strikes(Fault::PartialSend, 300);
    Event::Sent {
        count: if partial { 1 + net.random.below(count as u64 - 1) as usize } else { count },
    }
}

impl Talk {
    /// What the other side does now; `None` when nothing.
    fn hear(&mut self, net: &mut Net) -> Option<Step> {
        let now_ms = net.now.mono_ms;
        if now_ms >= self.far.due_ms
            && let Some(step) = self.act(net)
        {
            return Some(step);
        }
        if now_ms >= self.conversation.deadline_ms() {
            return Some(self.conversation.on(Event::Deadline, now_ms));
        }
        // A short write is followed by room for more.
        let writable = self.far.stage == Stage::Answer && !self.far.sent_all;
        writable.then(|| self.conversation.on(Event::Writable, now_ms))
    }

    fn act(&mut self, net: &mut Net) -> Option<Step> {
        let now_ms = net.now.mono_ms;
        match self.far.stage {
            Stage::Connect => {
                self.far.stage = Stage::Greet;
                self.far.due_ms = now_ms + net.random.below(200);
                let event = match self.far.manner {
                    Manner::Absent => Event::ConnectFailed(libc::ECONNREFUSED),
                    Manner::Full => Event::ConnectFailed(libc::EAGAIN),
                    _ => Event::Connected,
                };
                Some(self.conversation.on(event, now_ms))
            }
            Stage::Greet => {
                self.far.stage = Stage::Answer;
                self.far.due_ms = now_ms + 50 + net.random.below(200);
                let event = match self.far.manner {
                    Manner::SilentBefore => {
                        self.far.stage = Stage::Mute;
                        return None;
                    }
                    Manner::ClosesBefore => Event::Eof,
                    Manner::BadGreeting => {
                        Event::Received { bytes: b"VERSION\timap\t1\t0\n", has_pidfd: true }
                    }
                    _ => Event::Received { bytes: MASTER_VERSION, has_pidfd: true },
                };
                Some(self.conversation.on(event, now_ms))
            }
            Stage::Answer if self.far.sent_all => self.answer(net),
            Stage::Answer | Stage::Mute => None,
        }
    }

    fn answer(&mut self, net: &mut Net) -> Option<Step> {
        let now_ms = net.now.mono_ms;
        self.far.stage = Stage::Mute;
        self.far.said = match self.far.manner {
            Manner::Refuses => Said::Minus,
            Manner::DiesAfter => Said::HungUp,
            Manner::SilentAfter => Said::Nothing,
            Manner::LateAfter => {
                self.far.manner = Manner::Good;
                self.far.stage = Stage::Answer;
                self.far.due_ms = now_ms + 2000 + net.random.below(3000);
                Said::Nothing
            }
            // Whom we have shut down ourselves finds a worker only if that is told of late.
            _ if net.clients[self.client].shut && self.wake.is_resumed => Said::Plus,
            _ => {
                take(net, self.client, &self.far.line);
                Said::Plus
            }
        };
        self.listen(now_ms)
    }

    /// What the other side has said is heard, and stays to be heard by an heir.
    fn listen(&mut self, now_ms: u64) -> Option<Step> {
        let bytes: &[u8] = match self.far.said {
            Said::Nothing => return None,
            Said::Plus => b"+\n",
            Said::Minus => b"-Out of cheese\n",
            Said::HungUp => {
                let step = self.conversation.on(Event::Eof, now_ms);
                let dead = Event::WorkerDead;
                let waits = step == Step::Wait;
                return Some(if waits { self.conversation.on(dead, now_ms) } else { step });
            }
        };
        Some(self.conversation.on(Event::Received { bytes, has_pidfd: false }, now_ms))
    }
}

/// What a worker is told of a client is what that client knows.
fn check_words(entry: &Client, client: usize, line: &[u8]) {
    let field = |key: &str| {
        let line = line.strip_suffix(b"\n").expect("a line");
        let fields = line.split(|byte| *byte == b'\t').skip(1);
        fields.filter_map(|field| field.strip_prefix(key.as_bytes())).last()
    };
    assert_eq!(
        line.split(|byte| *byte == b'\t').next(),
        Some(format!("u{}", entry.user).as_bytes())
    );
    assert_eq!(field("tag="), Some(&entry.tag[..]), "the tag of client {client}");
    let input = field("client_input=").map_or(Vec::new(), decode);
    assert_eq!(input, entry.sent[entry.read..entry.pulled], "the input of client {client}");
    let output = field("client_output=").map_or(Vec::new(), decode);
    assert_eq!(output, entry.rest, "the output left over for client {client}");
    let number = |key| field(key).and_then(|text| str::from_utf8(text).ok()?.parse::<usize>().ok());
    assert_eq!(number("input_bytes_extra="), Some(26 + entry.answered_in));
    assert_eq!(number("output_bytes_extra="), Some(763 + entry.answered_out));
    assert!(line.windows(14).any(|word| word == b"\tidle-continue"), "IDLE goes on");
}

/// A worker takes the client: every byte must be there once, and every word be true.
fn take(net: &mut Net, client: usize, line: &[u8]) {
    let now_ms = net.now.mono_ms;
    let busy_ms = 100 + net.random.below(4000);
    let window = 20_000;
    let entry = &mut net.clients[client];
    assert!(!entry.shut, "a shut client came to life");
    // One that has reset its connection will never hear the rest, nor what it was answered.
    let torn = entry.is_torn();
    assert!(!torn || entry.reset, "client {client} goes to a worker with half a switch");
    assert_eq!(entry.owner, Owner::Engine, "client {client} has two owners");
    if !torn {
        check_words(entry, client, line);
    }
    entry.rest.clear();
    entry.window = window;
    (entry.pulled, entry.read) = (entry.sent.len(), entry.sent.len());
    entry.owner = Owner::Worker;
    entry.dismissed = None;
    entry.lives += 1;
    entry.busy_until_ms = now_ms + busy_ms;
    if let Some(mailbox) = entry.mailbox {
        entry.seen = net.mailboxes[mailbox].version;
    }
    net.say(|| format!("client {client} is taken"));
}

fn decode(text: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
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

fn manner(net: &mut Net) -> Manner {
    let all = [
        (Fault::MasterAbsent, Manner::Absent),
        (Fault::MasterFull, Manner::Full),
        (Fault::MasterSilent, Manner::SilentBefore),
        (Fault::MasterBadGreeting, Manner::BadGreeting),
        (Fault::MasterCloses, Manner::ClosesBefore),
        (Fault::WorkerRefuses, Manner::Refuses),
        (Fault::WorkerDies, Manner::DiesAfter),
        (Fault::WorkerSilent, Manner::SilentAfter),
        (Fault::WorkerLate, Manner::LateAfter),
    ];
    for (fault, manner) in all {
        // A session that is lost for good is rarer than one that is tried again.
        let often = if manner == Manner::SilentAfter { 10 } else { 100 };
        if net.strikes(fault, often) {
            return manner;
        }
    }
    Manner::Good
}
