//! What the host allows, compared with what the configuration wants.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Limits of this process, after raising what may be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// RLIMIT_NOFILE.
    pub files_max: u64,
}

impl Host {
    /// Raises the soft limits to the hard ones.
    pub fn raise() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Self { files_max: if raised { hard } else { soft } }
    }

    /// One line for each thing that is in the way, naming the knob to turn.
    pub fn refusals(&self, config: &Config) -> Vec<String> {
        let mut refusals = Vec::new();
        let slots_max = config.slots_max(self.files_max);
        let needed = u64::from(slots_max).max(1) + config.files_reserved();
        if needed > self.files_max {
            refusals.push(format!(
                "sleep.slots_max = {} needs {needed} descriptors and RLIMIT_NOFILE is {}: raise \
                 LimitNOFILE in torpor.service, or lower sleep.slots_max",
                slots_max.max(1),
                self.files_max
            ));
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_slots_are_refused_with_the_knob_to_turn() {
        let mut config = Config::default();
        let host = Host { files_max: 20_000 };
        assert_eq!(host.refusals(&config), Vec::<String>::new());
        config.sleep.slots_max = Some(20_000);
        let refusals = host.refusals(&config);
        assert_eq!(refusals.len(), 1);
        assert!(refusals[0].contains("LimitNOFILE"), "{refusals:?}");
        assert_eq!(Host { files_max: 256 }.refusals(&Config::default()).len(), 1);
    }
}
