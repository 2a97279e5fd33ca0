//! APPEND. The message goes from the client to the disk in small pieces.

use std::io::{self, Read, Write as _};

use imap_codec::imap_types::core::LiteralMode;
use torpor_store::{Mailbox, StoreError};

use super::copy::try_create;
use super::{known_flags, mailbox_name};
use crate::end::{End, Trouble};
use crate::intake::{self, AppendHead};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::link::Link;
use crate::open::open;
use crate::reply::Reply;
use crate::session::Session;

impl Session {
    /// Whatever can be refused is refused before the message is read.
    pub(crate) fn append(&mut self, head: AppendHead) -> Result<Reply, Trouble> {
        let (mut mailbox, flags) = match self.append_target(&head) {
            Ok(Ok(target)) => target,
            Ok(Err(reply)) => return self.refuse_append(&head, reply),
            Err(error) => {
                let reply = self.reply_to(Err(error.into()))?;
                return self.refuse_append(&head, reply);
            }
        };
        if head.mode == LiteralMode::Sync {
            self.link.write_all(b"+ OK\r\n")?;
        }
        let mut body = Body::new(&mut self.link, head.size);
        let date = head.date.as_ref().map(|date| date.as_ref().timestamp());
        let uid = match mailbox.append(&mut body, head.size.into(), flags, date) {
            Ok(uid) => uid,
            Err(error) => {
                let failure = body.finish()?;
                return failure.map_or_else(|| Err(error.into()), Ok);
            }
        };
        assert!(body.finish()?.is_none(), "a message is stored only if its command was whole");
        let count = &mut self.statistics.append_count;
        *count = count.saturating_add(1);
        let code = format!("APPENDUID {} {uid}", mailbox.uid_validity());
        self.synced(Reply::ok("Append completed.").code(code))
    }

    fn append_target(
        &mut self,
        head: &AppendHead,
    ) -> Result<Result<(Mailbox, torpor_store::Flags), Reply>, StoreError> {
        if head.size > MESSAGE_BYTES_MAX {
            return Ok(Err(Reply::no("Message too large.").code("TOOBIG")));
        }
        if head.size == 0 {
            // An empty literal is how a client takes its APPEND back.
            return Ok(Err(Reply::no("Can't save a zero byte message.")));
        }
        let mut mailbox = match open(&self.home, &mailbox_name(&head.mailbox)?, &self.log) {
            Err(StoreError::NotFound) => return Ok(Err(try_create())),
            other => other?,
        };
        let flags = known_flags(&mut mailbox, &head.flags, true)?;
        Ok(flags.map(|flags| (mailbox, flags)))
    }

    /// A client that waits for our `+` sends nothing more; what another one sends is skipped.
    fn refuse_append(&mut self, head: &AppendHead, reply: Reply) -> Result<Reply, Trouble> {
        if head.mode == LiteralMode::NonSync {
            if head.size > MESSAGE_BYTES_MAX {
                return Err(End::LiteralTooLarge.into());
            }
            self.link.skip(head.size.into())?;
            intake::discard_rest(&mut self.link)?;
        }
        Ok(reply)
    }
}

/// The literal of an APPEND. Its last byte is given out only when the command has ended as it
/// should, so that a store that commits after the last byte never keeps half a command.
struct Body<'a> {
    link: &'a mut Link,
    left: u32,
    /// The line end has been read; true if nothing stood before it.
    rest_is_empty: Option<bool>,
}

impl<'a> Body<'a> {
    fn new(link: &'a mut Link, size: u32) -> Self {
        Self { link, left: size, rest_is_empty: None }
    }

    /// Reads what the store has left, and says what was wrong with the command.
    fn finish(mut self) -> Result<Option<Reply>, End> {
        let read = io::copy(&mut self, &mut io::sink());
        match (self.rest_is_empty, read) {
            (Some(true), _) => Ok(None),
            (Some(false), _) => Ok(Some(Reply::bad("Unexpected text after the message."))),
            (None, Err(error)) => Err(error.into()),
            // The store has met the end of the session before us.
            (None, Ok(_)) => Err(End::Gone(None)),
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || bytes.is_empty() {
            return Ok(0);
        }
        let room = bytes.len().min((self.left as usize - 1).max(1));
        let count = self.link.read(&mut bytes[..room])?;
        self.left -= u32::try_from(count).expect("below left");
        if self.left == 0 {
            let is_empty = intake::discard_rest(self.link)?;
            self.rest_is_empty = Some(is_empty);
            if !is_empty {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(count)
    }
}
