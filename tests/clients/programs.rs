//! How each client is started.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use torpor::dovecot::Endpoint;

/// Where a client connects to, as whom, and where it brings its mail.
pub struct Account<'a> {
    pub endpoint: Endpoint,
    pub user: &'a str,
    pub sink_port: u16,
    /// A folder of its own.
    pub dir: &'a Path,
}

/// `pullimap --idle`: Perl, its own IMAP library. Each IDLE is ended after a few seconds.
pub fn pullimap(account: &Account<'_>) -> io::Result<Command> {
    let Account { endpoint, user, sink_port, dir } = account;
    let config = format!(
        "[torpor]\nstatefile = state\ndeliver-method = smtp:[127.0.0.1]:{sink_port}\n\
         deliver-rcpt = sink@localhost\ntype = imap\nhost = 127.0.0.1\nport = {}\n\
         STARTTLS = NO\nusername = {user}\npassword = pw\n",
        endpoint.address.port()
    );
    for name in ["config/pullimap", "data/pullimap"] {
        std::fs::create_dir_all(dir.join(name))?;
    }
    write_private(&dir.join("config/pullimap/config"), &config)?;
    // With --idle it wants its state file to be there already.
    write_private(&dir.join("data/pullimap/state"), "")?;
    let mut command = Command::new("pullimap");
    command.args(["--quiet", "--idle=4", "torpor"]);
    command.env("XDG_CONFIG_HOME", dir.join("config")).env("XDG_DATA_HOME", dir.join("data"));
    Ok(command)
}

/// `fetchmail --idle`; it deletes what it has fetched.
pub fn fetchmail(account: &Account<'_>) -> io::Result<Command> {
    let Account { endpoint, user, sink_port, dir } = account;
    let tls = if endpoint.tls { "ssl no sslcertck" } else { "sslproto ''" };
    let config = format!(
        "poll 127.0.0.1 service {} protocol imap user {user} password pw\n\
         {tls} smtphost 127.0.0.1/{sink_port} is sink here idle\n",
        endpoint.address.port()
    );
    write_private(&dir.join("fetchmailrc"), &config)?;
    let mut command = Command::new("fetchmail");
    command.args(["--nodetach", "--silent", "--fetchmailrc"]).arg(dir.join("fetchmailrc"));
    // Root's would be one for all.
    command.arg("--pidfile").arg(dir.join("fetchmail.pid"));
    command.env("FETCHMAILHOME", dir);
    Ok(command)
}

/// Python's IMAPClient.
pub fn imapclient(account: &Account<'_>) -> io::Result<Command> {
    Ok(python("imapclient_idle.py", account))
}

/// Python's aioimaplib.
pub fn aioimaplib(account: &Account<'_>) -> io::Result<Command> {
    Ok(python("aioimaplib_idle.py", account))
}

/// npm's imapflow.
pub fn imapflow(account: &Account<'_>) -> io::Result<Command> {
    let mut command = Command::new("node");
    command.arg(here().join("imapflow.js")).arg(target().join("npm/node_modules"));
    Ok(with(command, account))
}

fn python(script: &str, account: &Account<'_>) -> Command {
    let mut command = Command::new(target().join("python/bin/python"));
    command.arg(here().join(script));
    with(command, account)
}

fn with(mut command: Command, account: &Account<'_>) -> Command {
    command.arg(account.endpoint.address.port().to_string()).arg(account.user);
    command.arg(account.sink_port.to_string());
    command.arg(if account.endpoint.tls { "tls" } else { "plain" });
    command
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where `tests/run` has installed what Debian does not have.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))
}
