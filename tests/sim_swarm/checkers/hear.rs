//! What a client is told makes sense to it, and is true.

use super::SWITCH;
use crate::session::Session;
use crate::world::World;

impl World {
    /// Bytes reach the client, from the engine or by way of a worker.
    pub fn hear(&mut self, index: u32, bytes: &[u8], engine: bool) {
        let now_ms = self.mono_ms;
        let session = &mut self.sessions[index as usize];
        let mut payload = bytes;
        if engine && session.multiplex {
            let left = SWITCH.len() - session.switch;
            let count = left.min(payload.len());
            let (switch, rest) = payload.split_at(count);
            assert_eq!(switch, &SWITCH[session.switch..][..count], "the channel is not switched");
            session.switch += count;
            if session.is_torn() {
                session.torn_ms.get_or_insert(now_ms);
            }
            payload = rest;
        }
        if engine {
            session.bytes_out += payload.len() as u64;
        }
        session.heard.extend_from_slice(payload);
        while !self.sessions[index as usize].heard.is_empty() && self.understand(index) {}
    }

    /// The client makes sense of one thing that it was told; `false` when more has to come.
    fn understand(&mut self, index: u32) -> bool {
        let session = &mut self.sessions[index as usize];
        let (serial, heard) = (session.serial, std::mem::take(&mut session.heard));
        assert_eq!(session.byes, 0, "[3] s{serial} is told something after BYE");
        let used = if heard.starts_with(BEAT) {
            self.check_beat(index);
            BEAT.len()
        } else if heard.starts_with(b"* BYE ") && heard.ends_with(b"\r\n") {
            session.byes += 1;
            heard.len()
        } else {
            let tag = session.tag.len();
            let whole = tag + DONE.len();
            let is_answer = heard.len() >= whole
                && heard.starts_with(&session.tag)
                && heard[tag..].starts_with(DONE);
            if is_answer {
                self.check_answer(index);
                whole
            } else {
                let half = is_half(&heard, session);
                let text = heard.escape_ascii();
                assert!(half, "[3] s{serial} is told {text}");
                0
            }
        };
        let mut heard = heard;
        heard.drain(..used);
        self.sessions[index as usize].heard = heard;
        used > 0
    }

    fn check_beat(&mut self, index: u32) {
        let session = &mut self.sessions[index as usize];
        let (serial, interval_ms) = (session.serial, u64::from(session.interval_secs) * 1000);
        assert!(interval_ms > 0, "[3] s{serial} wants no keepalives");
        // One that waited for its channel switch counts from its beginning.
        let at_ms = session.torn_ms.take().unwrap_or(self.mono_ms);
        let since_ms = at_ms - session.beat_ms;
        // The beat before may have been timed by the clock as it was before a jump.
        let steady = session.beats > 0 && self.jumped_ms + interval_ms + 2000 < session.beat_ms;
        // With few sends at once a beat waits for its turn, and the next one does not.
        let few = self.swarm.limits.sends_in_flight_max < self.swarm.limits.slots_max;
        // Late by a pause until the engine steps, and by another until the kernel takes it.
        let slack_ms = 1300 + if few { 4 * self.late_ms + 2000 } else { 2 * self.late_ms };
        let early = steady && since_ms + slack_ms < interval_ms;
        assert!(!early, "[3] s{serial} gets two keepalives in {since_ms} ms of {interval_ms}");
        session.beats += 1;
        session.beat_ms = at_ms;
    }

    /// `OK Idle completed`: the DONE and the IDLE that it answers are accounted for.
    fn check_answer(&mut self, index: u32) {
        let now_ms = self.mono_ms;
        let session = &mut self.sessions[index as usize];
        let serial = session.serial;
        let read = &session.sent[session.acct..session.read];
        let answered = done_idle(read);
        let Some((tag, count)) = answered else {
            panic!("[3] s{serial} is answered, having said {}", read.escape_ascii());
        };
        session.torn_ms = None;
        session.answer_ms = now_ms;
        session.tag.clear();
        session.tag.extend_from_slice(tag);
        session.acct += count;
        session.bytes_in += count as u64;
    }
}

/// A piece of what may come.
fn is_half(heard: &[u8], session: &Session) -> bool {
    let answer = heard.len() <= session.tag.len() + DONE.len()
        && heard.iter().zip(session.tag.iter().chain(DONE)).all(|(one, other)| one == other);
    answer
        || BEAT.starts_with(heard)
        || (heard.starts_with(b"* BYE ") || b"* BYE ".starts_with(heard))
}

/// The tag and the length of a DONE+IDLE at the beginning.
fn done_idle(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let (done, idle) = (lines.next()?, lines.next()?);
    if !done.trim_ascii_end().eq_ignore_ascii_case(b"DONE") || !idle.ends_with(b"\n") {
        return None;
    }
    let line = idle.trim_ascii_end();
    let at = line.iter().position(|byte| *byte == b' ')?;
    let known = line[at + 1..].eq_ignore_ascii_case(b"IDLE");
    known.then_some((&line[..at], done.len() + idle.len()))
}

const BEAT: &[u8] = b"* OK Still here\r\n";
const DONE: &[u8] = b" OK Idle completed.\r\n+ idling\r\n";
