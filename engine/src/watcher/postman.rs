//! The thread between an engine and its watcher.
//!
//! It keeps a copy of every notify descriptor until the watcher has replied, so a watcher that is
//! killed, stopped or mistaken costs no more than the adoption under way: that is given to the next
//! watcher, or after a while the descriptor is kept and polled by the engine itself.

use std::collections::HashSet;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use inotify::EventMask;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{MsgFlags, send};
use torpor_handoff::sys::fd::{Received, receive, send_with_fds};

use crate::watch::{Adopted, Adoption, WATCHES_PER_NOTIFY_MAX, WatchEvent, WatchOrder};

use super::marks::Marks;
use super::orders::{Entry, Orders, Replied};
use super::outbox::Inlet;
use super::post::{Answer, Bell, Job};
use super::wire::{Order, PACKET_BYTES_MAX, Said};

/// From and to the engine. Dropped in this order: whoever is woken by the last ring finds the
/// channels closed.
pub struct Errands {
    pub orders: Inlet<Job>,
    pub connections: Receiver<OwnedFd>,
    pub answers: Sender<Answer>,
    pub news: Sender<WatchEvent>,
    pub bell: Bell,
}

/// What the thread has.
pub struct Postman {
    shared: OwnedFd,
    marks: Option<Marks>,
    errands: Errands,
    wake: Arc<EventFd>,
    tell: fn(&str),
    socket: Option<OwnedFd>,
    orders: Orders,
    /// Numbers that the watcher looks at, because the kernel does not tell of them.
    polled: HashSet<i32>,
    /// Room for one packet.
    packet: Vec<u8>,
}

impl Postman {
    pub fn new(
        shared: OwnedFd,
        marks: Option<Marks>,
        errands: Errands,
        wake: Arc<EventFd>,
        tell: fn(&str),
    ) -> Self {
        let (orders, polled) = (Orders::default(), HashSet::new());
        let packet = vec![0; PACKET_BYTES_MAX];
        Self { shared, marks, errands, wake, tell, socket: None, orders, polled, packet }
    }

    /// Goes on until the engine is gone, and the watcher has been sent what it was told.
    pub fn run(mut self) {
        loop {
            let is_over = self.take_orders();
            self.take_watcher();
            self.send_some();
            self.hear();
            self.give_up_some();
            if is_over && (self.socket.is_none() || self.orders.next().is_none()) {
                return;
            }
            self.wait();
        }
    }

    /// True when no more will come.
    fn take_orders(&mut self) -> bool {
        // Read before the channels are: what comes afterwards rings again. EAGAIN: nothing has.
        let _ = self.wake.read();
        loop {
            match self.errands.orders.take() {
                Ok(Job { order, notify }) => {
                    if let WatchOrder::Release { wd } = order {
                        self.polled.remove(&wd);
                    }
                    self.orders.push(order, notify, Instant::now());
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
        if self.errands.orders.fell_behind() {
            self.errands.bell.ring();
        }
        false
    }

    /// The last one that came is the one that serves.
    fn take_watcher(&mut self) {
        let Some(socket) = self.errands.connections.try_iter().last() else { return };
        self.hear();
        self.dismiss();
        let filesystems = self.marks.as_ref().map(Marks::filesystems).unwrap_or_default().to_vec();
        let bytes = Order::Begin { filesystems }.to_bytes();
        let marks = self.marks.as_ref().map(AsFd::as_fd);
        let fds: Vec<BorrowedFd<'_>> = [self.shared.as_fd()].into_iter().chain(marks).collect();
        // A socket on which nobody has sent yet has room.
        match send_with_fds(socket.as_fd(), &bytes, &fds) {
            Ok(_) => self.socket = Some(socket),
            Err(errno) => (self.tell)(&format!("the watcher cannot be told to begin: {errno}")),
        }
    }

    /// The watcher is gone, or another one comes. What it looked at nobody does.
    fn dismiss(&mut self) {
        self.socket = None;
        self.orders.unsend();
        for wd in mem::take(&mut self.polled) {
            self.say(WatchEvent { wd, mask: EventMask::MODIFY.bits() });
        }
    }

    fn send_some(&mut self) {
        while let (Some(socket), Some(entry)) = (&self.socket, self.orders.next()) {
            let sent = match send_order(socket, entry) {
                Err(Errno::EINTR) => continue,
                // It has enough to do. ENOBUFS and the like pass as well, and an order waits.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::ETOOMANYREFS) => return,
                other => other,
            };
            match sent {
                Ok(_) => self.orders.sent(),
                Err(_) => return self.dismiss(),
            }
        }
    }

    fn hear(&mut self) {
        while let Some(socket) = &self.socket {
            let count = match receive(socket.as_fd(), &mut self.packet) {
                Ok(Received { count, .. }) => count,
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS | Errno::ENOMEM) => return,
                // One that was killed with orders unread leaves a reset before its last words.
                Err(Errno::ECONNRESET) => continue,
                Err(_) => 0,
            };
            if count == 0 {
                return self.dismiss();
            }
            let believed = match Said::from_bytes(&self.packet[..count]) {
                Some(Said::Kept { serial }) => self.replied(serial, Adoption::Kept, 0),
                Some(Said::Shared { serial, wds, changed, polled }) => {
                    let outcome = Adoption::Shared { wds, polled: polled != 0, changed };
                    self.replied(serial, outcome, polled)
                }
                Some(Said::News(event)) => {
                    self.say(event);
                    true
                }
                None => false,
            };
            if !believed {
                (self.tell)("the watcher has replied to what nobody asked: it is dismissed");
                return self.dismiss();
            }
        }
    }

    /// False when nothing was asked.
    fn replied(&mut self, serial: u64, outcome: Adoption, polled: u32) -> bool {
        let mut entries = match self.orders.replied(serial) {
            Replied::To(entries) => entries,
            Replied::Late => {
                self.let_go(outcome);
                return true;
            }
            Replied::Nothing => return false,
        };
        let Some(entry) = entries.pop() else { return false };
        entries.into_iter().for_each(|entry| self.answer(entry, Adoption::Kept));
        if let Adoption::Shared { wds, .. } = outcome {
            self.polled.extend(
                (0..WATCHES_PER_NOTIFY_MAX)
                    .filter_map(|at| (polled >> at & 1 == 1 && wds[at] >= 0).then_some(wds[at])),
            );
        }
        self.answer(entry, outcome);
        true
    }

    /// Too late: who was to sleep there is polled. Whoever else sleeps there is told that the watch
    /// has gone, which is a change.
    fn let_go(&mut self, outcome: Adoption) {
        let Adoption::Shared { wds, .. } = outcome else { return };
        for wd in wds.into_iter().filter(|wd| *wd >= 0) {
            self.orders.push(WatchOrder::Release { wd }, None, Instant::now());
        }
    }

    fn give_up_some(&mut self) {
        let patience = self.patience();
        while let Some(entry) = self.orders.overdue(Instant::now(), patience) {
            self.answer(entry, Adoption::Kept);
        }
    }

    /// The copy that we have kept goes back with a refusal, and else is closed before the reply.
    fn answer(&mut self, entry: Entry, outcome: Adoption) {
        let WatchOrder::Adopt { slot, generation, .. } = entry.order else {
            unreachable!("only adoptions are replied to");
        };
        let kept = entry.notify.filter(|_| outcome == Adoption::Kept);
        // An engine that is gone needs no reply.
        let _ = self.errands.answers.send((Adopted { slot, generation, outcome }, kept));
        self.errands.bell.ring();
    }

    fn say(&self, event: WatchEvent) {
        if let Err(TrySendError::Full(event)) = self.errands.news.try_send(event) {
            self.errands.bell.ring();
            let _ = self.errands.news.send(event);
        }
        self.errands.bell.ring();
    }

    fn wait(&self) {
        let due = self.orders.due(self.patience());
        let left = due.map(|due| due.saturating_duration_since(Instant::now()).as_millis() + 1);
        let left = left.map_or(PollTimeout::NONE, |ms| PollTimeout::from(ms.min(60_000) as u16));
        let has_more = self.orders.next().is_some();
        let wants =
            if has_more { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let socket = self.socket.as_ref().map(|socket| PollFd::new(socket.as_fd(), wants));
        let wake = PollFd::new(self.wake.as_fd(), PollFlags::POLLIN);
        let mut asked: Vec<PollFd<'_>> = [wake].into_iter().chain(socket).collect();
        // Whatever ends it, everything is looked at.
        let _ = poll(&mut asked, left);
    }

    /// How long an adoption may take. Without a watcher nobody works at it, but the next is on its
    /// way.
    fn patience(&self) -> Duration {
        if self.socket.is_some() { PATIENCE } else { PATIENCE_ALONE }
    }
}

fn send_order(socket: &OwnedFd, Entry { serial, order, notify, .. }: &Entry) -> nix::Result<usize> {
    let order = match *order {
        WatchOrder::Adopt { since_us, .. } => Order::Adopt { serial: *serial, since_us },
        WatchOrder::Release { wd } => Order::Release { wd },
        WatchOrder::Retire { .. } => Order::Retire,
    };
    let bytes = order.to_bytes();
    match notify {
        Some(notify) => send_with_fds(socket.as_fd(), &bytes, &[notify.as_fd()]),
        None => send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
    }
}

/// A worker waits for 10 s (Dovecot 2.4), and what is polled sleeps as well as what is adopted.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_ALONE: Duration = Duration::from_millis(500);
