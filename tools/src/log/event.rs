//! What happened to clients, in Dovecot's words.

use torpor_engine::report::{Cause, Event, Goodbye};
use torpor_engine::ring::Peer;
use torpor_handoff::message::Outcome;
use tracing::{debug, error, info, warn};

use super::{pid, prefix};
use crate::card::Card;
use crate::config::Level;

/// An event with its words, away from the engine thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub event: Event,
    /// Microseconds since the epoch: when the client was hibernated (0: never), and now.
    pub started_us: u64,
    pub now_us: u64,
    pub card: Card,
    /// The worker's reason, or which field of a line was bad.
    pub text: String,
}

impl Said {
    /// The level of the most important line that the event leads to.
    pub fn level(event: &Event) -> Level {
        match event {
            Event::Hibernated
            | Event::Unhibernated(_)
            | Event::Retried(_)
            | Event::KeptAwake(_) => Level::Debug,
            Event::Disconnected(Goodbye::Waited | Goodbye::Lost | Goodbye::Damaged) => Level::Error,
            Event::Disconnected(_) => Level::Info,
            Event::Refused(_) | Event::Broken(_) => Level::Warning,
            Event::Torn(_) | Event::Trouble(_) => Level::Error,
        }
    }

    fn asleep_us(&self) -> u64 {
        self.now_us.saturating_sub(self.started_us)
    }
}

/// Dovecot's fields of a client's event, then those of the event itself.
macro_rules! client {
    ($level:ident, $said:expr, $($rest:tt)*) => {{
        let card = &$said.card;
        let prefix = prefix::expand(card, pid());
        $level!(
            prefix,
            user = card.user,
            session = card.session,
            mailbox = some(&card.mailbox),
            local_ip = some(&card.lip),
            local_port = some(&card.lport),
            remote_ip = some(&card.rip),
            remote_port = some(&card.rport),
            $($rest)*
        )
    }};
}

/// Writes the event's line or lines.
pub fn say(said: &Said) {
    match said.event {
        Event::Hibernated => {
            client!(debug, said, event = "imap_client_hibernated", "{}", hibernated(&said.card));
        }
        Event::Unhibernated(cause) => unhibernated(said, reason_of(cause)),
        Event::Retried(outcome) => {
            let error = outcome_text(&outcome, &said.text);
            let event = "imap_client_unhibernate_retried";
            client!(debug, said, event, error, "Unhibernation failed: {error} - retrying");
        }
        Event::Disconnected(goodbye) => disconnected(said, goodbye),
        Event::Refused(peer) => {
            let (conn, text) = (conn_of(peer), &said.text);
            warn!(event = "refused", pid = peer.pid, uid = peer.uid, "{conn}: Refused: {text}");
        }
        Event::KeptAwake(peer) => {
            let (conn, text) = (conn_of(peer), &said.text);
            debug!(event = "kept_awake", pid = peer.pid, uid = peer.uid, "{conn}: {text}");
        }
        Event::Broken(peer) => {
            let (conn, text) = (conn_of(peer), &said.text);
            warn!(event = "broken", pid = peer.pid, uid = peer.uid, "{conn}: {text}");
        }
        Event::Torn(slot) => {
            error!(event = "torn", slot, "host: a record was damaged; its client is dropped");
        }
        Event::Trouble(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            error!(event = "trouble", errno, "host: {error}{}", colon(&said.text));
        }
    }
}

fn unhibernated(said: &Said, reason: &str) {
    let us = said.asleep_us();
    client!(
        debug,
        said,
        event = "imap_client_unhibernated",
        reason,
        hibernation_usecs = us,
        "Unhibernated because {reason} (hibernated for {}.{:06} secs)",
        us / 1_000_000,
        us % 1_000_000
    );
}

fn disconnected(said: &Said, goodbye: Goodbye) {
    let failure = match goodbye {
        Goodbye::Waited => Some("no worker took the client within the configured time"),
        Goodbye::Lost => Some("Timeout communicating with imap-master (version received)"),
        Goodbye::Damaged => Some("the client's words in the cold store are damaged"),
        _ => None,
    };
    if let Some(text) = failure {
        let error = format!("{text}{}", colon(&said.text));
        client!(
            error,
            said,
            event = "imap_client_unhibernated",
            hibernation_usecs = said.asleep_us(),
            error,
            "Failed to unhibernate client: {error}"
        );
    }
    let reason = goodbye.to_string();
    let stats = &said.card.stats;
    let event = "imap_client_disconnected";
    client!(info, said, event, reason, stats, "Disconnected: {reason} {stats}");
}

fn hibernated(card: &Card) -> String {
    match card.mailbox.as_str() {
        "" => "Hibernated with no mailbox selected".to_owned(),
        mailbox => format!("Hibernated in mailbox {mailbox}"),
    }
}

/// Dovecot's names, as far as it has them.
fn reason_of(cause: Cause) -> &'static str {
    match cause {
        Cause::Input => "idle_done",
        Cause::Change => "mailbox_changes",
        Cause::Cut => "output_cut",
    }
}

fn outcome_text(outcome: &Outcome, text: &str) -> String {
    format!("{outcome}{}", colon(text))
}

fn conn_of(peer: Peer) -> String {
    format!("conn unix:imap-hibernate (pid={},uid={})", peer.pid, peer.uid)
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Fields without a value are left out.
fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
