//! What the host allows, compared with what the configuration wants.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use torpor_engine::limits::Limits;
use torpor_engine::probe::{Severity, Wishes, keeps_numbers, probe};

use crate::config::Config;

/// Limits of this process, after raising what may be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// RLIMIT_NOFILE.
    pub files_max: u64,
}

/// What is in the way, and what costs more than it need: a line each, naming the knob to turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
}

impl Host {
    /// Raises the soft limits to the hard ones.
    pub fn raise() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Self { files_max: if raised { hard } else { soft } }
    }

    /// The engine's bounds on this host.
    pub fn limits(&self, config: &Config) -> Limits {
        let numbered = keeps_numbers(config.front.maildir.is_some());
        config.limits(config.slots_max(numbered.then_some(self.files_max)))
    }

    /// Tries what the engine will do.
    pub fn judge(&self, config: &Config) -> Judgement {
        let limits = self.limits(config);
        if limits.slots_max == 0 {
            let (max, reserved) = (self.files_max, config.files_reserved());
            let line = format!(
                "host: RLIMIT_NOFILE = {max} leaves no descriptor for clients, {reserved} are \
                 needed for the rest; raise LimitNOFILE"
            );
            return Judgement { refusals: vec![line], warnings: Vec::new() };
        }
        let mut judgement = Judgement::default();
        let wishes = Wishes {
            has_homes: config.front.maildir.is_some(),
            dense: config.sleep.dense,
            fanotify_dirs: &config.watch.fanotify_dirs,
            poll_dirs: &config.watch.poll_dirs,
        };
        for finding in probe(&limits, &wishes) {
            match finding.severity {
                Severity::Refusal => judgement.refusals.push(finding.line),
                Severity::Warning => judgement.warnings.push(finding.line),
            }
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SLOTS_DEFAULT;

    #[test]
    fn sleepers_without_numbers_are_as_many_whatever_the_limit_of_descriptors_is() {
        let (config, few) = (Config::default(), Host { files_max: 256 });
        if keeps_numbers(false) {
            let refusals = few.judge(&config).refusals;
            assert_eq!(refusals.len(), 1);
            assert!(refusals[0].contains("LimitNOFILE"), "{refusals:?}");
        } else {
            assert_eq!(few.limits(&config).slots_max, SLOTS_DEFAULT);
        }
    }

    #[test]
    fn too_few_descriptors_are_refused_with_the_knob_to_turn() {
        let mut config = Config::default();
        let host = Host::raise();
        config.sleep.slots_max = Some(16);
        config.hibernate.conns_max = 65_536;
        let refusals = host.judge(&config).refusals;
        assert!(refusals.iter().any(|line| line.contains("conns_max = 65536")), "{refusals:?}");
    }
}
