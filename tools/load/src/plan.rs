//! What a run is to do. Made by the command line, checked once, then told to every crew.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// Something that all clients do together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Everybody logs in, selects and idles.
    LogIn,
    /// Nobody does anything.
    Hold { secs: f64 },
    /// Single clients say DONE or get mail, at a rate.
    Trickle { secs: f64, mails_per_sec: f64, dones_per_sec: f64 },
    /// So many clients at once.
    Storm { what: Storm, clients: u32, then: Then },
    /// Clients renew their IDLE every 29, 15 or 5 minutes, and some every 10 ms.
    Churn { secs: f64, time_scale: f64, bursts_percent: u32 },
    /// Half of the clients type slowly, half stop reading.
    Slow { secs: f64, byte_ms: u64, closed_window_secs: f64, flood: u32 },
    /// Every client proves by a DONE that it is still served, and leaves.
    Check { per_sec: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storm {
    Done,
    Mail,
}

/// What a client does after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It idles again at once; after mail it just goes on idling.
    Idle,
    /// It stays out of IDLE for so long first.
    Awake { secs: f64 },
    /// It stays out of IDLE until whoever asked goes on.
    Stay,
    /// It logs out.
    Leave,
}

impl Act {
    pub fn name(&self) -> String {
        match self {
            Self::LogIn => "log in".to_owned(),
            Self::Hold { .. } => "hold".to_owned(),
            Self::Trickle { .. } => "trickle".to_owned(),
            Self::Storm { what: Storm::Done, clients, .. } => format!("storm of {clients} DONEs"),
            Self::Storm { what: Storm::Mail, clients, .. } => format!("storm of {clients} mails"),
            Self::Churn { .. } => "churn".to_owned(),
            Self::Slow { .. } => "slow".to_owned(),
            Self::Check { .. } => "check".to_owned(),
        }
    }

    /// Its rates and times. A rate of nothing is fine only where there is another.
    fn numbers(&self) -> Vec<f64> {
        let above_0 = |number: f64| if number > 0.0 { number } else { f64::NAN };
        match *self {
            Self::LogIn | Self::Storm { then: Then::Idle | Then::Stay | Then::Leave, .. } => vec![],
            Self::Hold { secs } => vec![secs],
            Self::Trickle { secs, mails_per_sec, dones_per_sec } => {
                vec![secs, mails_per_sec, dones_per_sec]
            }
            Self::Storm { then: Then::Awake { secs }, .. } => vec![secs],
            Self::Churn { secs, time_scale, .. } => vec![secs, above_0(time_scale)],
            Self::Slow { secs, closed_window_secs, .. } => vec![secs, closed_window_secs],
            Self::Check { per_sec } => vec![above_0(per_sec)],
        }
    }

    /// True when it delivers mail.
    fn posts(&self) -> bool {
        match self {
            Self::Storm { what, .. } => *what == Storm::Mail,
            Self::Trickle { mails_per_sec, .. } => *mails_per_sec > 0.0,
            _ => false,
        }
    }
}

/// The part of the clients that one crew plays.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Share {
    /// Index of this crew, and how many there are.
    pub crew: u32,
    pub crews: u32,
    /// Its clients.
    pub first: u32,
    pub count: u32,
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
            Self { crew, crews, first, count: start(crew + 1) - first }
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
        let needed = self.clients.div_ceil(self.clients_per_user);
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
    fn shares_cover_everybody_once_and_split_no_user() {
        for (clients, per_user, crews) in [(15_000, 1, 2), (7, 3, 3), (5, 1, 9), (1, 4, 2)] {
            let plan = plan(clients, per_user);
            let shares = Share::cut(&plan, crews);
            let mut next = 0;
            for share in &shares {
                assert_eq!(share.first, next);
                assert_eq!(share.first % per_user, 0, "a user is split");
                next += share.count;
            }
            assert_eq!(next, clients);
            for whole in [0, 1, clients / 3, clients] {
                let parts: u32 = shares.iter().map(|share| share.of(whole, clients)).sum();
                assert_eq!(parts, whole);
                let fits = shares.iter().all(|share| share.of(whole, clients) <= share.count);
                assert!(fits, "a crew is to do more than it has clients for");
            }
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
        one.acts.push(Act::Storm { what: Storm::Done, clients: 4, then: Then::Idle });
        assert!(matches!(one.check(false), Err(PlanError::ManyStorm(4, 3))));
        let mut two = plan(3, 1);
        two.acts.push(Act::Storm { what: Storm::Mail, clients: 3, then: Then::Idle });
        assert!(matches!(two.check(false), Err(PlanError::NoRoute)));
        let mut never = plan(3, 1);
        never.acts.push(Act::Hold { secs: f64::NAN });
        assert!(matches!(never.check(false), Err(PlanError::BadNumber(_))));
        let mut three = plan(3, 2);
        three.users = Users::List(Vec::new());
        assert!(matches!(three.check(false), Err(PlanError::FewUsers { needed: 2, .. })));
        let mut four = plan(3, 1);
        four.pace.logins_per_sec = 0.0;
        assert!(matches!(four.check(false), Err(PlanError::NotPositive("--logins-per-sec"))));
    }
}
