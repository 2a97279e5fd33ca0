//! The line with which an imap worker gives a client to us.

use std::net::IpAddr;

use super::field::{address, base64, fields, invalid, key_value, number, number_u32, port};
use super::{LineError, Statistics, check_escapes, unescape_into};

/// A checked hibernate line. Slices are still escaped, exactly as they came; numbers are checked.
///
/// Having one tells: username, log prefix and tag were there, every escape is one that Dovecot
/// writes, there is no NUL, and every known value is one that `imap-master` will accept back. It
/// does not tell that anything in it is true: before Dovecot 2.4.3 whoever may connect can write
/// any username.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HibernateLine<'a> {
    /// Full login name; never empty.
    pub username: &'a [u8],
    /// The unexpanded log prefix template; its variables differ between 2.3 and 2.4.
    pub log_prefix: &'a [u8],
    /// Seconds between keepalives; 0 = none are sent.
    pub idle_notify_interval_secs: u32,
    /// Identity of the client's socket, as the worker saw it.
    pub peer: Option<Peer>,
    pub session: Option<&'a [u8]>,
    /// Seconds since the epoch.
    pub session_created: Option<u64>,
    pub lip: Option<IpAddr>,
    pub lport: Option<u16>,
    pub rip: Option<IpAddr>,
    pub rport: Option<u16>,
    /// Output to the client has to be framed (`line::frame`); Dovecot 2.4.0 and later.
    pub multiplex_ostream: bool,
    /// Escaped twice: unescape once for the TAB-joined list, once more for each of its values.
    pub userdb_fields: Option<&'a [u8]>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// The selected mailbox, for logs.
    pub mailbox: Option<&'a [u8]>,
    /// Tag of the running IDLE; may be empty.
    pub tag: &'a [u8],
    /// Token and process id of the first worker of the session; Dovecot 2.4.3 and later.
    pub auth_token: Option<&'a [u8]>,
    pub session_pid: Option<&'a [u8]>,
    /// The logout text, logged when the client disconnects.
    pub stats: Option<&'a [u8]>,
    /// The running command is IDLE, so DONE is expected.
    pub idle_cmd: bool,
    /// A second line with the notify descriptor follows.
    pub notify_fd: bool,
    /// Opaque session state, base64.
    pub state: Option<&'a [u8]>,
    /// Some exactly when at least one of the eleven keys was there (Dovecot 2.4.1 and later).
    pub statistics: Option<Statistics>,
}

/// `st_dev` and `st_ino` of the client's socket; `imap-master` compares them on the way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub dev_major: u32,
    pub dev_minor: u32,
    /// 0 = not known, nothing is compared.
    pub ino: u64,
}

impl<'a> HibernateLine<'a> {
    /// Parses a line that has lost its LF (and a CR before it). Unknown keys are ignored, of
    /// repeated ones the last wins, order is free. Errors are the worker's fault and carry
    /// Dovecot's texts.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        assert!(!line.contains(&b'\n'), "the caller splits lines");
        check_escapes(line)?;
        let mut parsed = Self::default();
        let mut all = fields(line);
        parsed.username =
            all.next().filter(|name| !name.is_empty()).ok_or(LineError::MissingUsername)?;
        parsed.log_prefix = all.next().ok_or(LineError::MissingLogPrefix)?;
        let mut tag = None;
        for (key, value) in all.map(key_value) {
            match key {
                b"tag" => tag = Some(value),
                _ => parsed.take(key, value)?,
            }
        }
        parsed.tag = tag.ok_or(LineError::MissingTag)?;
        assert!(!parsed.username.is_empty());
        Ok(parsed)
    }

    /// Pushes the login name as text.
    pub fn username_into(&self, out: &mut Vec<u8>) {
        unescape_into(out, self.username);
    }

    /// Pushes the IDLE tag as text.
    pub fn tag_into(&self, out: &mut Vec<u8>) {
        unescape_into(out, self.tag);
    }

    /// Pushes the log prefix template as text.
    pub fn log_prefix_into(&self, out: &mut Vec<u8>) {
        unescape_into(out, self.log_prefix);
    }

    /// Pushes the session id as text; nothing if there was none.
    pub fn session_into(&self, out: &mut Vec<u8>) {
        unescape_into(out, self.session.unwrap_or_default());
    }

    pub(super) fn take(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), LineError> {
        match key {
            b"peer_dev_major" => self.peer_mut().dev_major = count("peer_dev_major", value)?,
            b"peer_dev_minor" => self.peer_mut().dev_minor = count("peer_dev_minor", value)?,
            // The highest inode number means "none" and is refused, as Dovecot does.
            b"peer_ino" => self.peer_mut().ino = number("peer_ino", value, u64::MAX - 1)?,
            b"session" => self.session = Some(value),
            b"session_created" => self.session_created = Some(seconds(value)?),
            b"lip" => self.lip = Some(address("lip", value)?),
            b"lport" => self.lport = Some(port("lport", value)?),
            b"rip" => self.rip = Some(address("rip", value)?),
            b"rport" => self.rport = Some(port("rport", value)?),
            b"multiplex_ostream" => self.multiplex_ostream = true,
            b"userdb_fields" => self.userdb_fields = Some(value),
            b"tag" => self.tag = value,
            b"auth_token" => self.auth_token = Some(value),
            b"session_pid" => self.session_pid = Some(value),
            b"state" => self.state = Some(base64("state", value)?),
            _ => {
                if !Statistics::take(&mut self.statistics, key, value)? {
                    self.take_own(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// The keys that are for us alone and are not handed on.
    fn take_own(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), LineError> {
        match key {
            b"idle_notify_interval" => {
                self.idle_notify_interval_secs = count("idle_notify_interval", value)?;
            }
            // The highest number is (uid_t)-1, which is no user.
            b"uid" => self.uid = Some(number_u32("uid", value, u32::MAX - 1)?),
            b"gid" => self.gid = Some(number_u32("gid", value, u32::MAX - 1)?),
            b"mailbox" => self.mailbox = Some(value),
            b"stats" => self.stats = Some(value),
            b"idle-cmd" => self.idle_cmd = true,
            b"notify_fd" => self.notify_fd = true,
            _ => {}
        }
        Ok(())
    }

    fn peer_mut(&mut self) -> &mut Peer {
        self.peer.get_or_insert_default()
    }
}

fn count(key: &'static str, value: &[u8]) -> Result<u32, LineError> {
    number_u32(key, value, u32::MAX)
}

/// Seconds since the epoch; `time_t` is signed, so half of the range.
fn seconds(value: &[u8]) -> Result<u64, LineError> {
    let seconds = number("session_created", value, u64::MAX)?;
    if i64::try_from(seconds).is_err() {
        return Err(invalid("session_created", value));
    }
    Ok(seconds)
}
