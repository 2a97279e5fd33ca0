//! Orders on their way from the engine thread: a channel of fixed room, and behind it those that
//! found none, in memory that was reserved. So giving an order never waits and needs no memory.
//! What a backlog has touched of it is given back when the other end has caught up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use crate::limits::Limits;

/// The engine's end.
pub struct Outbox<T> {
    channel: Sender<T>,
    /// Given after all that is in the channel.
    waiting: VecDeque<T>,
    /// As many waited at once since memory was given back.
    deepest: usize,
    falls_behind: Arc<AtomicBool>,
}

/// The other end.
pub struct Inlet<T> {
    channel: Receiver<T>,
    /// True when something has found no room, so that the engine must be told of it.
    falls_behind: Arc<AtomicBool>,
}

/// Both ends. Whoever is at the other one may be as far behind as these limits allow.
pub fn outbox<T>(limits: &Limits) -> (Outbox<T>, Inlet<T>) {
    let (give, take) = bounded(CHANNEL_ROOM);
    let falls_behind = Arc::new(AtomicBool::new(false));
    // An adoption a connection; a retirement a client; a release a watch, of which a mailbox has
    // two and an adoption that comes too late four.
    let most = 5 * limits.conns_max as usize + limits.slots_max as usize;
    let most = most + 2 * limits.mailboxes_max as usize;
    let waiting = VecDeque::with_capacity(most);
    let behind = Arc::clone(&falls_behind);
    let outbox = Outbox { channel: give, waiting, deepest: 0, falls_behind: behind };
    (outbox, Inlet { channel: take, falls_behind })
}

impl<T> Outbox<T> {
    /// Gives an order. `Err`: nobody is at the other end.
    pub fn give(&mut self, order: T) -> Result<(), Closed> {
        self.waiting.push_back(order);
        self.deepest = self.deepest.max(self.waiting.len());
        self.go_on()
    }

    /// Gives what waits, as far as there is room now.
    pub fn go_on(&mut self) -> Result<(), Closed> {
        while let Some(order) = self.waiting.pop_front() {
            match self.channel.try_send(order) {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => {
                    self.waiting.push_front(order);
                    self.falls_behind.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(Closed),
            }
        }
        // Else it would walk through all that is reserved.
        self.waiting.clear();
        if self.deepest > CHANNEL_ROOM {
            self.give_back();
        }
        Ok(())
    }

    /// As much room as before, none of it touched; the old one stays where there is no other.
    fn give_back(&mut self) {
        assert!(self.waiting.is_empty(), "orders would be lost");
        let mut fresh = VecDeque::new();
        if fresh.try_reserve_exact(self.waiting.capacity()).is_ok() {
            self.waiting = fresh;
        }
        self.deepest = 0;
    }

    /// True exactly when something waits for room.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl<T> Inlet<T> {
    /// The next order.
    pub fn take(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// True, once, when the engine has more than there was room for. To be asked after the channel
    /// was emptied, and the engine told then.
    pub fn fell_behind(&self) -> bool {
        self.falls_behind.swap(false, Ordering::SeqCst)
    }
}

/// The other end has gone.
#[derive(Debug)]
pub struct Closed;

/// Orders that the thread takes in one go. More of them cost memory from the start.
const CHANNEL_ROOM: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(inlet: &Inlet<u32>) -> Vec<u32> {
        std::iter::from_fn(|| inlet.take().ok()).collect()
    }

    #[test]
    fn orders_keep_their_order_beyond_the_room_of_the_channel() {
        let (mut outbox, inlet) = outbox(&Limits::default());
        let (room, most) = (CHANNEL_ROOM as u32, outbox.waiting.capacity());
        (0..room).for_each(|order| outbox.give(order).expect("open"));
        assert!(!inlet.fell_behind());
        (room..3 * room + 7).for_each(|order| outbox.give(order).expect("open"));
        let mut taken = Vec::new();
        loop {
            let some = take_all(&inlet);
            assert!(some.len() <= CHANNEL_ROOM);
            taken.extend(some);
            if !inlet.fell_behind() {
                break;
            }
            outbox.go_on().expect("open");
        }
        assert_eq!(taken, (0..3 * room + 7).collect::<Vec<u32>>());
        outbox.give(7).expect("open");
        assert_eq!((take_all(&inlet), inlet.fell_behind()), (vec![7], false));
        assert_eq!((outbox.waiting.capacity(), outbox.deepest), (most, 1), "as in the beginning");
        drop(inlet);
        assert!(outbox.give(8).is_err());
    }
}
