//! The simulated epoll set: items by file, level-triggered, told until they are deleted; or once,
//! where clients sleep densely.

use torpor_engine::token::Token;

use crate::faults::Fault;
use crate::kernel::Cqe;
use crate::world::World;

#[derive(Default)]
pub struct Items {
    /// A session, the token of its item, and whether it was told.
    pub list: Vec<(u32, Token, bool)>,
    /// The look that waits.
    pub look: Option<u32>,
}

impl World {
    /// `epoll_ctl` with `EPOLL_CTL_ADD`.
    pub fn add_item(&mut self, session: u32, token: Token) {
        self.check_hands_off(session);
        let armed = self.sessions[session as usize].op;
        assert!(armed.is_none(), "[5] an item beside a recv, which eats what it tells of");
        let mut list = self.kernel.items.list.iter_mut();
        if self.swarm.dense && self.sessions[session as usize].is_ready() {
            self.kernel.done(token, -libc::EAGAIN);
        } else if let Some(item) = list.find(|(other, ..)| *other == session) {
            *item = (session, token, false);
        } else if self.fault(Fault::ItemRefused, 8) {
            self.kernel.done(token, -libc::ENOSPC);
        } else {
            self.kernel.items.list.push((session, token, false));
            self.stir_item(session);
        }
    }

    /// `EPOLL_CTL_DEL`.
    pub fn delete_item(&mut self, session: u32) {
        self.kernel.items.list.retain(|(other, ..)| *other != session);
    }

    /// Something has come in on a session.
    pub fn stir_item(&mut self, session: u32) {
        let items = &self.kernel.items;
        if items.list.iter().any(|(other, ..)| *other == session) {
            self.kernel.stir(items.look);
        }
    }

    /// Tells what is ready, as much as fits; `true` when that is nothing and the look waits on.
    pub fn run_items(&mut self, id: u32) -> bool {
        let mut bytes = Vec::new();
        for (session, token, told) in &mut self.kernel.items.list {
            let is_silent = *told && self.swarm.dense;
            let is_ready = self.sessions[*session as usize].is_ready();
            if is_ready && !is_silent && bytes.len() < LOOK_BYTES_MAX {
                *told = true;
                bytes.extend_from_slice(&token.bits().to_ne_bytes());
            }
        }
        if bytes.is_empty() {
            return true;
        }
        let data = self.kernel.keep(&bytes);
        let token = self.kernel.ops[id as usize].token;
        let cqe = Cqe { data, ..Cqe::plain(token, bytes.len() as i32) };
        self.bring(id, cqe, false);
        false
    }
}

/// Two items a look, so that more is ready than one can tell.
const LOOK_BYTES_MAX: usize = 16;
