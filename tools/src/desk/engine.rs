//! The desk itself, on the engine thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};
use torpor_engine::command::{Answer, Command};
use torpor_engine::drive::Desk;
use torpor_engine::report::{CARD_FIELDS, Counters, Event, Report};

use super::gauges::{Gauges, Losses};
use super::note::{Note, NotePool};
use super::orders::{Bell, Desktop, Order, Orders, Page, Paper};
use crate::log::{Said, enabled};

/// [`Desk`] over bounded channels. Nothing here waits for anybody.
pub struct EngineDesk {
    notes: Sender<Note>,
    papers: Option<Sender<Paper>>,
    pool: NotePool,
    paper_pool: NotePool,
    orders: Receiver<Order>,
    /// Orders that the core has and has not answered: ticket and where the answer goes.
    open: Vec<(u64, Desktop)>,
    ticket: u64,
    /// True exactly when the ring has a new listener of which the core has not been told.
    relisten: bool,
    gauges: Arc<Gauges>,
    losses: Arc<Losses>,
}

/// The other ends.
pub struct DeskEnds {
    pub orders: Orders,
    pub notes: Receiver<Note>,
    /// For the anvil thread.
    pub papers: Receiver<Paper>,
    /// Where notes are given back, and notes among the papers.
    pub pool: NotePool,
    pub paper_pool: NotePool,
    pub gauges: Arc<Gauges>,
    pub losses: Arc<Losses>,
}

impl EngineDesk {
    /// A desk whose orders ring `bell`. Without `anvil` nothing is written for it.
    pub fn open(bell: Bell, anvil: bool) -> (Self, DeskEnds) {
        let (orders, taken) = Orders::new(bell);
        let (notes, notes_out) = bounded(NOTES_MAX);
        let (papers, papers_out) = bounded(PAPERS_MAX);
        let pool = NotePool::new(NOTES_MAX, NOTE_BYTES, CARD_FIELDS.len());
        let paper_pool =
            NotePool::new(if anvil { PAPERS_MAX } else { 0 }, PAPER_BYTES, PAPER_FIELDS);
        let (gauges, losses) = (Arc::new(Gauges::default()), Arc::new(Losses::default()));
        let desk = Self {
            notes,
            papers: anvil.then_some(papers),
            pool: pool.clone(),
            paper_pool: paper_pool.clone(),
            orders: taken,
            open: Vec::with_capacity(OPEN_MAX),
            ticket: 0,
            relisten: false,
            gauges: Arc::clone(&gauges),
            losses: Arc::clone(&losses),
        };
        let (notes, papers) = (notes_out, papers_out);
        let ends = DeskEnds { orders, notes, papers, pool, paper_pool, gauges, losses };
        (desk, ends)
    }

    /// True when orders wait that did not fit into the last step.
    pub fn is_behind(&self) -> bool {
        self.relisten || (!self.orders.is_empty() && self.open.len() < OPEN_MAX)
    }

    /// The ring has a new listener: the core's next order is to go over to it.
    pub fn relisten(&mut self) {
        self.relisten = true;
    }
}

impl Desk for EngineDesk {
    fn report(&mut self, report: &Report, text: &[u8]) {
        if enabled(Said::level(&report.event)) {
            let note = self.pool.write(report, text);
            let sent = note.is_some_and(|note| self.notes.try_send(note).is_ok());
            self.losses.notes.fetch_add(u64::from(!sent), Ordering::Relaxed);
        }
        let Some(papers) = &self.papers else { return };
        if concerns_anvil(&report.event) {
            let note = self.paper_pool.write(report, text);
            let sent = note.is_some_and(|note| papers.try_send(Paper::Note(note)).is_ok());
            self.losses.papers.fetch_add(u64::from(!sent), Ordering::Relaxed);
        }
    }

    fn answer(&mut self, answer: &Answer, text: &[u8]) {
        let Some(at) = self.open.iter().position(|(ticket, _)| *ticket == answer.ticket) else {
            return;
        };
        let (_, desktop) = self.open.swap_remove(at);
        let page = Page { answer: *answer, text: answer.text.of(text).to_vec() };
        match desktop {
            // Whoever asked may have gone.
            Desktop::Asker(asker) => drop(asker.try_send(page)),
            Desktop::Papers(number) => {
                let paper = Paper::Page(number, page);
                let papers = self.papers.as_ref();
                let sent = papers.is_some_and(|papers| papers.try_send(paper).is_ok());
                self.losses.papers.fetch_add(u64::from(!sent), Ordering::Relaxed);
            }
        }
    }

    fn counters(&mut self, counters: &Counters) {
        self.gauges.store(counters);
    }

    fn command(&mut self) -> Option<Command> {
        self.ticket += 1;
        let number = self.ticket;
        if std::mem::take(&mut self.relisten) {
            // Nobody waits for the answer.
            return Some(Command::Relisten { ticket: number });
        }
        if self.open.len() == OPEN_MAX {
            return None;
        }
        let Order { mut command, desktop } = self.orders.try_recv().ok()?;
        match &mut command {
            Command::Who { ticket, .. }
            | Command::Kick { ticket, .. }
            | Command::Reload { ticket, .. }
            | Command::Relisten { ticket }
            | Command::Stop { ticket } => *ticket = number,
        }
        self.open.push((number, desktop));
        Some(command)
    }
}

impl Drop for EngineDesk {
    fn drop(&mut self) {
        // The channel would keep orders that nobody takes any more, and whoever waits waiting.
        self.orders.try_iter().for_each(drop);
    }
}

fn concerns_anvil(event: &Event) -> bool {
    matches!(event, Event::Hibernated | Event::Unhibernated(_) | Event::Disconnected(_))
}

/// Events that wait for the log, and for anvil.
const NOTES_MAX: usize = 1024;
const PAPERS_MAX: usize = 2048;
/// A usual card: names, addresses, log prefix, statistics and the fields of the user database.
const NOTE_BYTES: usize = 768;
/// What anvil is told of a card: its fields up to the client's address.
const PAPER_FIELDS: usize = 6;
const PAPER_BYTES: usize = 160;
/// Orders that the core has at once. Only a stop stays there for longer than a step.
const OPEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::desk::OrderError;

    /// The engine has ended with the order in its queue.
    #[test]
    fn who_asks_when_the_engine_ends_is_told_at_once() {
        let bell = Bell::new(tempfile::tempfile().expect("a file").into());
        let (desk, ends) = EngineDesk::open(bell, false);
        let asks = thread::spawn(move || {
            let since = Instant::now();
            (ends.orders.ping(), since.elapsed())
        });
        while desk.orders.is_empty() {
            thread::yield_now();
        }
        drop(desk);
        let (answer, took) = asks.join().expect("no panic");
        assert_eq!(answer, Err(OrderError::Ended));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
