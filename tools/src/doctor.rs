//! `torpor doctor`: is everything in place for clients to sleep? One line a finding, and with
//! each problem the lines that mend it.

mod doveconf;
mod dovecot;
mod finding;
mod here;

use std::io;
use std::path::PathBuf;

use crate::config::Config;
use crate::serve::Host;
use crate::socket::Place;

pub use finding::{Finding, Level};

/// What `torpor doctor` was told.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    pub config: Option<PathBuf>,
    pub base_dir: Option<PathBuf>,
    pub socket: Option<PathBuf>,
    /// Dovecot's configuration file, instead of its usual one.
    pub dovecot_config: Option<PathBuf>,
    pub json: bool,
}

/// All findings as text or JSON, and whether there is no problem among them.
///
/// # Errors
/// torpor's own configuration cannot be read.
pub fn run(options: &DoctorOptions) -> io::Result<(String, bool)> {
    let config = Config::load(options.config.as_deref()).map_err(io::Error::other)?;
    let config = config.with(|config| {
        if let Some(base_dir) = &options.base_dir {
            config.base_dir.clone_from(base_dir);
        }
        if options.socket.is_some() {
            config.control.path.clone_from(&options.socket);
        }
    });
    let config = config.map_err(io::Error::other)?;
    let host = Host::raise();
    let mut findings = here::host(&config, &host);
    findings.extend(here::sockets(&config));
    match doveconf::Settings::ask(options.dovecot_config.as_deref()) {
        Ok(settings) => findings.extend(dovecot::check(&settings, &config)),
        Err(error) => findings.push(Finding::hint(
            "doveconf",
            format!("{error}: Dovecot's configuration was not checked"),
        )),
    }
    let healthy = findings.iter().all(|finding| finding.level != Level::Problem);
    if options.json {
        let value = serde_json::json!({ "healthy": healthy, "findings": findings });
        return Ok((serde_json::to_string_pretty(&value)? + "\n", healthy));
    }
    Ok((finding::text(&findings), healthy))
}

/// The place of a socket that is only looked at.
fn looked_at(path: PathBuf) -> Place {
    Place { path, mode: 0, owner: None, group: None, backlog: 1 }
}
