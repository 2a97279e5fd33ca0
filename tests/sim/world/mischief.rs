//! What clients, mailboxes and operators do while faults are on.

use torpor_engine::command::Command;

use super::people::{hostile, speak};
use super::{World, knobs};
use crate::faults::Fault;
use crate::net::Owner;

impl World {
    /// Clients, mailboxes and operators do what they like.
    pub(super) fn misbehave(&mut self) {
        let net = &mut *self.net.borrow_mut();
        let client = net.random.below(net.clients.len() as u64) as usize;
        match net.random.below(40) {
            0..=3 => speak(net, client),
            4..=5 => {
                let mailbox = net.random.below(net.mailboxes.len() as u64) as usize;
                net.change(mailbox);
            }
            6 if net.strikes(Fault::HangUp, 60) => net.clients[client].eof = true,
            7 if net.strikes(Fault::Reset, 60) => net.clients[client].reset = true,
            8 if net.strikes(Fault::WindowClosed, 300) => net.clients[client].window = 0,
            9 if net.strikes(Fault::WindowNarrow, 300) => {
                net.clients[client].window = 1 + net.random.below(40) as usize;
            }
            10 if net.strikes(Fault::WatchOverflow, 200) => {
                // Something is lost by it, or it would be no overflow.
                let mailbox = net.random.below(net.mailboxes.len() as u64) as usize;
                net.change(mailbox);
                net.shared.clear();
                net.shared.push_back((-1, 0x4000));
            }
            11 if net.strikes(Fault::WatchIgnored, 200) => {
                if let Some(wds) = net.mailboxes[0].wds {
                    net.shared.push_back((wds[0], 0x8000));
                }
            }
            12 if net.strikes(Fault::Kick, 100) => {
                let user = format!("u{}", net.clients[client].user).into_bytes();
                let (named, now_ms) = (net.clients[client].user, net.now.mono_ms);
                for entry in &mut net.clients {
                    let ours = entry.owner == Owner::Engine || entry.conn.is_some();
                    entry.kicked |= entry.user == named && ours;
                    let dismissed = entry.user == named && entry.owner == Owner::Engine;
                    if dismissed {
                        entry.dismissed = Some(now_ms);
                    }
                }
                let user = user.into_boxed_slice();
                let (ticket, cursor, session) = (1, 0, None);
                net.commands.push_back(Command::Kick { ticket, cursor, user, session });
            }
            13 if net.strikes(Fault::Relisten, 100) => {
                net.commands.push_back(Command::Relisten { ticket: 2 });
            }
            18 if net.strikes(Fault::Reload, 100) => {
                let knobs = knobs(&mut net.random, net.faults.gives_up);
                net.commands.push_back(Command::Reload { ticket: 4, knobs });
            }
            14 if net.random.chance(200) => {
                net.commands.push_back(Command::Who { ticket: 3, cursor: 0, user: None });
            }
            15 if net.strikes(Fault::WallJump, 50) => {
                let jump_us = net.random.below(7_200_000_000);
                net.now.wall_us = net.now.wall_us + 3_600_000_000 - jump_us;
                // What changed just before a jump cannot be told from what did not.
                net.notifies.iter_mut().for_each(|notify| notify.readable = true);
                let wall_us = net.now.wall_us;
                net.mailboxes.iter_mut().for_each(|mailbox| mailbox.changed_us = wall_us);
            }
            16 if net.strikes(Fault::HostileLine, 200) => hostile(net),
            17 => net.clients[client].window = 20_000,
            _ => {}
        }
    }
}
