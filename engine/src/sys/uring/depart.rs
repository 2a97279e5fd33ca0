//! From operations to the kernel's submission entries.

use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;

use crate::ring::{ITEMS_MAX, Op};
use crate::token::{Kind, Token};
use crate::watch::INOTIFY;

use super::super::main_ring::WATCH_BUFFER_BYTES;
use super::super::sqe;
use super::KernelRing;
use super::memory::{CLIENT_GROUP, WATCH_GROUP};

impl KernelRing {
    /// The entry of an operation; its place now counts it.
    pub(super) fn entry(&mut self, op: &Op, text: &[u8]) -> (Token, Entry) {
        match *op {
            Op::Accept { token } => (token, self.accept()),
            Op::ReadWatch { token } => (token, self.read(self.watch_of(token.index()))),
            Op::ReadDoorbell { token } => (token, self.read(self.doorbell.as_raw_fd())),
            Op::ReadItems { token } => (token, self.look()),
            Op::RecvConn { token, conn } => {
                assert_eq!((token.kind(), token.index()), (Kind::ConnRecv, conn));
                let raw = Fd(self.conns.depart(conn).as_raw_fd());
                let header = self.memory.messages.receive_header(conn);
                let flags = libc::MSG_CMSG_CLOEXEC.cast_unsigned();
                (token, opcode::RecvMsg::new(raw, header).flags(flags).build())
            }
            Op::SendConn { token, conn, text: span } => {
                assert_eq!((token.kind(), token.index()), (Kind::ConnSend, conn));
                let raw = self.conns.depart(conn).as_raw_fd();
                let place = self.memory.messages.send_text(conn, span.of(text));
                (token, send(raw, place, span.count, libc::MSG_NOSIGNAL))
            }
            Op::RecvClient { token, slot } => {
                assert_eq!((token.kind(), token.index()), (Kind::ClientRecv, slot));
                let raw = self.clients.depart(slot);
                (token, sqe::receive(raw, CLIENT_GROUP))
            }
            Op::SendClient { token, slot, text: span } => {
                assert_eq!(token.kind(), Kind::ClientSend);
                let raw = self.clients.depart(slot);
                let place = self.memory.texts.keep(token.index(), slot, span.of(text));
                (token, send(raw, place, span.count, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT))
            }
            Op::PollNotify { token, slot } => {
                assert_eq!((token.kind(), token.index()), (Kind::Notify, slot));
                let raw = Fd(self.notifies.depart(slot).as_raw_fd());
                (token, opcode::PollAdd::new(raw, libc::POLLIN as u32).build())
            }
            Op::Cancel { token, target } => {
                assert!(token.kind() != target.kind(), "a cancel has a kind of its own");
                (token, opcode::AsyncCancel::new(target.bits()).build())
            }
            _ => unreachable!("{op:?} is done at once"),
        }
    }

    fn look(&self) -> Entry {
        let set = Fd(self.items.set().as_raw_fd());
        if !self.abilities.epoll_wait {
            return opcode::PollAdd::new(set, libc::POLLIN as u32).build();
        }
        let events = ptr::with_exposed_provenance_mut(self.memory.events.address(0) as usize);
        opcode::EpollWait::new(set, events, ITEMS_MAX as u32).build()
    }

    fn watch_of(&self, index: u32) -> RawFd {
        match index {
            INOTIFY => self.watch.as_raw_fd(),
            _ => self.marks.as_ref().expect("read of only if it has them").as_raw_fd(),
        }
    }

    fn read(&self, raw: RawFd) -> Entry {
        if self.abilities.read_multishot {
            // The length must be zero: each buffer has its own.
            return opcode::ReadMulti::new(Fd(raw), 0, WATCH_GROUP).build();
        }
        let read = opcode::Read::new(Fd(raw), ptr::null_mut(), WATCH_BUFFER_BYTES);
        let entry = read.buf_group(WATCH_GROUP).build();
        entry.flags(Flags::BUFFER_SELECT)
    }

    fn accept(&self) -> Entry {
        let listener = Fd(self.listener.as_raw_fd());
        if self.takes_turns {
            let nobody = std::ptr::null_mut();
            opcode::Accept::new(listener, nobody, nobody.cast()).flags(libc::SOCK_CLOEXEC).build()
        } else {
            opcode::AcceptMulti::new(listener).flags(libc::SOCK_CLOEXEC).build()
        }
    }
}

fn send(raw: RawFd, place: *const u8, count: u32, flags: i32) -> Entry {
    opcode::Send::new(Fd(raw), place, count).flags(flags).build()
}
