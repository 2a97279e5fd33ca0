//! What becomes of an operation when it reaches the kernel: armed, sent, cancelled.

use torpor_engine::ring::Op;
use torpor_engine::token::{Kind, Token};

use crate::faults::Fault;
use crate::kernel::{NONE, Sqe};
use crate::world::{File, World};

impl World {
    /// What an engine that begins to wait has queued reaches the kernel.
    pub fn submit_all(&mut self) {
        let mut queue = std::mem::take(&mut self.kernel.sq);
        for sqe in queue.drain(..) {
            self.submit(sqe);
        }
        self.kernel.sq = queue;
    }

    fn submit(&mut self, sqe: Sqe) {
        let Sqe { op, file, text } = sqe;
        match op {
            Op::Accept { token } => {
                assert_eq!(self.kernel.accept, None, "two accepts");
                let id = self.kernel.arm(token, None);
                self.kernel.accept = Some(id);
                self.kernel.stir(Some(id));
            }
            Op::ReadWatch { token } => {
                let id = self.kernel.arm(token, None);
                self.kernel.watch = Some(id);
                self.kernel.stir(Some(id));
            }
            Op::ReadDoorbell { token } => {
                let id = self.kernel.arm(token, None);
                self.kernel.bell = Some(id);
                self.kernel.stir(Some(id));
            }
            Op::ReadItems { token } => {
                let id = self.kernel.arm(token, None);
                self.kernel.items.look = Some(id);
                self.kernel.stir(Some(id));
            }
            Op::RecvConn { token, .. } | Op::RecvClient { token, .. } => {
                let id = self.kernel.arm(token, file);
                self.seat_op(file, Some(id));
                self.kernel.stir(Some(id));
            }
            Op::PollNotify { token, .. } => {
                let id = self.kernel.arm(token, file);
                self.seat_op(file, Some(id));
                self.kernel.stir(Some(id));
            }
            Op::SendConn { token, .. } => {
                let Some(File::Hand(hand)) = file else { panic!("a send on {file:?}") };
                let result = self.send_conn(hand, text);
                self.kernel.done(token, result);
            }
            Op::SendClient { token, .. } => {
                let Some(File::Session(session)) = file else { panic!("a send on {file:?}") };
                let result = self.send_client(session, text);
                self.kernel.done(token, result);
            }
            Op::Cancel { token, target } => self.cancel(token, target),
            op => panic!("{op:?} takes effect at once"),
        }
        if text != NONE {
            self.kernel.forget(text);
        }
    }

    /// Tells the file which operation waits for it.
    fn seat_op(&mut self, file: Option<File>, op: Option<u32>) {
        let place = match file.expect("an operation on a file") {
            File::Session(index) => &mut self.sessions[index as usize].op,
            File::Hand(index) => &mut self.hands[index as usize].op,
            File::Notify(index) => &mut self.notifies[index as usize].op,
            File::Odd => panic!("nobody reads from that"),
        };
        assert!(op.is_none() || place.is_none(), "two operations wait for one file");
        *place = op;
    }

    fn cancel(&mut self, token: Token, target: Token) {
        let found = self.kernel.ops.iter().position(|op| op.live && op.token == target);
        let Some(id) = found else {
            self.fell(Fault::CancelLate);
            self.kernel.done(token, -libc::ENOENT);
            return;
        };
        if self.kernel.ops[id].queued && self.fault(Fault::CancelAlready, 2) {
            self.kernel.ops[id].dying = true;
            self.kernel.done(token, -libc::EALREADY);
            return;
        }
        self.end(id as u32);
        let (first, second) = match self.random.one_in(2) {
            true => ((target, -libc::ECANCELED), (token, 0)),
            false => ((token, 0), (target, -libc::ECANCELED)),
        };
        self.kernel.done(first.0, first.1);
        self.kernel.done(second.0, second.1);
    }

    /// The kernel lets go of an operation.
    pub fn end(&mut self, id: u32) {
        let armed = &mut self.kernel.ops[id as usize];
        assert!(armed.live);
        armed.live = false;
        match armed.token.kind() {
            Kind::Accept => self.kernel.accept = None,
            Kind::Watch => self.kernel.watch = None,
            Kind::Doorbell => self.kernel.bell = None,
            Kind::Items => self.kernel.items.look = None,
            _ => {
                let file = armed.file;
                self.seat_op(file, None);
            }
        }
    }
}
