//! The thread of the peers: packets and orders, until nobody gives orders any more.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::crowd::Order;
use super::device::{Device, address, peer_at, server};
use super::segment::{Heard, Segment};
use super::tcb::{Phase, Tally, Tcb};

pub struct Thread {
    wire: Wire,
    bell: Arc<EventFd>,
    inbox: Receiver<Order>,
    peers: Vec<Tcb>,
    tally: Tally,
    /// Those who are to connect and have not begun.
    waiting: Range<u32>,
    /// No SYN before this peer is without its answer.
    settled: u32,
    /// When a connection was last made.
    progress: Instant,
    packet: Vec<u8>,
}

/// The device and what a packet needs besides its segment.
struct Wire {
    device: Device,
    began: Instant,
    buffer: Vec<u8>,
}

impl Thread {
    pub fn new(device: Device, bell: Arc<EventFd>, inbox: Receiver<Order>, peers_max: u32) -> Self {
        let began = Instant::now();
        Self {
            wire: Wire { device, began, buffer: Vec::with_capacity(PACKET_BYTES_MAX) },
            bell,
            inbox,
            peers: vec![Tcb::default(); peers_max as usize],
            tally: Tally::default(),
            waiting: 0..0,
            settled: 0,
            progress: began,
            packet: vec![0; PACKET_BYTES_MAX],
        }
    }

    /// Serves until the orders end, then resets everybody.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            while self.hear()? {}
            // An order that comes later rings again.
            match self.bell.read() {
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
            loop {
                match self.inbox.try_recv() {
                    Ok(order) => self.obey(order)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.end(),
                }
            }
            self.connect()?;
        }
    }

    fn wait(&self) -> io::Result<()> {
        let (device, bell) = (self.wire.device.as_fd(), self.bell.as_fd());
        let mut fds = [device, bell].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let all_made = self.settled == self.waiting.start && self.waiting.is_empty();
        let patience = if all_made { PollTimeout::NONE } else { SYN_AGAIN_MS.into() };
        match poll(&mut fds, patience) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the packets that are there, up to a batch; true when there may be more.
    fn hear(&mut self) -> io::Result<bool> {
        for _ in 0..BATCH {
            let Some(packet) = self.wire.device.receive(&mut self.packet)? else {
                return Ok(false);
            };
            let Some(heard) = Heard::parse(packet) else { continue };
            let Some(peer) = peer_at(heard.to.into()) else { continue };
            let Some(tcb) = self.peers.get_mut(peer as usize) else { continue };
            let made = self.tally.established;
            if let Some(answer) = tcb.hear(&heard, &mut self.tally) {
                self.wire.send(peer, &answer)?;
            }
            if self.tally.established > made {
                self.progress = Instant::now();
            }
        }
        Ok(true)
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Open(count) => {
                let end = self.waiting.end.saturating_add(count);
                self.waiting.end = end.min(self.peers.len() as u32);
                self.progress = Instant::now();
            }
            Order::Say(peers, bytes) => self.each(peers, |tcb| tcb.say(&bytes))?,
            Order::Finish(peers) => self.each(peers, Tcb::finish)?,
            Order::Reset(peers) => self.each(peers, Tcb::reset)?,
            Order::Count(sender) => {
                let answered = self.peers.iter().filter(|tcb| tcb.is_answered()).count() as u32;
                // Whoever asked may have given up.
                let _ = sender.send(Tally { answered, ..self.tally });
            }
        }
        Ok(())
    }

    /// Has each of these peers send something, and hears what comes meanwhile.
    fn each<'a>(
        &mut self,
        peers: impl IntoIterator<Item = u32>,
        act: impl Fn(&mut Tcb) -> Option<Segment<'a>>,
    ) -> io::Result<()> {
        for (count, peer) in peers.into_iter().enumerate() {
            let Some(tcb) = self.peers.get_mut(peer as usize) else { continue };
            if let Some(segment) = act(tcb) {
                self.wire.send(peer, &segment)?;
            }
            if count % BATCH == 0 {
                self.hear()?;
            }
        }
        Ok(())
    }

    /// Sends what SYNs the server's queue has room for, and late ones again.
    fn connect(&mut self) -> io::Result<()> {
        let half_open = |tcb: &Tcb| tcb.phase() == Phase::SynSent;
        while self.settled < self.waiting.start && !half_open(&self.peers[self.settled as usize]) {
            self.settled += 1;
        }
        let late = self.progress.elapsed() >= Duration::from_millis(SYN_AGAIN_MS.into());
        if late && self.settled < self.waiting.start {
            self.progress = Instant::now();
            for peer in self.settled..self.waiting.start {
                if half_open(&self.peers[peer as usize]) {
                    self.syn(peer)?;
                }
            }
        }
        while !self.waiting.is_empty() && self.waiting.start - self.settled < HALF_OPEN_MAX {
            let peer = self.waiting.start;
            self.waiting.start += 1;
            self.syn(peer)?;
        }
        Ok(())
    }

    fn syn(&mut self, peer: u32) -> io::Result<()> {
        let segment = self.peers[peer as usize].open(FIRST_SEQUENCE);
        self.wire.send(peer, &segment)
    }

    /// A FIN would leave the server's ends in the kernel for a minute.
    fn end(mut self) -> io::Result<()> {
        self.each(0..self.peers.len() as u32, Tcb::reset)
    }
}

impl Wire {
    fn send(&mut self, peer: u32, segment: &Segment<'_>) -> io::Result<()> {
        // 0 would be no timestamp.
        let clock_ms = self.began.elapsed().as_millis() as u32 + 1;
        segment.write(&mut self.buffer, address(peer), server(), clock_ms);
        self.device.send(&self.buffer)
    }
}

/// The device's own maximum is 1500.
const PACKET_BYTES_MAX: usize = 2048;
const BATCH: usize = 64;
/// Below the shortest queue of half-open connections that Linux has (128).
const HALF_OPEN_MAX: u32 = 100;
/// As Linux: a SYN is sent again after a second.
const SYN_AGAIN_MS: u16 = 1000;
const FIRST_SEQUENCE: u32 = 999;
