//! What an operation does when what it waits for may have come: the task work of each kind.

use torpor_engine::ring::{CLIENT_BUFFER_BYTES, CLIENT_RECV_BYTES, CONN_RECV_BYTES, PASSED_MAX};

use crate::faults::Fault;
use crate::kernel::Cqe;
use crate::world::{File, World};

impl World {
    /// `true` when the operation is still armed; so all below.
    pub fn run_accept(&mut self, id: u32) -> bool {
        while let Some(&hand) = self.kernel.backlog.front() {
            if self.fault(Fault::AcceptFails, 8) {
                let errno = self.random.pick(&[libc::EMFILE, libc::ENFILE, libc::ENOMEM]);
                self.finish(id, -errno);
                return false;
            }
            self.kernel.backlog.pop_front();
            let mut cqe = Cqe::plain(self.kernel.ops[id as usize].token, 7);
            cqe.passed[0] = Some(File::Hand(hand));
            cqe.peer = self.hands[hand as usize].peer;
            if !self.bring(id, cqe, true) {
                return false;
            }
        }
        true
    }

    pub fn run_watch(&mut self, id: u32) -> bool {
        while !self.shared.queue.is_empty() {
            if self.fault(Fault::WatchReadEnds, 8) {
                self.finish(id, -libc::ENOBUFS);
                return false;
            }
            let mut bytes = [0; 1024];
            let mut count = 0;
            let most = self.random.range(1, 16);
            for _ in 0..most {
                let Some((wd, mask)) = self.shared.queue.pop_front() else { break };
                let name: &[u8] =
                    if mask & 0x100 != 0 { b"1.host\0\0\0\0\0\0\0\0\0\0" } else { b"" };
                for number in [wd as u32, mask, 0, name.len() as u32] {
                    bytes[count..count + 4].copy_from_slice(&number.to_ne_bytes());
                    count += 4;
                }
                bytes[count..count + name.len()].copy_from_slice(name);
                count += name.len();
            }
            let mut cqe = Cqe::plain(self.kernel.ops[id as usize].token, count as i32);
            cqe.data = self.kernel.keep(&bytes[..count]);
            if !self.bring(id, cqe, true) {
                return false;
            }
        }
        true
    }

    pub fn run_bell(&mut self, id: u32) -> bool {
        if !std::mem::take(&mut self.kernel.rung) {
            return true;
        }
        let mut cqe = Cqe::plain(self.kernel.ops[id as usize].token, 8);
        cqe.data = self.kernel.keep(&1_u64.to_ne_bytes());
        self.bring(id, cqe, true)
    }

    pub fn run_notify(&mut self, id: u32, notify: u32) -> bool {
        if self.notifies[notify as usize].pending {
            self.finish(id, 1);
            return false;
        }
        true
    }

    pub fn run_conn(&mut self, id: u32, hand: u32) -> bool {
        let entry = &self.hands[hand as usize];
        let unread = entry.inbound.len() - entry.read;
        if unread == 0 && !entry.worker_closed {
            return true;
        }
        if self.fault(Fault::ConnRecvFails, 16) {
            let errno = self.random.pick(&[libc::EINTR, libc::ENOMEM, libc::ENOBUFS]);
            self.finish(id, -errno);
            return false;
        }
        let mut cqe = Cqe::plain(self.kernel.ops[id as usize].token, 0);
        if unread == 0 {
            cqe.result = if self.random.one_in(8) { -libc::ECONNRESET } else { 0 };
        } else {
            let most =
                if self.fault(Fault::ReadShort, 3) { self.random.range(1, 40) } else { 4096 };
            self.read_conn(hand, (most as usize).min(CONN_RECV_BYTES), &mut cqe);
        }
        self.bring(id, cqe, false)
    }

    /// recvmsg: a read ends behind a message with descriptors, and may begin before it.
    pub fn read_conn(&mut self, hand: u32, most: usize, cqe: &mut Cqe) {
        let entry = &mut self.hands[hand as usize];
        let from = entry.read;
        let mut to = entry.inbound.len().min(from + most);
        let next = entry.marks.first().copied().filter(|mark| mark.at < to);
        if let Some(mark) = next {
            to = to.min(mark.end);
            entry.marks.remove(0);
        }
        entry.read = to;
        cqe.result = (to - from) as i32;
        let bytes = std::mem::take(&mut entry.inbound);
        cqe.data = self.kernel.keep(&bytes[from..to]);
        self.hands[hand as usize].inbound = bytes;
        let Some(mark) = next else { return };
        let lost = self.fault(Fault::PassedLost, 12);
        cqe.passed_lost = lost;
        for (index, file) in mark.files.into_iter().enumerate() {
            let Some(file) = file else { continue };
            match index < PASSED_MAX && !lost {
                true => cqe.passed[index] = Some(file),
                false => {
                    cqe.passed_lost = true;
                    self.close(file);
                }
            }
        }
    }

    /// As the kernel's ring, one completion an arm; or, in some seeds, a ring whose arms last.
    pub fn run_client(&mut self, id: u32, session: u32) -> bool {
        loop {
            let entry = &self.sessions[session as usize];
            let unread = entry.sent.len() - entry.read;
            if entry.reset {
                let errno = self.random.pick(&[libc::ECONNRESET, libc::ETIMEDOUT]);
                self.finish(id, -errno);
                return false;
            }
            if unread == 0 {
                if entry.eof {
                    self.finish(id, 0);
                }
                return !self.sessions[session as usize].eof;
            }
            if self.kernel.buffers == 0 {
                self.fell(Fault::BuffersShort);
                self.finish(id, -libc::ENOBUFS);
                return false;
            }
            if self.fault(Fault::RecvFails, 16) {
                let errno = self.random.pick(&[libc::ENOMEM, libc::ENOBUFS, libc::EINTR]);
                self.finish(id, -errno);
                return false;
            }
            let short = self.fault(Fault::ReadShort, 3);
            let most = if short { self.random.range(1, 20) as usize } else { CLIENT_BUFFER_BYTES };
            let lasting = self.swarm.lasting;
            let limit = if lasting { CLIENT_RECV_BYTES } else { CLIENT_BUFFER_BYTES };
            let armed = &mut self.kernel.ops[id as usize];
            let count = unread.min(most).min(limit - armed.got);
            armed.got += count;
            let goes_on = lasting && armed.got < limit;
            let mut cqe = Cqe::plain(armed.token, count as i32);
            self.kernel.buffers -= 1;
            cqe.provided = true;
            let entry = &mut self.sessions[session as usize];
            let from = entry.read;
            entry.read += count;
            let bytes = std::mem::take(&mut entry.sent);
            cqe.data = self.kernel.keep(&bytes[from..from + count]);
            self.sessions[session as usize].sent = bytes;
            if !self.bring(id, cqe, goes_on) {
                return false;
            }
        }
    }
}
