//! What this host says: kernel, limits, sockets.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User};

use super::finding::Finding;
use super::looked_at;
use crate::config::Config;
use crate::control::{Console, Request};
use crate::serve::{Host, Judgement};
use crate::socket::Finding as Found;

/// Kernel and limits, by trial.
pub fn host(config: &Config, host: &Host) -> Vec<Finding> {
    let Judgement { refusals, warnings } = host.judge(config);
    let refusals = refusals.into_iter().map(|line| Finding::problem("host", line));
    let warnings = warnings.into_iter().map(|line| Finding::hint("host", line));
    let mut findings: Vec<Finding> = refusals.chain(warnings).collect();
    if findings.is_empty() {
        let text = format!("kernel and limits carry {} clients", host.limits(config).slots_max);
        findings.push(Finding::good("host", text));
    }
    findings
}

/// Who listens where, and who may connect.
pub fn sockets(config: &Config) -> Vec<Finding> {
    let engine = engine(config);
    let mut findings = vec![hibernate(config, engine.is_ok())];
    let uid = engine.as_ref().map_or_else(|_| Uid::effective(), |(uid, _)| *uid);
    findings.push(match engine {
        Ok((_, answering)) if answering < config.engines as usize => {
            let text = format!("{answering} of {} engines answer: see its log", config.engines);
            Finding::problem("torpor", text)
        }
        Ok((uid, answering)) => {
            let (path, name) = (config.control_path(), name_of(uid));
            let engines = if answering == 1 { "engine" } else { "engines" };
            let text = format!("{answering} {engines} of {name} answer at {}", path.display());
            Finding::good("torpor", text)
        }
        Err(error) => {
            Finding::problem("torpor", error.to_string()).fix("systemctl enable --now torpor")
        }
    });
    findings.push(master(config, uid));
    findings
}

/// Finds out as whom torpor runs, and how many of its engines answer.
fn engine(config: &Config) -> std::io::Result<(Uid, usize)> {
    let path = config.control_path();
    let stats = Console::connect(&path)?.ask(&Request::Stats {})?.stats.unwrap_or_default();
    let stream = UnixStream::connect(&path)?;
    Ok((Uid::from_raw(getsockopt(&stream, PeerCredentials)?.uid()), stats.engines.len()))
}

fn hibernate(config: &Config, serving: bool) -> Finding {
    let path = config.hibernate_path();
    let subject = path.display().to_string();
    let Ok(data) = std::fs::metadata(&path) else {
        return Finding::problem(&subject, "is not there: torpor is not running");
    };
    let mode = data.mode() & 0o777;
    match looked_at(path).look(None) {
        Found::Vacant => Finding::problem(&subject, "nobody listens there"),
        _ if !serving => Finding::problem(&subject, "another program listens there")
            .fix("set mode = 0 in Dovecot's unix_listener imap-hibernate, doveadm reload"),
        _ if mode & 0o022 == 0 => {
            Finding::problem(&subject, format!("mode {mode:04o} lets no worker connect"))
        }
        _ => Finding::good(&subject, format!("mode {mode:04o}, gid {}", data.gid())),
    }
}

fn master(config: &Config, engine: Uid) -> Finding {
    let path = config.base_dir.join("imap-master");
    let subject = path.display().to_string();
    let Ok(data) = std::fs::metadata(&path) else {
        return Finding::problem(&subject, "is not there: is Dovecot running?");
    };
    let owner = Uid::from_raw(data.uid());
    if engine.is_root() || engine == owner || data.mode() & 0o002 != 0 {
        return Finding::good(&subject, format!("{} may connect", name_of(engine)));
    }
    let user = name_of(engine);
    let text = format!("owned by {}, but torpor runs as {user}", name_of(owner));
    let lines =
        format!("service imap {{\n  unix_listener imap-master {{\n    user = {user}\n  }}\n}}");
    Finding::problem(&subject, text).fix(&lines)
}

fn name_of(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}
