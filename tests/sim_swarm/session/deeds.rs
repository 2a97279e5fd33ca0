//! What happens to a connection: it begins, is spoken on and written to, ends.

use super::{Owner, Session, WIDE, push_number};
use crate::faults::Fault;
use crate::world::{File, World, place};

impl World {
    /// A client logs in: its worker has it.
    pub fn log_in(&mut self, client: usize) -> u32 {
        let index = place(&mut self.sessions, |session| session.live, Session::new);
        self.serial += 1;
        let serial = self.serial;
        let dialect = self.random.below(4);
        let mailbox = (!self.random.one_in(5)).then(|| self.random.below(self.swarm.boxes));
        let (heard, sent) = {
            let old = &mut self.sessions[index];
            (std::mem::take(&mut old.heard), std::mem::take(&mut old.sent))
        };
        let tag = std::mem::take(&mut self.sessions[index].tag);
        let (unix, idle) = (self.random.one_in(3), !self.random.one_in(12));
        let interval_secs = self.random.pick(&[0, 0, 3, 7, 15]);
        let multiplex = dialect >= 2 && self.random.one_in(4);
        let session = &mut self.sessions[index];
        *session = Session { heard, sent, tag, ..Session::empty() };
        session.heard.clear();
        session.sent.clear();
        (session.live, session.attached, session.client) = (true, true, client);
        (session.serial, session.refs, session.owner) = (serial, 1, Owner::Worker);
        (session.unix, session.idle, session.multiplex) = (unix, idle, multiplex);
        (session.statistics, session.token) = (dialect >= 1, dialect >= 3);
        session.interval_secs = interval_secs;
        session.mailbox = mailbox.map(|number| number as usize);
        self.new_tag(index as u32);
        self.tell(|| format!("client {client} logs in as s{serial}"));
        index as u32
    }

    /// The client begins a new IDLE.
    pub fn new_tag(&mut self, index: u32) {
        self.serial += 1;
        let serial = self.serial;
        let long = self.fault(Fault::LongTag, 4);
        let tag = &mut self.sessions[index as usize].tag;
        tag.clear();
        push_number(tag, b"t", serial);
        if long {
            tag.resize(100 + serial as usize % 29, b'x');
        }
    }

    /// What a send to a client comes to.
    pub fn send_client(&mut self, index: u32, text: u32) -> i32 {
        let session = &self.sessions[index as usize];
        if !session.is_reachable() {
            self.fell(Fault::SendFails);
            self.sessions[index as usize].write_failed = true;
            return -self.random.pick(&[libc::EPIPE, libc::ECONNRESET]);
        }
        if self.fault(Fault::SendFails, 12) {
            self.sessions[index as usize].cut = true;
            return -self.random.pick(&[libc::ENOBUFS, libc::ENOMEM, libc::EINTR]);
        }
        let bytes = self.kernel.bytes(text).to_vec();
        let session = &mut self.sessions[index as usize];
        let count = bytes.len().min(session.window as usize);
        if session.window < WIDE {
            session.window -= count as u32;
        }
        let (whole, blocked) = (bytes.len(), count == 0);
        session.cut |= count < whole;
        self.hear(index, &bytes[..count], true);
        match (blocked, count < whole) {
            (true, _) => self.fell(Fault::SendBlocked),
            (_, true) => self.fell(Fault::SendShort),
            _ => {}
        }
        if blocked { -libc::EAGAIN } else { count as i32 }
    }

    /// Nobody holds the server's end any more: the client sees the end.
    pub fn session_closed(&mut self, index: u32) {
        self.check_closed(index);
        let session = &mut self.sessions[index as usize];
        session.live = false;
        session.owner = Owner::Nobody;
        // A file that nobody has open leaves its epoll set.
        self.kernel.items.list.retain(|(other, ..)| *other != index);
        let session = &mut self.sessions[index as usize];
        let (client, serial, attached) = (session.client, session.serial, session.attached);
        session.attached = false;
        self.tell(|| format!("s{serial} is closed"));
        if attached {
            self.client_dropped(client);
        }
    }

    /// shutdown(SHUT_RDWR): nobody may revive it.
    pub fn shut(&mut self, index: u32) {
        self.check_shut(index);
        let session = &mut self.sessions[index as usize];
        session.shut = true;
        session.owner = Owner::Nobody;
        let serial = session.serial;
        self.tell(|| format!("s{serial} is shut down"));
    }

    /// The client's end closes, or half of it, or with a reset.
    pub fn hang_up(&mut self, index: u32, reset: bool, half: bool) {
        let session = &mut self.sessions[index as usize];
        session.eof = true;
        session.reset |= reset;
        session.attached &= half;
        let op = session.op;
        self.kernel.stir(op);
        self.stir_item(index);
    }

    /// Bytes of the client reach the socket.
    pub fn speak(&mut self, index: u32, bytes: &[u8]) {
        let session = &mut self.sessions[index as usize];
        if session.eof || session.shut {
            return;
        }
        session.sent.extend_from_slice(bytes);
        let (op, serial, owner) = (session.op, session.serial, session.owner);
        self.kernel.stir(op);
        self.stir_item(index);
        self.tell(|| format!("s{serial} says {} ({owner:?})", bytes.escape_ascii()));
        if owner == Owner::Worker && self.hand_of(index).is_none() {
            self.worker_reads(index);
        }
    }

    /// An awake worker reads what there is, and the client begins anew.
    pub fn worker_reads(&mut self, index: u32) {
        if !self.sessions[index as usize].pending().is_empty() {
            self.sessions[index as usize].consume();
            self.new_tag(index);
        }
    }

    /// The worker of an awake session lets its descriptor go.
    pub fn worker_drops(&mut self, index: u32) {
        assert_eq!(self.sessions[index as usize].owner, Owner::Worker);
        self.sessions[index as usize].owner = Owner::Nobody;
        self.close(File::Session(index));
    }
}
