//! A session under COMPRESS (RFC 4978) stays with its worker, which holds the state of both
//! streams: Dovecot does not offer it, and it goes on as ever.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use torpor::dovecot::{Client, Dovecot, Mailbox, Options, Version};

use crate::corpus::ground;
use crate::fleet::torpor;

#[test]
fn dovecot23_compressed_sessions_stay_awake() {
    compressed(Version::V23);
}

#[test]
fn dovecot24_compressed_sessions_stay_awake() {
    compressed(Version::V24);
}

fn compressed(version: Version) {
    let dovecot = Dovecot::start(&ground(version)).expect("a private Dovecot starts");
    let torpor = torpor(&dovecot, "");
    let user = Options::user(1);
    let mut client = Client::login(dovecot.endpoint(false), &user, "pw").expect("a login");
    client.command("SELECT INBOX").expect("INBOX");
    client.command("COMPRESS DEFLATE").expect("compression");
    let mut deflated = Deflated::over(client.tcp()).expect("a second descriptor");
    deflated.send("k IDLE\r\n").expect("a command");
    deflated.expect("+ idling").expect("it idles");
    thread::sleep(PAST_HIBERNATION);
    assert!(dovecot.awake_users().contains(&user), "its worker has gone");
    dovecot.mailbox(&user).deliver(&Mailbox::message("news")).expect("a delivery");
    deflated.expect("* 1 EXISTS").expect("the mail is announced");
    deflated.send("DONE\r\n").expect("DONE");
    deflated.expect("k OK").expect("DONE is answered");
    let stats = torpor.control(&["stats", "--json"]).expect("stats");
    assert!(stats.contains("\"hibernated\": 0") && stats.contains("\"refused\": 0"), "{stats}");
}

/// Both directions of a compressed connection.
struct Deflated {
    lines: BufReader<DeflateDecoder<TcpStream>>,
    out: DeflateEncoder<TcpStream>,
}

impl Deflated {
    fn over(tcp: &TcpStream) -> io::Result<Deflated> {
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let lines = BufReader::new(DeflateDecoder::new(tcp.try_clone()?));
        Ok(Deflated { lines, out: DeflateEncoder::new(tcp.try_clone()?, Compression::fast()) })
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Reads lines through the first that begins so.
    fn expect(&mut self, prefix: &str) -> io::Result<()> {
        let mut line = String::new();
        while !line.starts_with(prefix) {
            line.clear();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("closed before {prefix:?}")));
            }
        }
        Ok(())
    }
}

const PAST_HIBERNATION: Duration = Duration::from_millis(1800);
