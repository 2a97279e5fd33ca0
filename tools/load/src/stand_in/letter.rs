//! Hibernate lines as Dovecot 2.4.1 writes them, everything in them distinct and random.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;

/// What a line says that is not chance.
#[derive(Clone, Copy)]
pub struct Facts {
    /// Of the client's socket.
    pub inode: u64,
    pub minor: u64,
    pub keepalive_secs: u32,
    /// A second descriptor follows.
    pub notify: bool,
}

/// A client's line.
pub fn line(random: &mut Rng, facts: Facts) -> String {
    let Facts { inode, minor, keepalive_secs, notify } = facts;
    let (user, mailbox) = (word(random), word(random));
    let (ip, port) = (random.u32(..), random.u16(1024..65_024));
    // Dovecot's session id: time, port and address.
    let session = [&bytes(random, 6)[..], &port.to_be_bytes(), &ip.to_be_bytes()].concat();
    // Appendix A of its protocol: magic, mailbox, GUID, UIDs and sequences, flags.
    let names = [b"base\nB", mailbox.as_bytes(), b"\0"].concat();
    let state = [names, bytes(random, 16), bytes(random, 14)].concat();
    let token = bytes(random, 20).iter().fold(String::new(), |mut token, byte| {
        let _ = write!(token, "{byte:02x}");
        token
    });
    let (input, output) = (random.u32(..4000), random.u32(..100_000));
    let (count, size) = (random.u32(..50), random.u32(..200_000));
    let notify = if notify { "\tnotify_fd" } else { "" };
    format!(
        "{user}@example.org\t%{{service}}(%{{user}})<%{{process:pid}}><%{{session}}>: \t\
         idle_notify_interval={keepalive_secs}\t\
         peer_dev_major=0\tpeer_dev_minor={minor}\tpeer_ino={inode}\t\
         session={}\tsession_created={}\tlip=192.0.2.1\tlport=143\trip={}\trport={port}\t\
         userdb_fields=uid=5000\x01tgid=5000\x01thome=/srv/mail/example.org/{user}\x01t\
         auth_mech=PLAIN\x01tauth_token={token}\tuid=5000\tgid=5000\tmailbox={mailbox}\t\
         tag=a{}\tstats=in={input} out={output} deleted=0 expunged=0 trashed=0 hdr_count={count} \
         hdr_bytes={size} body_count=0 body_bytes=0\tidle-cmd{notify}\tstate={}\t\
         fetch_hdr_count={count}\tfetch_hdr_bytes={size}\tfetch_body_count=0\tfetch_body_bytes=0\t\
         deleted_count=0\texpunged_count=0\ttrashed_count=0\tautoexpunged_count=0\tappend_count=0\t\
         input_bytes_extra={input}\toutput_bytes_extra={output}\n",
        STANDARD.encode(session),
        1_795_445_434 + random.u32(..100_000),
        std::net::Ipv4Addr::from(ip),
        random.u32(..1000),
        STANDARD.encode(state),
    )
}

fn bytes(random: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.u8(..)).collect()
}

/// 6 to 12 letters and digits.
fn word(random: &mut Rng) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let count = random.usize(6..=12);
    (0..count).map(|_| char::from(letters[random.usize(..letters.len())])).collect()
}
