//! What a run is to do. Made by the command line, checked once, then told to every crew.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::act::Act;
use crate::post::Route;
use crate::users::{User, Users};

/// A whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Plan {
    pub server: SocketAddr,
    pub users: Users,
    pub clients: u32,
    /// Clients that share a user, and so a mailbox.
    pub clients_per_user: u32,
    pub mailbox: String,
    pub pace: Pace,
    pub login_timeout_secs: f64,
    pub answer_timeout_secs: f64,
    /// Size of the socket's receive buffer, where the kernel's own choice is too large.
    pub receive_buffer_bytes: Option<u32>,
    pub route: Option<Route>,
    /// One after the other, all clients together.
    pub acts: Vec<Act>,
}

/// How fast clients log in.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Pace {
    pub logins_per_sec: f64,
    /// Clients between their first packet and their first `+`, of all crews together.
    pub logins_at_once: u32,
}

/// Why a plan is no good.
#[derive(Debug, Error)]
pub enum PlanError {
    #[error("{0} is not on this machine; --i-run-this-server says that you may load it")]
    Foreign(SocketAddr),
    #[error("{clients} clients need {needed} users; the file has {count}")]
    FewUsers { clients: u32, needed: u32, count: u32 },
    #[error("{0} clients are to storm, but only {1} log in")]
    ManyStorm(u32, u32),
    #[error("mail has no way: give --maildir, --lmtp or --append")]
    NoRoute,
    #[error("{0} is no rate or time: it must be above 0")]
    NotPositive(&'static str),
    #[error("{0}: a rate, a time or a scale of it is no such number")]
    BadNumber(String),
}

impl Plan {
    /// # Errors
    /// Says what contradicts what.
    pub fn check(&self, own_server: bool) -> Result<(), PlanError> {
        if !self.server.ip().is_loopback() && !own_server {
            return Err(PlanError::Foreign(self.server));
        }
        let needed = self.clients.div_ceil(self.clients_per_user) + self.newcomers();
        if let Some(count) = self.users.count().filter(|count| *count < needed) {
            return Err(PlanError::FewUsers { clients: self.clients, needed, count });
        }
        let positive = [
            ("--logins-per-sec", self.pace.logins_per_sec),
            ("--login-timeout-secs", self.login_timeout_secs),
            ("--answer-timeout-secs", self.answer_timeout_secs),
        ];
        for (name, value) in positive {
            if !value.is_finite() || value <= 0.0 {
                return Err(PlanError::NotPositive(name));
            }
        }
        for act in &self.acts {
            if !act.numbers().iter().all(|number| (0.0..=NUMBER_MAX).contains(number)) {
                return Err(PlanError::BadNumber(act.name()));
            }
            if act.posts() && self.route.is_none() {
                return Err(PlanError::NoRoute);
            }
            if let Act::Storm { clients, .. } = act
                && *clients > self.clients
            {
                return Err(PlanError::ManyStorm(*clients, self.clients));
            }
        }
        Ok(())
    }

    /// Clients beyond the others, who log in while a storm blows.
    pub fn newcomers(&self) -> u32 {
        self.acts.iter().map(Act::newcomers).sum()
    }

    /// The user of a newcomer, who shares it with nobody.
    pub fn newcomer(&self, number: u32) -> User {
        self.users.at(self.clients.div_ceil(self.clients_per_user) + number)
    }

    /// The user of a client.
    pub fn user(&self, client: u32) -> User {
        self.users.at(client / self.clients_per_user)
    }

    pub fn login_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.login_timeout_secs)
    }

    pub fn answer_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.answer_timeout_secs)
    }
}

/// Three years in seconds, or as many events a second as no machine has.
const NUMBER_MAX: f64 = 1e8;

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::act::{Storm, Then};

    fn storm(what: Storm, clients: u32, newcomers: u32) -> Act {
        Act::Storm { what, clients, then: Then::Idle, newcomers }
    }

    /// A plan without acts, for a server that nobody asks.
    pub fn plan(clients: u32, clients_per_user: u32) -> Plan {
        Plan {
            server: ([127, 0, 0, 1], 1143).into(),
            users: Users::template("u{n}", "pw", 1, clients).expect("a good template"),
            clients,
            clients_per_user,
            mailbox: "INBOX".to_owned(),
            pace: Pace { logins_per_sec: 100.0, logins_at_once: 10 },
            login_timeout_secs: 10.0,
            answer_timeout_secs: 10.0,
            receive_buffer_bytes: None,
            route: None,
            acts: vec![Act::LogIn],
        }
    }

    #[test]
    fn servers_elsewhere_are_left_alone() {
        let mut plan = plan(3, 1);
        plan.server = ([192, 0, 2, 1], 143).into();
        assert!(matches!(plan.check(false), Err(PlanError::Foreign(_))));
        assert!(plan.check(true).is_ok());
    }

    #[test]
    fn contradictions_are_named() {
        let mut one = plan(3, 1);
        one.acts.push(storm(Storm::Done, 4, 0));
        assert!(matches!(one.check(false), Err(PlanError::ManyStorm(4, 3))));
        let mut two = plan(3, 1);
        two.acts.push(storm(Storm::Mail, 3, 0));
        assert!(matches!(two.check(false), Err(PlanError::NoRoute)));
        let mut never = plan(3, 1);
        never.acts.push(Act::Hold { secs: f64::NAN });
        assert!(matches!(never.check(false), Err(PlanError::BadNumber(_))));
        let mut three = plan(3, 2);
        three.users = Users::List(Vec::new());
        assert!(matches!(three.check(false), Err(PlanError::FewUsers { needed: 2, .. })));
        three.users = Users::List(vec![plan(3, 2).user(0); 6]);
        three.acts.push(storm(Storm::Done, 3, 5));
        assert!(matches!(three.check(false), Err(PlanError::FewUsers { needed: 7, .. })));
        let mut four = plan(3, 1);
        four.pace.logins_per_sec = 0.0;
        assert!(matches!(four.check(false), Err(PlanError::NotPositive("--logins-per-sec"))));
    }
}
