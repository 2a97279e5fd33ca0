//! A torpor with mail homes of its own, and mail clients that speak to it byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::parts::{Torpor, command, eventually};

/// `torpor serve --maildir` with one user, ann, whose password is `pw`.
pub struct Place {
    pub torpor: Torpor,
    mail: TempDir,
    address: String,
}

impl Place {
    /// Started with these lines in `[front]`.
    pub fn start(front: &str) -> Self {
        Self::start_with(front, "")
    }

    /// The same with further sections.
    pub fn start_with(front: &str, sections: &str) -> Self {
        let mail = homes();
        let torpor = Torpor::start(&config(&mail, front, sections));
        let address = torpor.logged("mail clients connect to ", "");
        Self { torpor, mail, address }
    }

    /// What torpor says when it does not start.
    pub fn refused(front: &str, arguments: &[&str]) -> String {
        let mail = homes();
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("run")).expect("base_dir");
        std::fs::write(dir.path().join("toml"), config(&mail, front, "")).expect("written");
        let output = command(dir.path()).args(arguments).output().expect("torpor starts");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// A client that has read its greeting.
    pub fn connect(&self) -> TcpStream {
        let mut stream = self.connect_raw();
        let greeting = line(&mut stream);
        assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev1 "), "{greeting}");
        stream
    }

    pub fn connect_raw(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("torpor listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        stream
    }

    /// Gauges and totals of the front, once it answers.
    pub fn stats(&self) -> serde_json::Value {
        let mut stats = serde_json::Value::Null;
        eventually("the front answers", || {
            stats = self.torpor.json(&["stats"])["front"].take();
            stats.is_object()
        });
        stats
    }

    pub fn front_pid(&self) -> String {
        let pid = self.torpor.pid();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = text.expect("the kernel lists children");
        let is_front = |pid: &&str| {
            let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split('\0').nth(1) == Some("front")
        };
        children.split_whitespace().find(is_front).expect("it runs").to_owned()
    }

    pub fn add_user(&self, name: &str) {
        let path = self.mail.path().join("users");
        let users = std::fs::read_to_string(path).expect("the file");
        self.write_users(&(users + &user_line(name)));
    }

    pub fn write_users(&self, text: &str) {
        std::fs::write(self.mail.path().join("users"), text).expect("written");
    }
}

/// The next line, without its end.
pub fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).expect("a line comes") > 0 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// All until the end, be it orderly or a reset because we had sent more than was read.
pub fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    if let Err(error) = BufReader::new(stream).read_to_end(&mut text) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "after {text:?}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn homes() -> TempDir {
    let mail = tempfile::Builder::new().prefix("torpor-mail-").tempdir().expect("a folder");
    std::fs::write(mail.path().join("users"), user_line("ann")).expect("written");
    mail
}

fn config(mail: &TempDir, front: &str, sections: &str) -> String {
    let (mail, users) = (mail.path().display(), mail.path().join("users"));
    let users = users.display();
    format!(
        "[front]\nmaildir = \"{mail}\"\nusers = \"{users}\"\nlisten = \"127.0.0.1:0\"\n{front}\n\
         {sections}"
    )
}

/// What `torpor passwd` makes of the password `pw`.
fn user_line(name: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    command.args(["passwd", name, "--cost", "low"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("torpor starts");
    child.stdin.take().expect("a pipe").write_all(b"pw\n").expect("sent");
    let output: Output = child.wait_with_output().expect("it ends");
    let line = output.stdout.lines().next().expect("a line").expect("text");
    assert!(line.starts_with(&format!("{name}:$argon2id$")), "{line}");
    line + "\n"
}
