//! One client, from its login or wake to its end.
//!
//! ```text
//!             ┌────────────── request ◄── intake ◄── link
//!             ▼
//!        command::* ──► store            IDLE, quiet ──► hibernate ──► the engine
//!             │                                                           │
//!       untagged lines, sync, tagged line ──► link      unhibernate ◄─────┘
//! ```
//! A session is in RFC 3501's authenticated state, or in its selected state if `selected` is there.
//! One command at a time; whatever goes wrong inside of one costs that command alone.

use std::io::Write as _;

use imap_codec::imap_types::command::{Command, CommandBody};
use torpor_handoff::line::Statistics;
use torpor_store::{Home, StoreError};

use crate::account::{Account, Options};
use crate::command::store::StoreWish;
use crate::end::{End, Trouble};
use crate::features::Features;
use crate::fetch::FetchWish;
use crate::intake::{self, Request};
use crate::limits::{BAD_COMMANDS_MAX, MESSAGE_BYTES_MAX};
use crate::link::Link;
use crate::log::Log;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::selected::Selected;
use crate::sync::{Telling, Told};
use crate::watch::Watch;

/// See the module.
#[derive(Debug)]
pub struct Session {
    pub(crate) link: Link,
    pub(crate) account: Account,
    pub(crate) options: Options,
    pub(crate) home: Home,
    pub(crate) features: Features,
    pub(crate) selected: Option<Selected>,
    pub(crate) statistics: Statistics,
    pub(crate) log: Log,
    /// Of an IDLE that has ended, until its answer is out: to close it takes the kernel 8 to 16 ms.
    pub(crate) old_watch: Option<Watch>,
    bad_commands: u32,
}

impl Session {
    /// `home` is that of `account`.
    pub fn new(link: Link, account: Account, options: Options, home: Home) -> Self {
        let log = Log::new(&account);
        Self {
            link,
            account,
            options,
            home,
            features: Features::default(),
            selected: None,
            statistics: Statistics::default(),
            log,
            old_watch: None,
            bad_commands: 0,
        }
    }

    /// Answers the login, then serves. `tag` is that of the login command.
    pub fn greet_and_run(mut self, tag: &str) -> End {
        let welcome = Reply::ok("Logged in").code(format!("CAPABILITY {CAPABILITIES}"));
        match welcome.write(&mut self.link, Some(tag)) {
            Ok(()) => self.run(),
            Err(error) => self.finish(error.into()),
        }
    }

    /// Serves until the end.
    pub fn run(mut self) -> End {
        loop {
            if let Err(end) = self.turn() {
                return self.finish(end);
            }
        }
    }

    /// Says goodbye, if there is anybody to say it to.
    pub(crate) fn finish(mut self, end: End) -> End {
        if let Some(text) = end.bye() {
            // Nothing is lost if this does not get through: the connection ends either way.
            let _ = write!(self.link, "* BYE {text}\r\n").and_then(|()| self.link.flush());
        }
        match &end {
            End::HandedOver => {}
            end => self.log.info(format_args!("{end} {}", self.totals())),
        }
        end
    }

    fn turn(&mut self) -> Result<(), End> {
        if let Some(watch) = self.old_watch.take() {
            self.link.flush()?;
            drop(watch);
        }
        let (tag, reply) = match intake::next(&mut self.link)? {
            Request::Bad { tag, reply } => (tag, reply),
            Request::Append(head) => {
                let tag = head.tag.clone();
                let outcome = self.append(head);
                (Some(tag), self.reply_to(outcome)?)
            }
            Request::Command(command) => {
                let Command { tag, body } = *command;
                let outcome = self.execute(tag.inner(), body);
                (Some(tag.inner().to_owned()), self.reply_to(outcome)?)
            }
        };
        reply.write(&mut self.link, tag.as_deref())?;
        self.bad_commands = if reply.is_bad() { self.bad_commands + 1 } else { 0 };
        if self.bad_commands >= BAD_COMMANDS_MAX {
            return Err(End::Malformed);
        }
        Ok(())
    }

    /// A mailbox that says no costs the command; only an end ends the session.
    pub(crate) fn reply_to(&self, outcome: Result<Reply, Trouble>) -> Result<Reply, End> {
        match outcome {
            Ok(reply) => Ok(reply),
            Err(Trouble::End(end)) => Err(end),
            Err(Trouble::Store(error)) => {
                if matches!(error, StoreError::Damaged { .. } | StoreError::Io { .. }) {
                    self.log.error(&error);
                }
                Ok(Reply::from(&error))
            }
        }
    }

    fn execute(&mut self, tag: &str, body: CommandBody<'_>) -> Result<Reply, Trouble> {
        match body {
            CommandBody::Capability => self.capability(),
            CommandBody::Noop => self.synced(Reply::ok("NOOP completed.")),
            CommandBody::Logout => self.logout(tag),
            CommandBody::Id { .. } => self.id(),
            CommandBody::Namespace => self.namespace(),
            CommandBody::Enable { capabilities } => self.enable(capabilities.as_ref()),
            CommandBody::Idle => self.idle(tag),
            CommandBody::List { reference, mailbox_wildcard } => {
                self.list(&reference, &mailbox_wildcard)
            }
            CommandBody::Lsub { reference, mailbox_wildcard } => {
                self.lsub(&reference, &mailbox_wildcard)
            }
            CommandBody::Status { mailbox, item_names } => self.status(&mailbox, &item_names),
            CommandBody::Create { mailbox } => self.create(&mailbox),
            CommandBody::Delete { mailbox } => self.delete(&mailbox),
            CommandBody::Rename { from, to } => self.rename(&from, &to),
            CommandBody::Subscribe { mailbox } => self.subscribe(&mailbox),
            CommandBody::Unsubscribe { mailbox } => self.unsubscribe(&mailbox),
            CommandBody::Select { mailbox, parameters } => {
                self.select(&mailbox, &parameters, false)
            }
            CommandBody::Examine { mailbox, parameters } => {
                self.select(&mailbox, &parameters, true)
            }
            CommandBody::Login { .. } | CommandBody::Authenticate { .. } => {
                Ok(Reply::bad("Already logged in."))
            }
            other => self.execute_selected(other),
        }
    }

    fn execute_selected(&mut self, body: CommandBody<'_>) -> Result<Reply, Trouble> {
        if self.selected.is_none() {
            return Ok(Reply::bad("No mailbox selected."));
        }
        match body {
            CommandBody::Check => self.synced(Reply::ok("Check completed.")),
            CommandBody::Unselect => self.unselect(),
            CommandBody::Close => self.close(),
            CommandBody::Expunge => self.expunge(None),
            CommandBody::ExpungeUid { sequence_set } => self.expunge(Some(&sequence_set)),
            CommandBody::Store { sequence_set, kind, response, flags, uid, modifiers } => {
                self.store(&sequence_set, &StoreWish { kind, response, flags, uid, modifiers })
            }
            CommandBody::Fetch { sequence_set, macro_or_item_names: names, uid, modifiers } => {
                self.sync(false, &Ranges::default())?;
                self.fetch(&sequence_set, &FetchWish { names, uid, modifiers })
            }
            CommandBody::Search { charset, criteria, uid } => {
                self.sync(false, &Ranges::default())?;
                self.search(charset.as_ref(), criteria.as_ref(), uid)
            }
            CommandBody::Copy { sequence_set, mailbox, uid } => {
                self.copy(&sequence_set, &mailbox, uid, false)
            }
            CommandBody::Move { sequence_set, mailbox, uid } => {
                self.copy(&sequence_set, &mailbox, uid, true)
            }
            _ => Ok(Reply::bad("Unknown command.")),
        }
    }
}

/// Small things that commands share.
impl Session {
    /// Tells what others have done. `known` are UIDs whose present flags the client knows.
    pub(crate) fn sync(&mut self, expunges: bool, known: &Ranges) -> Result<Told, Trouble> {
        match &mut self.selected {
            Some(selected) => {
                let telling = Telling { features: self.features, expunges, known };
                selected.sync(&mut self.link, telling)
            }
            None => Ok(Told::default()),
        }
    }

    /// A sync that nobody has asked for. A mailbox that is gone ends the session, since there is no
    /// command to say NO to; one that cannot be read now is looked at again.
    pub(crate) fn look(&mut self) -> Result<bool, End> {
        match self.sync(true, &Ranges::default()) {
            Err(Trouble::Store(StoreError::NotFound)) => {
                Err(End::Inconsistent("Selected mailbox was deleted"))
            }
            Err(Trouble::Store(error)) => {
                self.log.error(&error);
                Ok(false)
            }
            Err(Trouble::End(end)) => Err(end),
            Ok(told) => Ok(told.any),
        }
    }

    /// The end of a command at which everything may be told. A client that hears VANISHED, which
    /// brings no modseq, hears where it stands (RFC 7162, 3.2.7).
    pub(crate) fn synced(&mut self, reply: Reply) -> Result<Reply, Trouble> {
        let told = self.sync(true, &Ranges::default())?;
        match &self.selected {
            Some(selected) if told.expunges && self.features.qresync => {
                Ok(reply.or_code(format!("HIGHESTMODSEQ {}", selected.view.modseq)))
            }
            _ => Ok(reply),
        }
    }

    /// What the log and the engine call this session's statistics; Dovecot's `imap_logout_format`.
    pub(crate) fn totals(&self) -> String {
        let Statistics { deleted_count, expunged_count, trashed_count, .. } = self.statistics;
        let Statistics { fetch_hdr_count, fetch_hdr_bytes, .. } = self.statistics;
        let Statistics { fetch_body_count, fetch_body_bytes, .. } = self.statistics;
        let (input, output) = self.traffic();
        format!(
            "in={input} out={output} deleted={deleted_count} expunged={expunged_count} \
             trashed={trashed_count} hdr_count={fetch_hdr_count} hdr_bytes={fetch_hdr_bytes} \
             body_count={fetch_body_count} body_bytes={fetch_body_bytes}"
        )
    }

    /// Bytes read and written in the whole session, earlier processes included.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let (input, output) = self.link.totals();
        let Statistics { input_bytes_extra, output_bytes_extra, .. } = self.statistics;
        (input_bytes_extra + input, output_bytes_extra + output)
    }
}

/// What a logged-in client is told that this server can do.
pub const CAPABILITIES: &str = "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN \
    UNSELECT UIDPLUS MOVE CONDSTORE QRESYNC APPENDLIMIT=67108864";

/// What can be done before the login, for the front to say.
pub const CAPABILITIES_BEFORE_LOGIN: &str = "IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN";

const _: () = assert!(MESSAGE_BYTES_MAX == 67_108_864, "as CAPABILITIES says");
