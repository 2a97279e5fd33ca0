//! Deliveries: a thread that puts mail where a client's server will find it.
//!
//! The moment of a delivery is noted just before the last step that makes it visible, so a
//! latency never misses a part, and the client that reads EXISTS finds the moment already there.

mod append;
mod lmtp;
mod maildir;
mod mailed;

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::users::User;
pub use mailed::Mailed;

/// How mail gets to the users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// A rename from `tmp` to `new`. `{user}` in the path is the user's name; the folder is the
    /// Maildir itself.
    Maildir { template: String },
    /// LMTP (RFC 2033) to a UNIX socket, or to `HOST:PORT`; `{user}` in the recipient.
    Lmtp { to: LmtpPlace, recipient: String },
    /// APPEND by a second session of the same user.
    Append { server: SocketAddr, mailbox: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LmtpPlace {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// One mail, and the clients of this crew that should hear of it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub user: User,
    pub seats: Range<u32>,
}

enum Job {
    /// Write these where nobody sees them, as far as the route knows such a place.
    Stage(Vec<Letter>, oneshot::Sender<()>),
    /// Deliver all that is staged.
    Release,
    /// Deliver this one.
    Post(Letter),
}

/// The thread's other end. Dropping it ends the thread after its last job.
pub struct Postman {
    jobs: Sender<Job>,
    mailed: Arc<Mailed>,
}

impl Postman {
    /// # Errors
    /// No thread could be started.
    pub fn start(route: Route, mailed: Arc<Mailed>) -> io::Result<Self> {
        let (jobs, inbox) = channel();
        let round = Round { route, mailed: Arc::clone(&mailed), staged: Vec::new() };
        std::thread::Builder::new().name("postman".to_owned()).spawn(|| round.work(inbox))?;
        Ok(Self { jobs, mailed })
    }

    /// Gets letters ready and returns once they are.
    pub async fn stage(&self, letters: Vec<Letter>) {
        let (ready, done) = oneshot::channel();
        self.send(Job::Stage(letters, ready));
        done.await.expect("the postman answers each job");
    }

    pub fn release(&self) {
        self.send(Job::Release);
    }

    pub fn post(&self, letter: Letter) {
        self.send(Job::Post(letter));
    }

    /// When each client's mail was delivered, and which deliveries failed.
    pub fn mailed(&self) -> &Mailed {
        &self.mailed
    }

    fn send(&self, job: Job) {
        self.jobs.send(job).expect("the postman works until this end is dropped");
    }
}

/// The thread.
struct Round {
    route: Route,
    mailed: Arc<Mailed>,
    staged: Vec<(Letter, io::Result<Staged>)>,
}

/// What is done of a delivery beforehand.
enum Staged {
    /// All but the rename.
    Maildir(maildir::Staged),
    /// Nothing: a connection for each waiting mail would be a second load on the server.
    Nothing,
}

impl Round {
    fn work(mut self, inbox: Receiver<Job>) {
        for job in inbox {
            match job {
                Job::Stage(letters, ready) => {
                    let staged = letters.into_iter().map(|letter| self.stage(letter));
                    self.staged = staged.collect();
                    // Nobody waits when the crew is ending.
                    let _ = ready.send(());
                }
                Job::Release => {
                    for (letter, staged) in std::mem::take(&mut self.staged) {
                        self.deliver(&letter, staged);
                    }
                }
                Job::Post(letter) => {
                    let (letter, staged) = self.stage(letter);
                    self.deliver(&letter, staged);
                }
            }
        }
    }

    fn stage(&self, letter: Letter) -> (Letter, io::Result<Staged>) {
        let Route::Maildir { template } = &self.route else { return (letter, Ok(Staged::Nothing)) };
        let folder = PathBuf::from(template.replace("{user}", &letter.user.name));
        (letter, maildir::Staged::new(&folder, MESSAGE).map(Staged::Maildir))
    }

    fn deliver(&self, letter: &Letter, staged: io::Result<Staged>) {
        let Letter { user, seats } = letter;
        let visible = || seats.clone().for_each(|seat| self.mailed.stamp(seat));
        let delivered = staged.and_then(|staged| match (staged, &self.route) {
            (Staged::Maildir(staged), _) => staged.release(visible),
            (Staged::Nothing, Route::Lmtp { to, recipient }) => {
                let recipient = recipient.replace("{user}", &user.name);
                lmtp::deliver(to, &recipient, MESSAGE, visible)
            }
            (Staged::Nothing, Route::Append { server, mailbox }) => {
                append::deliver(*server, user, mailbox, MESSAGE, visible)
            }
            (Staged::Nothing, Route::Maildir { .. }) => unreachable!("it is staged, or an error"),
        });
        if let Err(error) = delivered {
            seats.clone().for_each(|seat| self.mailed.fail(seat, error.to_string()));
        }
    }
}

/// A short mail.
const MESSAGE: &str = "From: load@example.org\r\nTo: reader@example.org\r\n\
    Subject: good morning\r\nDate: Mon, 02 Jan 2023 03:04:05 +0000\r\n\r\nGood morning.\r\n";
