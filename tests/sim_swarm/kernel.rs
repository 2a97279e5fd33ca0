//! The simulated io_uring: operations, task work, completion queue. The rules are those measured
//! on 6.18, docs/ARCHITECTURE.md; where the order is not promised, it is drawn.

use std::collections::VecDeque;

use torpor_engine::ring::{Op, PASSED_MAX, Peer};
use torpor_engine::token::{Kind, Token};

use crate::faults::{Fault, Swarm};
use crate::items::Items;
use crate::past::Past;
use crate::world::{File, World};

pub struct Kernel {
    pub sq: Vec<Sqe>,
    pub sq_max: usize,
    pub cq: VecDeque<Cqe>,
    cq_max: usize,
    /// Completions that found the queue full.
    pub overflow: VecDeque<Cqe>,
    pub ops: Vec<Armed>,
    /// What will happen at the next enter with GETEVENTS.
    pub work: Vec<Work>,
    /// Provided buffers in the ring.
    pub buffers: u32,
    pub buffers_max: u32,
    /// Bytes on their way, and texts to be sent; recycled.
    store: Vec<Vec<u8>>,
    spare: Vec<u32>,
    pub accept: Option<u32>,
    pub watch: Option<u32>,
    pub bell: Option<u32>,
    pub items: Items,
    pub rung: bool,
    /// Hibernate connections that nobody has accepted.
    pub backlog: VecDeque<u32>,
    /// Until its ring is gone the accept of an engine that was killed is in front: it is woken for
    /// the next one.
    pub deaf_until_ms: u64,
    /// Which ring of this world it is.
    pub number: u32,
    /// Completions of it that have been applied.
    pub applied: u32,
    /// Those of engines that were killed, until an heir serves.
    pub past: Vec<Past>,
}

/// An operation on its way into the kernel. A text lies in the store.
pub struct Sqe {
    pub op: Op,
    pub file: Option<File>,
    pub text: u32,
}

/// A completion. Bytes lie in the store; descriptors are held by it.
#[derive(Clone, Copy)]
pub struct Cqe {
    pub token: Token,
    pub result: i32,
    pub more: bool,
    pub data: u32,
    /// True exactly when `data` is a provided buffer.
    pub provided: bool,
    pub passed: [Option<File>; PASSED_MAX],
    pub passed_lost: bool,
    pub peer: Peer,
}

/// An operation that the kernel holds.
pub struct Armed {
    pub live: bool,
    pub token: Token,
    pub file: Option<File>,
    /// Bytes that it has brought.
    pub got: usize,
    /// True exactly when it is among the work.
    pub queued: bool,
    /// True exactly when a cancel came too late to stop it and too early to miss it.
    pub dying: bool,
}

pub enum Work {
    Op(u32),
    Done(Cqe),
}

pub const NONE: u32 = u32::MAX;

impl Cqe {
    pub fn plain(token: Token, result: i32) -> Self {
        Self {
            token,
            result,
            more: false,
            data: NONE,
            provided: false,
            passed: [None; PASSED_MAX],
            passed_lost: false,
            peer: Peer::default(),
        }
    }
}

impl Kernel {
    pub fn new(swarm: &Swarm) -> Self {
        Self {
            sq: Vec::with_capacity(swarm.sq as usize),
            sq_max: swarm.sq as usize,
            cq: VecDeque::with_capacity(swarm.cq as usize),
            cq_max: swarm.cq as usize,
            overflow: VecDeque::new(),
            ops: Vec::with_capacity(64),
            work: Vec::with_capacity(64),
            buffers: swarm.buffers,
            buffers_max: swarm.buffers,
            store: Vec::new(),
            spare: Vec::new(),
            accept: None,
            watch: None,
            bell: None,
            items: Items::default(),
            rung: false,
            backlog: VecDeque::new(),
            deaf_until_ms: 0,
            number: 0,
            applied: 0,
            past: Vec::new(),
        }
    }

    /// True when an engine that waits would be woken.
    pub fn has_news(&self) -> bool {
        !self.cq.is_empty() || !self.overflow.is_empty() || !self.work.is_empty()
    }

    pub fn keep(&mut self, bytes: &[u8]) -> u32 {
        let index = self.spare.pop().unwrap_or_else(|| {
            self.store.push(Vec::with_capacity(256));
            self.store.len() as u32 - 1
        });
        self.store[index as usize].extend_from_slice(bytes);
        index
    }

    pub fn bytes(&self, index: u32) -> &[u8] {
        &self.store[index as usize]
    }

    pub fn forget(&mut self, index: u32) {
        self.store[index as usize].clear();
        self.spare.push(index);
    }

    /// True when something is to go to a client that the kernel has not been asked for yet.
    pub fn is_sending(&self) -> bool {
        self.sq.iter().any(|sqe| matches!(sqe.op, Op::SendClient { .. }))
    }

    /// Something an operation waits for may have happened.
    pub fn stir(&mut self, op: Option<u32>) {
        let Some(id) = op else { return };
        let armed = &mut self.ops[id as usize];
        assert!(armed.live);
        if !armed.queued {
            armed.queued = true;
            self.work.push(Work::Op(id));
        }
    }

    pub fn ring_bell(&mut self) {
        self.rung = true;
        self.stir(self.bell);
    }

    pub fn stir_watch(&mut self) {
        self.stir(self.watch);
    }

    /// A worker has connected.
    pub fn connect(&mut self, hand: u32, now_ms: u64) {
        self.backlog.push_back(hand);
        if now_ms >= std::mem::take(&mut self.deaf_until_ms) {
            self.stir(self.accept);
        }
    }

    pub fn done(&mut self, token: Token, result: i32) {
        self.work.push(Work::Done(Cqe::plain(token, result)));
    }

    pub fn arm(&mut self, token: Token, file: Option<File>) -> u32 {
        let armed = Armed { live: true, token, file, got: 0, queued: false, dying: false };
        match self.ops.iter().position(|op| !op.live && !op.queued) {
            Some(id) => {
                self.ops[id] = armed;
                id as u32
            }
            None => {
                self.ops.push(armed);
                self.ops.len() as u32 - 1
            }
        }
    }

    fn is_full(&self) -> bool {
        self.cq.len() >= self.cq_max || !self.overflow.is_empty()
    }
}

impl World {
    /// io_uring_enter with GETEVENTS: takes the queue, runs task work, flushes the overflow.
    pub fn enter(&mut self) {
        self.flush();
        self.submit_all();
        let mut left = self.kernel.work.len();
        while left > 0 {
            left -= 1;
            let reorder = left > 0 && self.fault(Fault::CompletionReorder, 2);
            let at = if reorder { self.random.below(left as u32 + 1) as usize } else { 0 };
            let work = self.kernel.work.remove(at);
            if self.fault(Fault::CompletionDelay, 3) {
                self.kernel.work.push(work);
                continue;
            }
            match work {
                Work::Op(id) => {
                    self.kernel.ops[id as usize].queued = false;
                    if self.kernel.ops[id as usize].live {
                        self.run(id);
                    }
                }
                Work::Done(cqe) => self.post(cqe),
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let kernel = &mut self.kernel;
        while kernel.cq.len() < kernel.cq_max
            && let Some(cqe) = kernel.overflow.pop_front()
        {
            kernel.cq.push_back(cqe);
        }
    }

    fn post(&mut self, cqe: Cqe) {
        if self.kernel.is_full() {
            self.fell(Fault::CqOverflow);
            self.kernel.overflow.push_back(cqe);
        } else {
            self.kernel.cq.push_back(cqe);
        }
    }

    /// Posts for an operation. A multishot one ends with its data when the queue is full, or when
    /// it has to. `true` when it is still armed.
    pub fn bring(&mut self, id: u32, mut cqe: Cqe, multishot: bool) -> bool {
        let armed = &self.kernel.ops[id as usize];
        let ends = !multishot || armed.dying || self.kernel.is_full();
        cqe.token = armed.token;
        cqe.more = !(ends || self.fault(Fault::MultishotEnds, 8));
        if !cqe.more {
            self.end(id);
        }
        self.post(cqe);
        cqe.more
    }

    pub fn finish(&mut self, id: u32, result: i32) {
        let token = self.kernel.ops[id as usize].token;
        self.bring(id, Cqe::plain(token, result), false);
    }

    fn run(&mut self, id: u32) {
        let armed = &self.kernel.ops[id as usize];
        let (token, file, dying) = (armed.token, armed.file, armed.dying);
        let waits = match (token.kind(), file) {
            (Kind::Accept, _) => self.run_accept(id),
            (Kind::Watch, _) => self.run_watch(id),
            (Kind::Doorbell, _) => self.run_bell(id),
            (Kind::Items, _) => self.run_items(id),
            (Kind::ConnRecv, Some(File::Hand(hand))) => self.run_conn(id, hand),
            (Kind::ClientRecv, Some(File::Session(session))) => self.run_client(id, session),
            (Kind::Notify, Some(File::Notify(notify))) => self.run_notify(id, notify),
            (kind, file) => panic!("{kind:?} on {file:?}"),
        };
        if waits && dying {
            self.finish(id, -libc::ECANCELED);
        }
    }
}
