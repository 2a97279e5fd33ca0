//! The simulator's side of the comparison.

use std::cell::RefCell;
use std::rc::Rc;

use torpor_engine::ring::Ring;

use super::{PLACES, Step, World as Both, seat_conn};
use crate::faults::Faults;
use crate::kernel::SimRing;
use crate::net::{Conn, Mailbox, Net, Notify, Owner, Parcel, Random, Shared, SimFd, Thing};
use crate::world::new_client;

pub struct World {
    net: Shared,
    ring: SimRing,
}

impl World {
    /// Nothing goes wrong in it.
    pub fn new(seed: u64) -> Self {
        let net = Net::new(Random::new(seed), Faults::new(0, false), false);
        let net = Rc::new(RefCell::new(net));
        let mut ring = SimRing::new(net.clone(), PLACES, PLACES);
        ring.arms_once = true;
        ring.is_dense = false;
        Self { net, ring }
    }
}

impl Both for World {
    type Ring = SimRing;

    fn ring(&mut self) -> &mut SimRing {
        &mut self.ring
    }

    fn act(&mut self, step: &Step) {
        let mut net = self.net.borrow_mut();
        let open = net.open.clone();
        match step {
            Step::Say(client, text) => net.clients[*client as usize].sent.extend(text),
            Step::HangUp(client) => net.clients[*client as usize].eof = true,
            Step::Pass(conn, text, kinds) => {
                let junk = || SimFd::new(Thing::Junk, &open);
                let parcels = kinds.iter().map(|kind| Parcel { fd: junk(), kind: *kind, inode: 0 });
                let segment = (text.clone(), parcels.collect());
                net.conns[*conn as usize].segments.push_back(segment);
            }
            Step::Leave(conn) => net.conns[*conn as usize].closed = true,
            Step::Notify(slot) => net.notifies[*slot as usize].readable = true,
            step => unreachable!("{step:?} is the engine's"),
        }
    }

    fn seat(&mut self) {
        for place in 0..PLACES {
            let at = place as usize;
            let (client, notify) = {
                let mut net = self.net.borrow_mut();
                net.mailboxes.push(Mailbox { version: 0, changed_ms: 0, changed_us: 0, wds: None });
                let mut client = new_client(&mut net, at);
                client.owner = Owner::Engine;
                net.clients.push(client);
                net.notifies.push(Notify { mailbox: at, readable: false });
                net.conns.push(conn());
                net.backlog.push_back(at);
                let fd = |thing| SimFd::new(thing, &net.open);
                (fd(Thing::Client(at)), fd(Thing::Notify(at)))
            };
            self.ring.seat_client(place, client);
            self.ring.seat_notify(place, notify);
            seat_conn(&mut self.ring, place);
        }
    }
}

fn conn() -> Conn {
    Conn {
        client: None,
        notify: None,
        stage: 0,
        segments: Default::default(),
        closed: false,
        server_closed: false,
        heard: Vec::new(),
        pluses: 0,
        pluses_due: u32::MAX,
        since_ms: 1_000_000,
    }
}
