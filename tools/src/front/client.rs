//! One connection from its greeting to its login, and what the log says about it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use torpor_worker::CAPABILITIES_BEFORE_LOGIN;

use super::crew::Fresh;
use super::lobby::{Guest, Refusal};
use super::talk::{Login, Next, Talk};
use super::users::{NAME_BYTES_MAX, UserName};
use super::{Front, session};

/// A connection that was let in.
struct Client {
    front: Arc<Front>,
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    session: String,
    started: Instant,
    /// Wrong passwords, and the name that the last came with.
    failures: u32,
    user: String,
}

/// Somebody who has logged in.
struct Admitted {
    user: UserName,
    login: Login,
    input: Vec<u8>,
}

/// How a connection ends without a login. The text is for the log.
struct End(&'static str);

/// Serves a connection until it is a worker's, or closed.
pub async fn serve(front: Arc<Front>, mut stream: TcpStream, peer: SocketAddr) {
    let (guest, displaced) = match front.lobby.enter(peer.ip()) {
        Ok(entered) => entered,
        Err(refusal) => return refuse(&front, &mut stream, refusal).await,
    };
    front.counts.connections.add();
    let Ok(mut client) = Client::new(front, stream, peer) else { return };
    let timeout = Duration::from_millis(client.front.knobs.auth_timeout_ms);
    let counts = Arc::clone(&client.front.counts);
    let admitted = tokio::select! {
        admitted = client.admit(&guest) => admitted,
        _ = displaced => {
            counts.displaced.add();
            Err(client.bye("Too many connections"))
        }
        () = sleep(timeout) => {
            counts.refused_time.add();
            Err(client.bye("Disconnected for inactivity before login"))
        }
    };
    drop(guest);
    match admitted {
        Ok(admitted) => client.hand_over(admitted).await,
        Err(End(reason)) => client.log_end(reason),
    }
}

impl Client {
    fn new(front: Arc<Front>, stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        // Answers are small and whole.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (session, started) = (session::id(), Instant::now());
        let user = String::new();
        Ok(Self { front, stream, peer, local, session, started, failures: 0, user })
    }

    /// Talks until somebody has logged in.
    async fn admit(&mut self, guest: &Guest) -> Result<Admitted, End> {
        let mut talk = Talk::new(self.front.knobs.auth_bytes_max);
        let mut buffer = [0; READ_BYTES];
        self.say(&format!("* OK [CAPABILITY {CAPABILITIES_BEFORE_LOGIN}] torpor ready\r\n"))
            .await?;
        loop {
            match talk.next() {
                Next::Read => match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return Err(End("Connection closed")),
                    Ok(count) => talk.feed(&buffer[..count]),
                },
                Next::Say(text) => self.say(&text).await?,
                Next::End(ending) => {
                    if ending.is_flood {
                        self.front.counts.refused_bytes.add();
                    }
                    self.say(&ending.text).await?;
                    return Err(End(if ending.is_flood { "Too many bytes" } else { "Logged out" }));
                }
                Next::Login(login) => {
                    if let Some(user) = self.check(&login, guest).await? {
                        return Ok(Admitted { user, login, input: talk.into_unread() });
                    }
                }
            }
        }
    }

    /// Compares the password, and answers a wrong one after its time.
    async fn check(&mut self, login: &Login, guest: &Guest) -> Result<Option<UserName>, End> {
        let user = self.front.check(login.user.clone(), login.password.clone()).await;
        if user.is_some() {
            return Ok(user);
        }
        self.failures += 1;
        let shown = &login.user[..login.user.len().min(NAME_BYTES_MAX)];
        self.user = String::from_utf8_lossy(shown).into_owned();
        let (delay, last) = guest.failed();
        sleep(delay).await;
        let tag = &login.tag;
        let text = format!("{tag} NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
        self.say(&text).await?;
        if last { Err(self.bye("Too many failed logins")) } else { Ok(None) }
    }

    /// Gives the socket to a worker of its own.
    async fn hand_over(mut self, admitted: Admitted) {
        let Admitted { user, login, input } = admitted;
        let wait = Duration::from_millis(self.front.knobs.worker_wait_ms_max);
        let Some(room) = self.front.crew.room_within(wait).await else {
            self.front.counts.refused_full.add();
            let text = format!("{} NO [LIMIT] {FULL}\r\n* BYE {FULL}\r\n", login.tag);
            // It may have left meanwhile.
            let _ = self.say(&text).await;
            return self.log_end("No worker became free");
        };
        let Self { front, stream, peer, local, session, .. } = self;
        let (tag, method) = (login.tag, login.method.name());
        let fresh = Fresh { user, session, tag, local, peer, input };
        let started = apart(stream).and_then(|(client, mut copy)| {
            let started = front.crew.start_fresh(room, client, &fresh);
            started.inspect_err(|_| {
                let text = format!("{} NO [UNAVAILABLE] Try again later\r\n", fresh.tag);
                // A socket that was idle takes a line without waiting.
                let _ = copy.write_all(text.as_bytes());
            })
        });
        let Fresh { user, session, .. } = fresh;
        match started {
            Ok(pid) => {
                front.counts.logins.add();
                let (rip, lip, user) = (peer.ip(), local.ip(), user.as_str());
                tracing::info!(
                    prefix = PREFIX,
                    event = "login",
                    user,
                    session,
                    remote_ip = %rip,
                    "Login: user=<{user}>, method={method}, rip={rip}, lip={lip}, mpid={pid}, \
                     session=<{session}>"
                );
            }
            Err(error) => tracing::error!("a worker cannot be started: {error}"),
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), End> {
        let sent = self.stream.write_all(text.as_bytes()).await;
        sent.map_err(|_| End("Connection closed"))
    }

    /// The last words.
    fn bye(&mut self, reason: &'static str) -> End {
        // A client that does not read, or has gone, is closed without them.
        let text = format!("* BYE {reason}\r\n");
        let _ = self.stream.try_write(text.as_bytes());
        End(reason)
    }

    /// As Dovecot writes it, for the patterns of those who ban addresses.
    fn log_end(&self, reason: &str) {
        let Self { failures, user, session, .. } = self;
        let (rip, lip) = (self.peer.ip(), self.local.ip());
        let secs = self.started.elapsed().as_secs();
        let tried = match failures {
            0 => Cow::from(format!("no auth attempts in {secs} secs")),
            _ => format!("auth failed, {failures} attempts in {secs} secs").into(),
        };
        tracing::info!(
            prefix = PREFIX,
            event = "login_ended",
            user,
            session,
            remote_ip = %rip,
            failures,
            "Disconnected: {reason} ({tried}): user=<{user}>, rip={rip}, lip={lip}, \
             session=<{session}>"
        );
    }
}

/// The socket as an ordinary one, and a copy for last words.
fn apart(stream: TcpStream) -> io::Result<(OwnedFd, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let copy = stream.try_clone()?;
    Ok((stream.into(), copy))
}

async fn refuse(front: &Front, stream: &mut TcpStream, refusal: Refusal) {
    let text = match refusal {
        Refusal::Crowd => {
            front.counts.refused_crowd.add();
            "* BYE Too many connections from your address\r\n"
        }
        Refusal::Banned => {
            front.counts.refused_banned.add();
            "* BYE Too many failed logins from your address\r\n"
        }
    };
    // A new socket takes a line without waiting; if it has gone, nobody reads it.
    let _ = stream.write_all(text.as_bytes()).await;
}

const PREFIX: &str = "imap-login: ";
const FULL: &str = "Too many clients are busy, try again later";
const READ_BYTES: usize = 4096;
