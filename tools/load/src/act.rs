//! What all clients do together, one act after the other.

use serde::{Deserialize, Serialize};

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
    /// So many clients at once; meanwhile newcomers log in, one after the other.
    Storm { what: Storm, clients: u32, then: Then, newcomers: u32 },
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
    pub fn numbers(&self) -> Vec<f64> {
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

    /// Clients beyond the others that it brings.
    pub fn newcomers(&self) -> u32 {
        if let Self::Storm { newcomers, .. } = self { *newcomers } else { 0 }
    }

    /// True when it delivers mail.
    pub fn posts(&self) -> bool {
        match self {
            Self::Storm { what, .. } => *what == Storm::Mail,
            Self::Trickle { mails_per_sec, .. } => *mails_per_sec > 0.0,
            _ => false,
        }
    }
}
