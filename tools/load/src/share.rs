//! The part of the clients that one crew plays.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// A part.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Share {
    /// Index of this crew, and how many there are.
    pub crew: u32,
    pub crews: u32,
    /// Its clients.
    pub first: u32,
    pub count: u32,
    /// Seats after those, for all who log in while a storm blows. One crew has them.
    pub newcomers: u32,
}

impl Share {
    /// Cuts the clients into `crews` parts, never between two clients of one user.
    pub fn cut(plan: &Plan, crews: u32) -> Vec<Self> {
        let users = plan.clients.div_ceil(plan.clients_per_user);
        let start = |crew: u32| {
            let user = (u64::from(users) * u64::from(crew) / u64::from(crews)) as u32;
            (user * plan.clients_per_user).min(plan.clients)
        };
        let shares = (0..crews).map(|crew| {
            let first = start(crew);
            // Whatever the numbers are, the last crew has somebody to play.
            let newcomers = if crew + 1 == crews { plan.newcomers() } else { 0 };
            Self { crew, crews, first, count: start(crew + 1) - first, newcomers }
        });
        shares.filter(|share| share.count > 0).collect()
    }

    /// This crew's part of something that all crews do together; the parts add up to `whole`.
    pub fn of(&self, whole: u32, clients: u32) -> u32 {
        let upto = |client: u32| u64::from(whole) * u64::from(client) / u64::from(clients);
        (upto(self.first + self.count) - upto(self.first)) as u32
    }

    /// This crew's part of a rate.
    pub fn rate(&self, whole: f64, clients: u32) -> f64 {
        whole * f64::from(self.count) / f64::from(clients)
    }

    /// An address of its own on loopback, so that no address runs out of ports.
    pub fn source(&self, server: SocketAddr) -> Option<IpAddr> {
        let IpAddr::V4(address) = server.ip() else { return None };
        let crew = u8::try_from(self.crew).ok()?;
        address.is_loopback().then(|| Ipv4Addr::new(127, 0, 1, crew).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::{Act, Storm, Then};
    use crate::plan::tests::plan;

    #[test]
    fn shares_cover_everybody_once_and_split_no_user() {
        for (clients, per_user, crews) in [(15_000, 1, 2), (7, 3, 3), (5, 1, 9), (1, 4, 2)] {
            let mut plan = plan(clients, per_user);
            let (what, then) = (Storm::Done, Then::Idle);
            plan.acts.push(Act::Storm { what, clients: 1, then, newcomers: 7 });
            let shares = Share::cut(&plan, crews);
            let mut next = 0;
            for share in &shares {
                assert_eq!(share.first, next);
                assert_eq!(share.first % per_user, 0, "a user is split");
                next += share.count;
            }
            assert_eq!(next, clients);
            assert_eq!(shares.iter().map(|share| share.newcomers).sum::<u32>(), 7);
            for whole in [0, 1, clients / 3, clients] {
                let parts: u32 = shares.iter().map(|share| share.of(whole, clients)).sum();
                assert_eq!(parts, whole);
                let fits = shares.iter().all(|share| share.of(whole, clients) <= share.count);
                assert!(fits, "a crew is to do more than it has clients for");
            }
        }
    }
}
