//! What must be true of the world: after every tick, and once everybody is calm.

use super::World;
use super::people::is_gone;
use crate::net::Owner;

impl World {
    /// Everything owed is paid.
    pub fn check_calm(&self) {
        let net = self.net.borrow();
        for (index, client) in net.clients.iter().enumerate() {
            let gone = is_gone(client);
            assert!(client.owner != Owner::Engine || !gone, "client {index} is gone and kept");
            if gone || client.kicked {
                continue;
            }
            if client.owner == Owner::Engine {
                let unread = &client.sent[client.read..];
                let partial = b"DONE\r".starts_with(unread);
                assert!(partial, "client {index} waits: {:?}", unread.escape_ascii().to_string());
                let version = client.mailbox.map_or(0, |mailbox| net.mailboxes[mailbox].version);
                let seen = client.mailbox.map_or(0, |_| client.seen);
                let counters = &self.driver().desk.counters;
                assert_eq!(seen, version, "client {index} was never told, {counters:?}");
                assert!(client.rest.is_empty(), "client {index} waits for the rest of a line");
            }
        }
        let counters = &self.driver().desk.counters;
        let owned = net.clients.iter().filter(|client| client.owner == Owner::Engine).count();
        let queued = counters.queued_input + counters.queued_change;
        // Those just given are counted by their connections until these have closed.
        let known = counters.asleep + queued + counters.in_flight;
        assert!(known <= owned as u64 && owned as u64 <= known + counters.conns);
    }

    /// After every tick: descriptors add up, and nobody has two owners.
    pub fn check(&self) {
        let net = self.net.borrow();
        let segments = net.conns[net.conns_over..].iter().flat_map(|conn| &conn.segments);
        let on_the_way: usize = segments.map(|segment| segment.1.len()).sum();
        let (ring, handoff) = (self.driver().ring.seated(), self.driver().handoff.held());
        let held = ring + handoff + self.driver().watcher.held() + on_the_way;
        assert_eq!(net.open.get(), held as i64, "a descriptor is lost or closed twice");
        for client in &net.clients {
            assert!(client.read <= client.pulled && client.pulled <= client.sent.len());
        }
    }
}
