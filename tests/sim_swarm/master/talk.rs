//! The engine's side of one conversation.

use torpor_engine::planted::{Bug, kill_point, planted};
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::master::{Event, Step};
use torpor_handoff::message::Outcome;

use super::Talk;
use crate::faults::Fault;
use crate::world::{File, Shared, World};

impl Talk {
    /// The engine's side: reads until there is nothing left, then looks at death and time.
    pub(super) fn listen(&mut self, shared: &Shared) -> Option<Outcome> {
        self.wake.as_ref()?;
        while !self.inbound.is_empty() {
            let bytes = std::mem::take(&mut self.inbound);
            if self.kept.is_some() {
                self.said.extend_from_slice(&bytes);
            }
            let has_pidfd = self.has_pidfd;
            let step = self.tell(shared, Event::Received { bytes: &bytes, has_pidfd });
            if step.is_some() {
                return step;
            }
        }
        let now_ms = shared.borrow().mono_ms;
        let event = if self.closed && !self.eof_told {
            self.eof_told = true;
            Event::Eof
        } else if self.dead && !self.dead_told && self.has_pidfd {
            self.dead_told = true;
            Event::WorkerDead
        } else if now_ms >= self.conversation.deadline_ms() {
            Event::Deadline
        } else {
            return None;
        };
        self.tell(shared, event)
    }

    /// Tells the conversation, and does what it says.
    pub(super) fn tell(&mut self, shared: &Shared, event: Event<'_>) -> Option<Outcome> {
        let mut world = shared.borrow_mut();
        let now_ms = world.mono_ms;
        let mut step = self.conversation.on(event, now_ms);
        loop {
            kill_point();
            let sent = match step {
                Step::Wait => return None,
                Step::Finish(outcome) => return Some(outcome),
                Step::ShutClient => {
                    world.shut(self.session);
                    step = self.conversation.on(Event::ClientShut, now_ms);
                    continue;
                }
                Step::SendVersion { from } => self.send(&mut world, MASTER_VERSION.len() - from),
                Step::SendFirst => {
                    self.keep();
                    self.send(&mut world, 1)
                }
                Step::SendRest { from } => {
                    let left = self.wake.as_ref().map_or(0, |wake| wake.parcel.len()) - from;
                    self.send(&mut world, left)
                }
            };
            let event = match sent {
                Err(errno) => Event::SendFailed(errno),
                Ok(count) => {
                    self.sent(&mut world, step, count);
                    Event::Sent { count }
                }
            };
            step = self.conversation.on(event, now_ms);
        }
    }

    /// Before the risky step. What the worker says from here on stays to be heard by an heir.
    fn keep(&mut self) {
        let wake = self.wake.as_ref().expect("the request is still here");
        if !planted(Bug::TalkNotHeld) {
            self.kept = Some(wake.place);
        }
    }

    fn send(&self, world: &mut World, bytes: usize) -> Result<usize, i32> {
        if self.closed {
            return Err(libc::EPIPE);
        }
        let short = bytes > 1 && world.fault(Fault::SendShort, 4);
        Ok(if short { world.random.range(1, bytes as u32) as usize } else { bytes })
    }

    fn sent(&mut self, world: &mut World, step: Step, count: usize) {
        let from = match step {
            Step::SendVersion { .. } => {
                self.version_bytes += count;
                return;
            }
            Step::SendFirst => {
                let client = File::Session(self.session);
                world.hold(client);
                self.client = Some(client);
                0
            }
            Step::SendRest { from } => from,
            step => panic!("{step:?} sends nothing"),
        };
        let wake = self.wake.as_ref().expect("the request is still here");
        self.line.extend_from_slice(&wake.parcel[from..from + count]);
        self.requested(world);
    }
}
