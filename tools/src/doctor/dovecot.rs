//! What Dovecot's settings say about hibernation.

use super::doveconf::Settings;
use super::finding::Finding;
use crate::config::Config;

/// All checks of the configuration.
pub fn check(settings: &Settings, config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        timeout(settings),
        base_dir(settings, config),
        stock_listener(settings),
        imap_master(settings),
        group(settings, config),
        workers(settings, config),
        service_count(settings),
    ];
    findings.extend(compress(settings));
    findings
}

fn timeout(settings: &Settings) -> Finding {
    let name = "imap_hibernate_timeout";
    match settings.number(name) {
        Some(secs @ 1..) => {
            Finding::good(name, format!("idle clients are hibernated after {secs} s"))
        }
        _ => Finding::problem(name, "0: Dovecot never hibernates a client")
            .fix("imap_hibernate_timeout = 30s"),
    }
}

fn base_dir(settings: &Settings, config: &Config) -> Finding {
    let (theirs, ours) = (settings.value("base_dir"), config.base_dir.display().to_string());
    if theirs == ours || theirs.is_empty() {
        return Finding::good("base_dir", ours);
    }
    Finding::problem("base_dir", format!("Dovecot's is {theirs}, torpor's is {ours}"))
        .fix(&format!("base_dir = \"{theirs}\"   # in torpor's configuration"))
}

fn stock_listener(settings: &Settings) -> Finding {
    let path = "service imap-hibernate/unix_listener imap-hibernate/mode";
    match settings.mode(path) {
        Some(0) => Finding::good("service imap-hibernate", "Dovecot's own listener is off"),
        _ => Finding::problem("service imap-hibernate", "Dovecot's own listener is on").fix(
            "service imap-hibernate {\n  unix_listener imap-hibernate {\n    mode = 0\n  }\n}",
        ),
    }
}

fn imap_master(settings: &Settings) -> Finding {
    let listener = "service imap/unix_listener imap-master";
    let subject = "service imap: imap-master";
    if settings.mode(&format!("{listener}/mode")) == Some(0) {
        return Finding::problem(subject, "mode = 0: no worker can be asked to take a client")
            .fix("service imap {\n  unix_listener imap-master {\n    mode = 0600\n  }\n}");
    }
    let user = settings.resolved(&format!("{listener}/user"));
    if user.is_empty() || user == "root" {
        return Finding::good(subject, "owned by root; torpor must run as root");
    }
    Finding::good(subject, format!("owned by {user}; torpor must run as {user} or root"))
}

/// Workers reach the hibernate socket as members of its group.
fn group(settings: &Settings, config: &Config) -> Finding {
    let (internal, name) = if settings.is_v24 {
        ("$SET:default_internal_group", "service_extra_groups")
    } else {
        ("$default_internal_group", "extra_groups")
    };
    let subject = "service imap: groups";
    let wanted = config.hibernate.group.clone().unwrap_or_else(|| "dovecot".into());
    if config.hibernate.mode & 0o006 == 0o006 {
        return Finding::good(subject, "the hibernate socket is open to everybody");
    }
    let known = settings.value("default_internal_group");
    let known = if known.is_empty() { "dovecot" } else { known };
    let keys = ["extra_groups", "service_extra_groups", "group"];
    let mut groups: Vec<&str> = Vec::new();
    for key in keys {
        let value = settings.value(&format!("service imap/{key}"));
        groups.extend(value.split([' ', ',']).filter(|word| !word.is_empty()));
    }
    groups.extend(settings.value("mail_access_groups").split([' ', ',']));
    let resolved = |group: &str| if group.starts_with('$') { known } else { group }.to_owned();
    if groups.iter().any(|group| resolved(group) == wanted) {
        return Finding::good(subject, format!("workers are members of {wanted}"));
    }
    let text = format!("workers are not members of {wanted} and cannot reach the hibernate socket");
    let value = if wanted == known { internal } else { &wanted };
    Finding::problem(subject, text).fix(&format!("service imap {{\n  {name} = {value}\n}}"))
}

fn workers(settings: &Settings, config: &Config) -> Finding {
    let limit = match settings.number("service imap/process_limit") {
        Some(0) | None => settings.number("default_process_limit").unwrap_or(100),
        Some(limit) => limit,
    };
    let wanted = u64::from(config.wake.workers_max);
    let subject = "wake.workers_max";
    let text = format!("{wanted} of the {limit} processes of service imap");
    if wanted >= limit {
        return Finding::problem(subject, format!("{text}: wakes would keep logins out"))
            .fix(&workers_of(limit));
    }
    if wanted * 6 > limit * 5 {
        return Finding::hint(subject, format!("{text}: little is left for logins"))
            .fix(&workers_of(limit));
    }
    if wanted * 2 < limit {
        return Finding::hint(
            subject,
            format!("{text}: a storm of wakes takes longer than it need"),
        )
        .fix(&workers_of(limit));
    }
    Finding::good(subject, text)
}

/// Five sixths for wakes: of a stock service's 1,024, 171 are left for logins.
fn workers_of(limit: u64) -> String {
    format!("[wake]\nworkers_max = {}   # in torpor's configuration", limit * 5 / 6)
}

/// A fresh process for each wake costs about 4 ms, a used one about 1 ms.
fn service_count(settings: &Settings) -> Finding {
    let name = if settings.is_v24 { "restart_request_count" } else { "service_count" };
    let subject = format!("service imap: {name}");
    match settings.number(&format!("service imap/{name}")) {
        Some(1) => Finding::hint(&subject, "1: every wake starts a new imap process")
            .fix(&format!("service imap {{\n  {name} = 100\n}}")),
        _ => Finding::good(&subject, "imap processes are used again, wakes are quick"),
    }
}

fn compress(settings: &Settings) -> Option<Finding> {
    let plugins = ["mail_plugins", "protocol imap/mail_plugins"].map(|path| settings.value(path));
    let zlib = plugins.iter().any(|plugins| plugins.contains("imap_zlib"));
    zlib.then(|| {
        let text = "imap_zlib is loaded: Dovecot does not hibernate clients that use COMPRESS";
        Finding::hint("mail_plugins", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    const GOOD: &str = "base_dir = /run/dovecot
default_internal_user = dovecot
default_internal_group = dovecot
imap_hibernate_timeout = 30 secs
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0
  }
}
service imap {
  extra_groups = $default_internal_group
  process_limit = 1024
  service_count = 100
  unix_listener imap-master {
    mode = 0600
    user = $default_internal_user
  }
}
";

    fn worst(text: &str) -> Vec<(Level, String)> {
        let findings = check(&Settings::parse(text), &Config::default());
        let bad = findings.into_iter().filter(|finding| finding.level != Level::Good);
        bad.map(|finding| (finding.level, finding.subject)).collect()
    }

    #[test]
    fn a_good_configuration_has_no_findings() {
        assert_eq!(worst(GOOD), []);
    }

    #[test]
    fn each_mistake_is_named() {
        let cases = [
            ("= 30 secs", "= 0", "imap_hibernate_timeout"),
            ("/run/dovecot", "/run/other", "base_dir"),
            ("mode = 0\n", "mode = 0660\n", "service imap-hibernate"),
            ("mode = 0600", "mode = 0", "service imap: imap-master"),
            ("extra_groups = $default_internal_group", "extra_groups =", "service imap: groups"),
            ("process_limit = 1024", "process_limit = 500", "wake.workers_max"),
        ];
        for (good, bad, subject) in cases {
            assert!(GOOD.contains(good), "{good}");
            let found = worst(&GOOD.replace(good, bad));
            assert_eq!(found, [(Level::Problem, subject.to_owned())], "{bad}");
        }
    }

    #[test]
    fn what_could_be_better_is_a_hint() {
        let text = GOOD.replace("service_count = 100", "service_count = 1");
        assert_eq!(worst(&text), [(Level::Hint, "service imap: service_count".to_owned())]);
        for limit in [1000, 6000] {
            let text = GOOD.replace("process_limit = 1024", &format!("process_limit = {limit}"));
            assert_eq!(worst(&text), [(Level::Hint, "wake.workers_max".to_owned())], "{limit}");
        }
        let text = GOOD.to_owned() + "protocol imap {\n  mail_plugins = imap_zlib\n}\n";
        assert_eq!(worst(&text), [(Level::Hint, "mail_plugins".to_owned())]);
    }
}
