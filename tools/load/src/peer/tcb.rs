//! What a peer remembers of its connection (RFC 9293's transmission control block, without what a
//! client that loses nothing never needs).
//!
//! ```text
//!  Closed ──open──> SynSent ──SYN+ACK──> Established ──FIN from the server──> Ended
//!                                             └──RST, either way──> Closed
//! ```
//! Pure: no packet, no clock. 16 bytes, so that a million peers take 16 MB.

use super::segment::{Flag, Heard, Segment};

/// One peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcb {
    send_next: u32,
    receive_next: u32,
    /// The server's last timestamp in order.
    echo: u32,
    /// Answers since it last said something.
    answers: u16,
    phase: Phase,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not open yet, or reset.
    #[default]
    Closed,
    SynSent,
    Established,
    /// The server has sent its last byte.
    Ended,
}

/// What all peers have met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were made.
    pub established: u32,
    /// Those that the server ended, by FIN and by RST.
    pub ended: u32,
    pub reset: u32,
    pub bytes: u64,
    /// Segments that begin with `*`: keepalives, and news of the mailbox.
    pub untagged: u64,
    /// All others with bytes: answers to what a peer said.
    pub answers: u64,
    /// Peers that got an answer to what they said last.
    pub answered: u32,
}

impl Tcb {
    /// The first segment of a connection; again, if none has answered it.
    pub fn open(&mut self, sequence: u32) -> Segment<'static> {
        assert!(matches!(self.phase, Phase::Closed | Phase::SynSent), "{self:?}");
        let send_next = sequence.wrapping_add(1);
        *self = Self { send_next, phase: Phase::SynSent, ..Self::default() };
        Segment { flag: Flag::Syn, sequence, acknowledges: 0, echo: 0, payload: b"" }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// True when something came that answers what it said last.
    pub fn is_answered(&self) -> bool {
        self.answers > 0
    }

    /// Sends bytes; `None` when there is no connection to send them on.
    pub fn say<'a>(&mut self, payload: &'a [u8]) -> Option<Segment<'a>> {
        assert!(!payload.is_empty() && payload.len() <= PAYLOAD_BYTES_MAX);
        self.is_open().then(|| {
            let segment = Segment { payload, ..self.segment(Flag::Ack) };
            self.send_next = self.send_next.wrapping_add(payload.len() as u32);
            self.answers = 0;
            segment
        })
    }

    /// Hangs up: no more bytes from here.
    pub fn finish(&mut self) -> Option<Segment<'static>> {
        self.is_open().then(|| {
            let segment = self.segment(Flag::Fin);
            self.send_next = self.send_next.wrapping_add(1);
            segment
        })
    }

    /// Ends the connection at once.
    pub fn reset(&mut self) -> Option<Segment<'static>> {
        let segment = self.is_open().then(|| self.segment(Flag::Reset));
        self.phase = Phase::Closed;
        segment
    }

    /// Takes a segment and says what it is answered with.
    pub fn hear(&mut self, heard: &Heard<'_>, tally: &mut Tally) -> Option<Segment<'static>> {
        match self.phase {
            _ if heard.reset => {
                tally.reset += u32::from(self.phase != Phase::Closed);
                self.phase = Phase::Closed;
                None
            }
            // Nothing is open here: the server's end has to go as well.
            Phase::Closed => {
                let sequence = heard.acknowledges;
                let acknowledges = heard.sequence;
                Some(Segment { flag: Flag::Reset, sequence, acknowledges, echo: 0, payload: b"" })
            }
            Phase::SynSent => {
                let fits = heard.syn && heard.acknowledges == self.send_next;
                fits.then(|| {
                    self.receive_next = heard.sequence.wrapping_add(1);
                    self.echo = heard.timestamp.unwrap_or(0);
                    self.phase = Phase::Established;
                    tally.established += 1;
                    self.segment(Flag::Ack)
                })
            }
            Phase::Established | Phase::Ended => self.take(heard, tally),
        }
    }

    /// Takes what is new of a segment. Whatever is not exactly an acknowledgement is acknowledged:
    /// data, FIN, a keepalive probe, and what was sent twice.
    fn take(&mut self, heard: &Heard<'_>, tally: &mut Tally) -> Option<Segment<'static>> {
        let known = self.receive_next.wrapping_sub(heard.sequence) as usize;
        let owed = known != 0 || heard.fin || heard.syn || !heard.payload.is_empty();
        if let Some(fresh) = heard.payload.get(known..).filter(|_| !heard.syn) {
            self.echo = heard.timestamp.unwrap_or(self.echo);
            self.receive_next = self.receive_next.wrapping_add(fresh.len() as u32);
            tally.bytes += fresh.len() as u64;
            match fresh.first() {
                None => {}
                Some(b'*') => tally.untagged += 1,
                Some(_) => {
                    tally.answers += 1;
                    self.answers = self.answers.saturating_add(1);
                }
            }
            if heard.fin && self.phase == Phase::Established {
                self.receive_next = self.receive_next.wrapping_add(1);
                self.phase = Phase::Ended;
                tally.ended += 1;
            }
        }
        owed.then(|| self.segment(Flag::Ack))
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Established | Phase::Ended)
    }

    fn segment(&self, flag: Flag) -> Segment<'static> {
        let (sequence, acknowledges, echo) = (self.send_next, self.receive_next, self.echo);
        Segment { flag, sequence, acknowledges, echo, payload: b"" }
    }
}

/// What is said at once goes in one segment.
pub const PAYLOAD_BYTES_MAX: usize = 1024;

const _: () = assert!(size_of::<Tcb>() == 16, "a million peers take 16 MB");

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    fn heard(sequence: u32, payload: &[u8]) -> Heard<'_> {
        Heard {
            to: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
            sequence,
            acknowledges: 1000,
            syn: false,
            fin: false,
            reset: false,
            timestamp: Some(sequence),
            payload,
        }
    }

    fn established() -> (Tcb, Tally) {
        let (mut tcb, mut tally) = (Tcb::default(), Tally::default());
        assert_eq!(tcb.open(999).flag, Flag::Syn);
        let greeting = Heard { syn: true, ..heard(u32::MAX, b"") };
        let answer = tcb.hear(&greeting, &mut tally).expect("it is acknowledged");
        assert_eq!((answer.sequence, answer.acknowledges), (1000, 0), "numbers wrap");
        assert_eq!((tcb.phase(), tally.established), (Phase::Established, 1));
        (tcb, tally)
    }

    #[test]
    fn bytes_are_taken_once_and_in_order() {
        let (mut tcb, mut tally) = established();
        for (sequence, payload, then, bytes) in [
            (0, &b"* OK"[..], 4, 4),
            // Sent again, and again with more behind it.
            (0, b"* OK", 4, 4),
            (0, b"* OK a1", 7, 7),
            // From the future: what is missing comes again.
            (9, b"x", 7, 7),
            // A keepalive probe.
            (6, b"", 7, 7),
        ] {
            let answer = tcb.hear(&heard(sequence, payload), &mut tally).expect("acknowledged");
            assert_eq!((answer.flag, answer.acknowledges), (Flag::Ack, then), "{payload:?}");
            assert_eq!(tally.bytes, bytes, "{payload:?}");
        }
        assert_eq!(tcb.hear(&heard(7, b""), &mut tally), None, "a bare acknowledgement");
    }

    #[test]
    fn an_answer_is_told_from_a_keepalive() {
        let (mut tcb, mut tally) = established();
        let said = tcb.say(b"DONE\r\n").expect("it is open");
        assert_eq!((said.sequence, said.payload), (1000, &b"DONE\r\n"[..]));
        tcb.hear(&heard(0, b"* OK Still here\r\n"), &mut tally);
        assert!(!tcb.is_answered());
        tcb.hear(&heard(17, b"a1 OK\r\n"), &mut tally);
        assert!(tcb.is_answered());
        assert_eq!((tally.untagged, tally.answers), (1, 1));
        assert_eq!(tcb.say(b"a2 IDLE\r\n").expect("it is open").sequence, 1006);
        assert!(!tcb.is_answered(), "that was for the last one");
    }

    #[test]
    fn ends_of_both_sides_are_told_apart() {
        let (mut one, mut tally) = established();
        let end = Heard { fin: true, ..heard(0, b"* BYE\r\n") };
        assert_eq!(one.hear(&end, &mut tally).expect("acknowledged").acknowledges, 8);
        assert_eq!(one.hear(&end, &mut tally).expect("again").acknowledges, 8);
        assert_eq!((one.phase(), tally.ended, tally.bytes), (Phase::Ended, 1, 7));
        assert_eq!(one.finish().expect("it is open").flag, Flag::Fin);
        let (mut other, mut tally) = established();
        assert_eq!(other.hear(&Heard { reset: true, ..heard(0, b"") }, &mut tally), None);
        assert_eq!((other.phase(), tally.reset), (Phase::Closed, 1));
        assert_eq!(other.say(b"DONE\r\n"), None);
        let stray = other.hear(&heard(0, b"* OK"), &mut tally).expect("refused");
        assert_eq!((stray.flag, stray.sequence), (Flag::Reset, 1000));
    }
}
