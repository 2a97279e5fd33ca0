//! The two servers, with the corpus in INBOX of one user each.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use torpor::dovecot::{Dovecot, Options as DovecotOptions, Version};
use torpor_store::Home;
use torpor_worker::link::Link;
use torpor_worker::session::Session;
use torpor_worker::{Account, Options};

use super::corpus::{Mail, deliver, mails};
use super::talk::{Answer, Talk};

/// See the module. Dropping it ends both.
pub struct Place {
    pub mails: Vec<Mail>,
    referee: Talk,
    ours: Talk,
    _dovecot: Dovecot,
    _home: TempDir,
}

/// What the two answered to one command.
pub struct Both {
    pub referee: Answer,
    pub ours: Answer,
}

impl Place {
    /// INBOX is selected in both.
    pub fn new(version: Version) -> Place {
        let mails = mails();
        let options = DovecotOptions { hibernate_timeout_secs: 0, ..DovecotOptions::new(version) };
        let dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
        let user = DovecotOptions::user(1);
        let inbox = dovecot.mailbox(&user);
        let maildir = inbox.path();
        let above = maildir.parent().expect("a home");
        std::fs::create_dir_all(above).expect("a home can be made");
        std::os::unix::fs::chown(above, Some(options.mail_uid), None).expect("run as root");
        deliver(&mails, maildir, options.mail_uid);
        let stream = TcpStream::connect(dovecot.endpoint(false).address).expect("Dovecot listens");
        let mut referee = Talk::over(stream);
        referee.command(&format!("LOGIN {user} pw"));
        let home = tempfile::tempdir().expect("a temporary folder");
        deliver(&mails, home.path(), 0);
        let ours = worker(&home);
        let mut place = Place { mails, referee, ours, _dovecot: dovecot, _home: home };
        let select = place.both("SELECT INBOX");
        let exists = format!("{} EXISTS", place.mails.len()).into_bytes();
        assert!(select.referee.untagged.contains(&exists), "{:?}", select.referee);
        assert!(select.ours.untagged.contains(&exists), "{:?}", select.ours);
        place
    }

    /// Sends a command to both; they agree on OK, NO or BAD.
    pub fn both(&mut self, command: &str) -> Both {
        let (referee, ours) = (self.referee.command(command), self.ours.command(command));
        let word = |answer: &Answer| answer.tagged.split(' ').next().map(str::to_owned);
        assert_eq!(word(&referee), word(&ours), "{command}: {} | {}", referee.tagged, ours.tagged);
        Both { referee, ours }
    }
}

/// A session of the built-in worker, on a thread of its own.
pub fn worker(home: &TempDir) -> Talk {
    let (client, server) = UnixStream::pair().expect("a socket pair");
    let (path, base_dir) = (home.path().to_path_buf(), home.path().join("none"));
    thread::spawn(move || {
        let link = Link::new(OwnedFd::from(server), None).expect("a socket");
        let options =
            Options { base_dir, hibernate_after: Duration::ZERO, keepalive: Duration::ZERO };
        let account = Account { user: "referee".into(), home: path, ..Account::default() };
        let home = Home::open(&account.home).expect("the Maildir can be opened");
        Session::new(link, account, options, home).greet_and_run("r0")
    });
    Talk::over(client)
}
