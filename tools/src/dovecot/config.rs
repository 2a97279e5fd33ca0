//! Renders a Dovecot configuration and the files that it names.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use super::options::{Options, Owner, Version};

/// Writes configuration, users and certificate into `dir`, and makes the folders Dovecot expects.
pub(super) fn write(options: &Options, dir: &Path, port: u16, tls_port: u16) -> io::Result<()> {
    assert!(options.users <= 99_999, "user names have five digits");
    for name in ["etc", "run", "state", "mail", "log"] {
        std::fs::create_dir_all(dir.join(name))?;
    }
    // Logins, mail processes and torpor run under other uids and must pass through.
    for name in ["", "etc", "run", "mail"] {
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755))?;
    }
    std::fs::set_permissions(dir.join("log"), PermissionsExt::from_mode(0o777))?;
    chown(dir.join("mail"), Some(options.mail_uid), Some(options.mail_gid))?;
    let mut users = String::new();
    for number in 1..=options.users {
        writeln!(users, "{}:pw::::::", Options::user(number)).map_err(io::Error::other)?;
    }
    std::fs::write(dir.join("etc/users"), users)?;
    if !dir.join("etc/cert.pem").exists() {
        certificate(dir)?;
    }
    std::fs::write(dir.join("etc/dovecot.conf"), render(options, dir, port, tls_port))
}

fn render(options: &Options, dir: &Path, port: u16, tls_port: u16) -> String {
    let template = match options.version {
        Version::V23 => include_str!("v23.conf"),
        Version::V24 => include_str!("v24.conf"),
    };
    let (_, files_max) = super::process::open_files_limit();
    // Above its descriptor limit Dovecot only warns, but a few must stay free for the rest.
    let clients = files_max.saturating_sub(1000).clamp(500, 50_000);
    let mode = if options.owner == Owner::Stock { "0660" } else { "0" };
    let words: [(&str, String); 15] = [
        ("DIR", dir.display().to_string()),
        ("LISTEN", options.listen.clone()),
        ("PORT", port.to_string()),
        ("TLSPORT", tls_port.to_string()),
        ("UID", options.mail_uid.to_string()),
        ("GID", options.mail_gid.to_string()),
        ("DEBUG", if options.debug { "yes" } else { "no" }.to_owned()),
        ("HIBERNATE", options.hibernate_timeout_secs.to_string()),
        ("NOTIFY", options.idle_notify_secs.to_string()),
        ("CLIENTS", clients.to_string()),
        ("HALF", (clients / 2).to_string()),
        ("PROCESSES", options.imap_process_limit.to_string()),
        ("COUNT", options.service_count.to_string()),
        ("AVAIL", options.imap_min_avail.to_string()),
        ("MODE", mode.to_owned()),
    ];
    let mut text = template.to_owned();
    for (word, value) in words {
        text = text.replace(&format!("@{word}@"), &value);
    }
    assert!(!text.contains('@'), "a word of the template was not filled in: {text}");
    text + &options.extra_config + "\n"
}

/// A self-signed certificate for localhost; an elliptic curve, so that many logins cost little.
fn certificate(dir: &Path) -> io::Result<()> {
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-nodes", "-days", "3650", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-keyout")
        .arg(dir.join("etc/key.pem"))
        .arg("-out")
        .arg(dir.join("etc/cert.pem"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("openssl req: {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_decides_over_the_listener() {
        for version in [Version::V23, Version::V24] {
            let mut options = Options::new(version);
            let text = render(&options, Path::new("/d"), 1, 2);
            assert!(text.contains("    mode = 0\n") && text.contains("base_dir = /d/run"));
            options.owner = Owner::Stock;
            options.extra_config = "mail_debug = yes".to_owned();
            let text = render(&options, Path::new("/d"), 1, 2);
            assert!(text.contains("    mode = 0660\n") && text.ends_with("mail_debug = yes\n"));
        }
    }
}
