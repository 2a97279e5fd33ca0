//! The gate: who may connect, who has to go for it, and what a wrong password costs.
//!
//! Pure: time is a parameter, in milliseconds of any clock that never goes back. An address is an
//! IPv4 address or the first 64 bits of an IPv6 address, since one person has all of those.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Front;

/// Connections that have not logged in, and the addresses that were seen lately.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    /// Numbers of the connections inside, the oldest first.
    inside: BTreeSet<u64>,
    numbers: u64,
    addresses: HashMap<IpAddr, Address>,
}

/// A connection inside of the gate. It must be given to [`Gate::leave`].
#[derive(Debug)]
pub struct Pass {
    number: u64,
    address: IpAddr,
}

/// What the gate says to a connection.
#[derive(Debug)]
pub enum Verdict {
    /// Come in; the connection with this number must go for it.
    Enter(Pass, Option<u64>),
    /// Too many of its address are inside.
    Crowd,
    /// Too many wrong passwords came from its address.
    Banned,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    conns_max: usize,
    conns_per_address_max: u32,
    failures_per_address_max: u32,
    failure_delay_ms_min: u64,
    failure_delay_ms_max: u64,
    refusal_ms: u64,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Address {
    inside: u32,
    failures: u32,
    /// Of the last failure.
    failed_ms: u64,
}

impl Gate {
    pub fn new(front: &Front) -> Self {
        let limits = Limits {
            conns_max: front.conns_max as usize,
            conns_per_address_max: front.conns_per_address_max,
            failures_per_address_max: front.failures_per_address_max,
            failure_delay_ms_min: front.failure_delay_ms_min,
            failure_delay_ms_max: front.failure_delay_ms_max,
            refusal_ms: front.refusal_ms,
        };
        Self { limits, inside: BTreeSet::new(), numbers: 0, addresses: HashMap::new() }
    }

    /// A connection has come.
    pub fn enter(&mut self, ip: IpAddr, now_ms: u64) -> Verdict {
        let (ip, limits) = (whole(ip), self.limits);
        let address = self.addresses.entry(ip).or_default();
        address.forgive(limits, now_ms);
        if address.failures >= limits.failures_per_address_max {
            return Verdict::Banned;
        }
        if address.inside >= limits.conns_per_address_max {
            return Verdict::Crowd;
        }
        address.inside += 1;
        let full = self.inside.len() >= limits.conns_max;
        let oldest = full.then(|| self.inside.pop_first()).flatten();
        self.numbers += 1;
        self.inside.insert(self.numbers);
        assert!(self.inside.len() <= limits.conns_max, "one went for the one that came");
        Verdict::Enter(Pass { number: self.numbers, address: ip }, oldest)
    }

    /// A connection has ended, or has logged in.
    pub fn leave(&mut self, pass: Pass) {
        // The one that had to go for another is not in the set any more.
        self.inside.remove(&pass.number);
        let address = self.addresses.get_mut(&pass.address);
        let address = address.expect("an address is kept while it has connections");
        assert!(address.inside > 0, "who leaves has entered");
        address.inside -= 1;
        if address.inside == 0 && address.failures == 0 {
            self.addresses.remove(&pass.address);
        }
    }

    /// A password was wrong. Says how long the answer must wait, and whether the connection has
    /// to end with it.
    pub fn failed(&mut self, pass: &Pass, now_ms: u64) -> (u64, bool) {
        let limits = self.limits;
        let address = self.addresses.entry(pass.address).or_default();
        let doublings = address.failures.min(32);
        address.failures = address.failures.saturating_add(1);
        address.failed_ms = now_ms;
        let delay_ms = limits.failure_delay_ms_min.saturating_mul(1 << doublings);
        let banned = address.failures >= limits.failures_per_address_max;
        (delay_ms.min(limits.failure_delay_ms_max), banned)
    }

    /// Connections inside.
    pub fn inside(&self) -> usize {
        self.inside.len()
    }

    /// Addresses that are turned away.
    pub fn banned(&self) -> usize {
        let most = self.limits.failures_per_address_max;
        self.addresses.values().filter(|address| address.failures >= most).count()
    }

    /// Forgives and forgets; to be called every second. What stays is bounded: an address is kept
    /// for its connections, of which there are `conns_max`, or for its failures within
    /// `refusal_ms`, of which each took a hash.
    pub fn tidy(&mut self, now_ms: u64) {
        let limits = self.limits;
        self.addresses.retain(|_, address| {
            address.forgive(limits, now_ms);
            address.inside > 0 || address.failures > 0
        });
    }
}

impl Pass {
    /// Of this connection among all that ever came.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Address {
    fn forgive(&mut self, limits: Limits, now_ms: u64) {
        if now_ms >= self.failed_ms.saturating_add(limits.refusal_ms) {
            self.failures = 0;
        }
    }
}

/// What counts as one address.
fn whole(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(conns_max: u32, per_address: u32, failures: u32) -> Gate {
        Gate::new(&Front {
            conns_max,
            conns_per_address_max: per_address,
            failures_per_address_max: failures,
            failure_delay_ms_min: 100,
            failure_delay_ms_max: 1_000,
            refusal_ms: 60_000,
            ..Front::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn enter(gate: &mut Gate, text: &str, now_ms: u64) -> (Pass, Option<u64>) {
        match gate.enter(ip(text), now_ms) {
            Verdict::Enter(pass, oldest) => (pass, oldest),
            verdict => panic!("{text} is let in, not {verdict:?}"),
        }
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let mut gate = gate(2, 9, 9);
        let (first, none) = enter(&mut gate, "192.0.2.1", 0);
        let (second, _) = enter(&mut gate, "192.0.2.2", 0);
        assert_eq!(none, None);
        let (third, oldest) = enter(&mut gate, "192.0.2.3", 0);
        assert_eq!(oldest, Some(first.number()));
        gate.leave(first);
        assert_eq!(gate.inside(), 2, "it was counted out when it had to go");
        let (_fourth, oldest) = enter(&mut gate, "192.0.2.4", 0);
        assert_eq!(oldest, Some(second.number()));
        gate.leave(third);
        let (_fifth, oldest) = enter(&mut gate, "192.0.2.5", 0);
        assert_eq!(oldest, None, "there was room again");
    }

    #[test]
    fn one_address_cannot_take_the_room_of_all() {
        let mut gate = gate(9, 2, 9);
        let (one, _) = enter(&mut gate, "2001:db8::1", 0);
        let (_two, _) = enter(&mut gate, "2001:db8::ffff:1", 0);
        assert!(matches!(gate.enter(ip("2001:db8::2"), 0), Verdict::Crowd), "one network");
        enter(&mut gate, "2001:db8:0:1::1", 0);
        enter(&mut gate, "::ffff:192.0.2.1", 0);
        enter(&mut gate, "192.0.2.1", 0);
        assert!(matches!(gate.enter(ip("192.0.2.1"), 0), Verdict::Crowd), "mapped is the same");
        gate.leave(one);
        enter(&mut gate, "2001:db8::3", 0);
    }

    #[test]
    fn wrong_passwords_cost_more_and_more_and_then_the_address() {
        let mut gate = gate(9, 9, 6);
        let (pass, _) = enter(&mut gate, "192.0.2.1", 0);
        let answers: Vec<_> = (0..6).map(|at| gate.failed(&pass, at)).collect();
        let delays: Vec<_> = answers.iter().map(|(delay_ms, _)| *delay_ms).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(answers.iter().filter(|(_, end)| *end).count(), 1, "only the sixth ends it");
        assert!(matches!(gate.enter(ip("192.0.2.1"), 60_004), Verdict::Banned));
        assert_eq!(gate.banned(), 1);
        enter(&mut gate, "192.0.2.2", 60_004);
        gate.leave(pass);
        enter(&mut gate, "192.0.2.1", 60_005);
        assert_eq!(gate.banned(), 0, "forgiven after refusal_ms of quiet");
    }

    #[test]
    fn addresses_are_forgotten() {
        let mut gate = gate(9, 9, 9);
        let (pass, _) = enter(&mut gate, "192.0.2.1", 0);
        gate.failed(&pass, 0);
        gate.leave(pass);
        let (pass, _) = enter(&mut gate, "192.0.2.2", 0);
        gate.leave(pass);
        gate.tidy(59_999);
        assert_eq!(gate.addresses.len(), 1, "one has failed, the other left nothing behind");
        gate.tidy(60_000);
        assert_eq!(gate.addresses.len(), 0);
    }
}
