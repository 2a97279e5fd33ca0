//! One message block per hibernate connection: what recvmsg writes and what send reads.

use std::mem::offset_of;
use std::os::fd::RawFd;
use std::ptr;

use torpor_handoff::sys::fd::parse_control;

use crate::ring::{CONN_RECV_BYTES, CONN_SEND_BYTES};

use super::shared::Shared;

/// The blocks of all connections.
pub struct Messages {
    memory: Shared,
    conns: u32,
    /// Blocks from here on were not written to since [`Messages::give_back`].
    touched: u32,
}

/// What a recvmsg has left in its block.
#[derive(Debug)]
pub struct Control {
    descriptors: [RawFd; DESCRIPTORS_MAX],
    count: usize,
    /// The kernel had to throw descriptors away (MSG_CTRUNC).
    pub truncated: bool,
}

impl Control {
    /// Descriptor numbers, in the order in which they were sent; all of them are installed.
    pub fn descriptors(&self) -> &[RawFd] {
        &self.descriptors[..self.count]
    }
}

impl Messages {
    /// Blocks for `conns` connections.
    pub fn new(conns: u32) -> Self {
        Self { memory: Shared::new(conns as usize * BLOCK_BYTES), conns, touched: 0 }
    }

    /// Writes a fresh message header; the kernel has written into the last one.
    pub fn receive_header(&mut self, conn: u32) -> *mut libc::msghdr {
        let block = conn as usize * BLOCK_BYTES;
        self.touched = self.touched.max(conn + 1);
        for at in (0..CONTROL_AT).step_by(8) {
            self.memory.set_word(block + at, 0);
        }
        let set = |at: usize, word: u64| self.memory.set_word(block + at, word);
        set(offset_of!(libc::msghdr, msg_iov), self.memory.address(block + IOVEC_AT));
        set(offset_of!(libc::msghdr, msg_iovlen), 1);
        set(offset_of!(libc::msghdr, msg_control), self.memory.address(block + CONTROL_AT));
        set(offset_of!(libc::msghdr, msg_controllen), CONTROL_BYTES as u64);
        set(IOVEC_AT + offset_of!(libc::iovec, iov_base), self.memory.address(block + BYTES_AT));
        set(IOVEC_AT + offset_of!(libc::iovec, iov_len), CONN_RECV_BYTES as u64);
        ptr::with_exposed_provenance_mut(self.memory.address(block) as usize)
    }

    /// Appends the bytes received and lists the descriptors that came along.
    pub fn received(&self, conn: u32, count: usize, out: &mut Vec<u8>) -> Control {
        assert!(count <= CONN_RECV_BYTES, "{count} bytes do not fit a message");
        let block = conn as usize * BLOCK_BYTES;
        let header = |at: usize| self.memory.word(block + at);
        let flags = header(offset_of!(libc::msghdr, msg_flags)) as i32;
        let length = header(offset_of!(libc::msghdr, msg_controllen)) as usize;
        assert!(length <= CONTROL_BYTES, "the kernel wrote {length} bytes of control data");
        let truncated = flags & libc::MSG_CTRUNC != 0;
        let mut control = Control { descriptors: [-1; DESCRIPTORS_MAX], count: 0, truncated };
        // Where the bytes go afterwards there is room for it.
        let at = out.len();
        self.memory.read(block + CONTROL_AT, length, out);
        for message in parse_control(&out[at..]) {
            for number in message.fds() {
                control.descriptors[control.count] = number;
                control.count += 1;
            }
        }
        out.truncate(at);
        self.memory.read(block + BYTES_AT, count, out);
        control
    }

    /// Copies a text to be sent on `conn` and gives its address.
    pub fn send_text(&self, conn: u32, text: &[u8]) -> *const u8 {
        assert!(text.len() <= CONN_SEND_BYTES, "{} bytes are no short line", text.len());
        let at = conn as usize * BLOCK_BYTES + TEXT_AT;
        self.memory.write(at, text);
        ptr::with_exposed_provenance(self.memory.address(at) as usize)
    }

    /// No connection is left: gives back what a storm of them has needed.
    pub fn give_back(&mut self) {
        if self.touched > KEPT_BLOCKS {
            *self = Self::new(self.conns);
        }
    }

    /// Never gives the memory back.
    pub fn leak(&mut self) {
        self.memory.leak();
    }
}

/// Some are kept: they are used again at once.
const KEPT_BLOCKS: u32 = 16;
const IOVEC_AT: usize = size_of::<libc::msghdr>();
const CONTROL_AT: usize = IOVEC_AT + size_of::<libc::iovec>();
/// Room for 28 descriptors. What goes beyond the protocol's one is closed by us or, past this,
/// by the kernel.
const CONTROL_BYTES: usize = 128;
const DESCRIPTORS_MAX: usize = CONTROL_BYTES / size_of::<RawFd>();
const BYTES_AT: usize = CONTROL_AT + CONTROL_BYTES;
const TEXT_AT: usize = BYTES_AT + CONN_RECV_BYTES;
const BLOCK_BYTES: usize = TEXT_AT + CONN_SEND_BYTES;

const _: () = assert!(size_of::<libc::msghdr>() == 56 && size_of::<libc::iovec>() == 16);
const _: () = assert!(offset_of!(libc::msghdr, msg_flags) == 48, "flags begin a word");
const _: () = assert!(CONTROL_BYTES <= CONN_RECV_BYTES, "control data fit where bytes do");
const _: () = assert!(BLOCK_BYTES.is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_storm_has_needed_is_given_back() {
        let mut messages = Messages::new(1024);
        let told = |messages: &Messages, conn| {
            messages.memory.word(conn as usize * BLOCK_BYTES + TEXT_AT) != 0
        };
        for (conns, kept) in [(KEPT_BLOCKS, KEPT_BLOCKS), (1000, 0)] {
            for conn in 0..conns {
                messages.receive_header(conn);
                messages.send_text(conn, b"+\n");
            }
            messages.give_back();
            assert_eq!((0..1024).filter(|conn| told(&messages, *conn)).count() as u32, kept);
        }
    }
}
