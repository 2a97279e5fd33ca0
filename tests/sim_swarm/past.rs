//! The ring of an engine that was killed: its completion queue stays to be read.

use torpor_engine::ring::Completion;
use torpor_engine::slots::Ledger;

use crate::kernel::{Cqe, Kernel, NONE, Work};
use crate::world::World;

pub struct Past {
    number: u32,
    /// Number of its first completion.
    first: u32,
    done: Vec<(Completion, Vec<u8>)>,
}

impl World {
    /// The engine has died: what it had queued never happens, what is in flight is cancelled, and
    /// what has completed can be read, from that which was reaped and not applied on. Descriptors
    /// that came with it were the engine's, and are closed.
    pub fn kill_ring(&mut self, taken: &[Cqe]) {
        let mut done: Vec<Cqe> = taken.to_vec();
        let mut closed = Vec::new();
        let unread = self.kernel.cq.drain(..).chain(self.kernel.overflow.drain(..));
        for cqe in unread {
            closed.extend(cqe.passed.into_iter().flatten());
            done.push(cqe);
        }
        for work in std::mem::take(&mut self.kernel.work) {
            match work {
                Work::Done(cqe) => done.push(cqe),
                Work::Op(id) => self.kernel.ops[id as usize].queued = false,
            }
        }
        for id in 0..self.kernel.ops.len() {
            if self.kernel.ops[id].live {
                let token = self.kernel.ops[id].token;
                self.end(id as u32);
                done.push(Cqe::plain(token, -libc::ECANCELED));
            }
        }
        let done = done.iter().map(|cqe| self.kernel.keep_past(cqe)).collect();
        let Kernel { number, applied, .. } = self.kernel;
        self.kernel.past.push(Past { number, first: applied, done });
        for sqe in std::mem::take(&mut self.kernel.sq) {
            if sqe.text != NONE {
                self.kernel.forget(sqe.text);
            }
        }
        let kernel = &mut self.kernel;
        (kernel.number, kernel.applied) = (number + 1, 0);
        (kernel.buffers, kernel.rung) = (kernel.buffers_max, false);
        closed.into_iter().for_each(|file| self.close(file));
    }
}

impl Kernel {
    /// The completions of the engine before that its heir has to apply.
    pub fn inherited(&self, ledger: Ledger) -> Vec<(Completion, Vec<u8>)> {
        let its = |past: &&Past| past.number == ledger.ring;
        let past = self.past.iter().find(its).expect("the ring that the ledger names");
        let applied = ledger.applied.checked_sub(past.first).expect("[2] applied, and not known");
        past.done[applied as usize..].to_vec()
    }

    /// The vault and all rings have gone.
    pub fn forget_past(&mut self) {
        self.past.clear();
        self.items.list.clear();
        (self.number, self.applied) = (0, 0);
    }

    fn keep_past(&mut self, cqe: &Cqe) -> (Completion, Vec<u8>) {
        let mut bytes = Vec::new();
        if cqe.data != NONE {
            bytes.extend_from_slice(self.bytes(cqe.data));
            self.forget(cqe.data);
        }
        (Completion::plain(cqe.token, cqe.result, cqe.more), bytes)
    }
}
