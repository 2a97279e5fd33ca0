//! What a worker writes: its hibernate line and the empty line with the notify descriptor, right or
//! wrong.

use std::io::Write as _;

use crate::faults::Fault;
use crate::hand::{HandEnd, Mark, Plan, Step};
use crate::world::{File, World};

impl World {
    /// The worker sends its line, or a part of it.
    pub fn send_line(&mut self, index: usize) {
        let hand = &self.hands[index];
        let (session, plan, whole, from) =
            (hand.session, hand.plan, hand.line.len(), hand.line_sent);
        let mut to = whole;
        if plan == Plan::Split || (plan == Plan::DescriptorLate && from == 0) {
            to = from + self.random.range(1, (whole - from) as u32) as usize;
        }
        let carries = match plan {
            Plan::DescriptorLate => to == whole,
            _ => from == 0,
        };
        let mut files = [None; 3];
        if carries {
            let client = File::Session(session);
            files = match plan {
                Plan::Hostile(Fault::NoDescriptor) => [None; 3],
                Plan::Hostile(Fault::WrongDescriptor) => [Some(File::Odd), None, None],
                Plan::Hostile(Fault::TwoDescriptors) => {
                    let third = self.random.one_in(2).then_some(File::Odd);
                    [Some(client), Some(client), third]
                }
                _ => [Some(client), None, None],
            };
        }
        self.send_bytes(index, from, to, files);
        let hand = &mut self.hands[index];
        hand.line_sent = to;
        if to < whole {
            return;
        }
        hand.step = Step::Plus;
        if plan == Plan::Hostile(Fault::LineEndless) {
            hand.due_ms = u64::MAX;
            if self.random.one_in(2) {
                self.end_hand(index, HandEnd::Kept);
            }
        } else if plan == Plan::Early && hand.notify.is_some() {
            self.send_notify(index);
        }
    }

    pub fn send_bytes(&mut self, index: usize, from: usize, to: usize, files: [Option<File>; 3]) {
        for file in files.into_iter().flatten() {
            self.hold(file);
        }
        let hand = &mut self.hands[index];
        let at = hand.inbound.len();
        let line = std::mem::take(&mut hand.line);
        hand.inbound.extend_from_slice(&line[from..to]);
        hand.line = line;
        if files.iter().any(Option::is_some) {
            // The descriptor rides with the first byte, and the rest is a message of its own.
            hand.marks.push(Mark { at, end: at + 1, files });
        }
    }

    /// The empty line with the notify descriptor.
    pub fn send_notify(&mut self, index: usize) {
        let hand = &mut self.hands[index];
        let notify = File::Notify(hand.notify.expect("a mailbox is selected"));
        let (text, file): (&[u8], _) = match hand.plan {
            Plan::Hostile(Fault::NotifyAbsent) => (b"\n", None),
            Plan::Hostile(Fault::NotifyWrong) => (b"\n", Some(File::Odd)),
            Plan::Hostile(Fault::NotifyText) => (b"x\n", Some(notify)),
            _ => (b"\n", Some(notify)),
        };
        hand.step = Step::Last;
        let at = hand.inbound.len();
        hand.inbound.extend_from_slice(text);
        if let Some(file) = file {
            hand.marks.push(Mark { at, end: at + 1, files: [Some(file), None, None] });
            self.hold(file);
        }
    }

    pub fn write_line(&mut self, index: usize) {
        let hand = &mut self.hands[index];
        let session = &self.sessions[hand.session as usize];
        let user = self.clients[session.client].user;
        let line = &mut hand.line;
        line.clear();
        let inode = match hand.plan {
            Plan::Hostile(Fault::WrongInode) => session.serial + 1,
            _ => session.serial,
        };
        let (serial, secs) = (session.serial, session.interval_secs);
        write!(line, "u{user}\t%s(%u): \tidle_notify_interval={secs}\tpeer_dev_major=0")
            .and_then(|()| write!(line, "\tpeer_dev_minor=9\tpeer_ino={inode}\tsession=s{serial}"))
            .and_then(|()| write!(line, "\trip=192.0.2.{}\trport=4{serial}", user + 1))
            .expect("a Vec takes everything");
        if session.multiplex {
            line.extend_from_slice(b"\tmultiplex_ostream");
        }
        line.extend_from_slice(b"\tuserdb_fields=uid=5000\x01tgid=5000\tuid=5000\tgid=5000");
        if session.token {
            line.extend_from_slice(b"\tauth_token=0123456789abcdef\tsession_pid=77");
        }
        if hand.plan != Plan::Hostile(Fault::LineField) {
            line.extend_from_slice(b"\ttag=");
            line.extend_from_slice(&session.tag);
        }
        line.extend_from_slice(b"\tstats=in=26 out=763");
        if session.idle {
            line.extend_from_slice(b"\tidle-cmd");
        }
        if hand.notify.is_some() {
            line.extend_from_slice(b"\tmailbox=INBOX\tnotify_fd");
        }
        line.extend_from_slice(b"\tstate=YmFzZQpC");
        if session.statistics {
            line.extend_from_slice(b"\tinput_bytes_extra=1000\toutput_bytes_extra=2000");
        }
        match hand.plan {
            Plan::Hostile(Fault::LineEscape) => line.extend_from_slice(b"\tx=\x01q"),
            Plan::Hostile(Fault::LineNul) => line.extend_from_slice(b"\tx=\0"),
            Plan::Hostile(Fault::LineLong) => line.resize(2100, b'z'),
            _ => {}
        }
        if hand.plan != Plan::Hostile(Fault::LineEndless) {
            line.push(b'\n');
        }
        // Without a mailbox nothing can be wrong with its notify descriptor.
        let about_notify = matches!(
            hand.plan,
            Plan::Hostile(Fault::NotifyWrong | Fault::NotifyAbsent | Fault::NotifyText)
        );
        if about_notify && hand.notify.is_none() {
            hand.plan = Plan::Honest;
        }
    }
}
