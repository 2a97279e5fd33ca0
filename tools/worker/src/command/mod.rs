//! The commands, a family a file. Each is a method of [`Session`](crate::session::Session) that
//! writes its untagged lines and returns its tagged one.

mod append;
mod basic;
mod copy;
mod expunge;
mod folder;
mod idle;
mod list;
mod pattern;
mod select;
mod status;
pub(crate) mod store;

use imap_codec::imap_types::flag::Flag;
use imap_codec::imap_types::mailbox::Mailbox as NamedMailbox;
use torpor_store::{Flags, Mailbox, MailboxName, StoreError};

use crate::reply::Reply;

/// The name a client gave, if it is one that the store can have.
pub(crate) fn mailbox_name(named: &NamedMailbox<'_>) -> Result<MailboxName, StoreError> {
    match named {
        NamedMailbox::Inbox => Ok(MailboxName::inbox()),
        // Names are ASCII (modified UTF-7), so what is no text is refused as well.
        NamedMailbox::Other(name) => {
            MailboxName::parse(&String::from_utf8_lossy(name.inner().as_ref()))
        }
    }
}

/// The flags a client named, as those of this mailbox. `Err` holds the reply to flags that nobody
/// may set. Keywords that are new are added if `add`, else they are left out.
pub(crate) fn known_flags(
    mailbox: &mut Mailbox,
    named: &[Flag<'_>],
    add: bool,
) -> Result<Result<Flags, Reply>, StoreError> {
    let mut flags = Flags::default();
    for flag in named {
        let known = match flag {
            Flag::Answered => Flags::ANSWERED,
            Flag::Deleted => Flags::DELETED,
            Flag::Draft => Flags::DRAFT,
            Flag::Flagged => Flags::FLAGGED,
            Flag::Seen => Flags::SEEN,
            Flag::Extension(_) => {
                return Ok(Err(Reply::bad(format!("Invalid system flag {flag}."))));
            }
            Flag::Keyword(name) => match keyword(mailbox, name.inner(), add)? {
                Some(number) => Flags::of_keyword(number),
                None if add => return Ok(Err(Reply::no("Too many keywords.").code("LIMIT"))),
                None => Flags::default(),
            },
        };
        flags = flags | known;
    }
    Ok(Ok(flags))
}

fn keyword(mailbox: &mut Mailbox, name: &str, add: bool) -> Result<Option<u8>, StoreError> {
    if add {
        return mailbox.keyword(name);
    }
    let known = mailbox.keywords().iter().position(|known| known.eq_ignore_ascii_case(name));
    Ok(known.map(|at| u8::try_from(at).expect("at most 56 keywords")))
}
