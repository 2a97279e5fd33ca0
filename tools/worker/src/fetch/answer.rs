//! One message's answer to FETCH.

use std::io::{self, Write};

use chrono::DateTime as Instant;
use imap_codec::imap_types::datetime::DateTime;
use imap_codec::imap_types::fetch::MessageDataItem;
use torpor_handoff::line::Statistics;
use torpor_store::{Mailbox, Message, StoreError};

use super::plan::{Item, Piece, Plan, encoded};
use crate::encode::flags;
use crate::mail::Mail;
use crate::material;

/// What the answer is made of that is not in the index, read before its first byte is written.
#[derive(Debug, Default)]
pub(super) struct Material {
    size: u64,
    /// Seconds since the epoch.
    date: i64,
    /// As much of the message as the plan needs.
    text: Vec<u8>,
}

impl Material {
    /// Reads what the plan needs and no more: most FETCHes need no file at all.
    ///
    /// # Errors
    /// The store's; `Expunged` if the message has gone.
    pub fn gather(mailbox: &Mailbox, uid: u32, plan: &Plan<'_>) -> Result<Material, StoreError> {
        let mut material = Material::default();
        if plan.needs_date() {
            material.date = mailbox.open_message(uid)?.internal_date();
        }
        if plan.needs_size() {
            material.size = mailbox.size(uid)?;
        }
        material.text = material::read(mailbox, uid, plan.extent())?;
        Ok(material)
    }
}

/// See the module.
pub(super) struct Answer<'a> {
    pub plan: &'a Plan<'a>,
    pub sequence: u32,
    pub message: &'a Message,
    pub is_recent: bool,
    pub keywords: &'a [String],
    pub material: Material,
}

impl Answer<'_> {
    /// Writes the line. Bytes of the message go from the file's bytes to `out` without a copy.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut impl Write, statistics: &mut Statistics) -> io::Result<()> {
        let mail = Mail::new(&self.material.text);
        write!(out, "* {} FETCH (", self.sequence)?;
        for (at, item) in self.plan.items.iter().enumerate() {
            if at > 0 {
                out.write_all(b" ")?;
            }
            self.item(item, &mail, out, statistics)?;
        }
        out.write_all(b")\r\n")
    }

    fn item(
        &self,
        item: &Item<'_>,
        mail: &Mail<'_>,
        out: &mut impl Write,
        statistics: &mut Statistics,
    ) -> io::Result<()> {
        match item {
            Item::Envelope => out.write_all(&encoded(MessageDataItem::Envelope(mail.envelope()))),
            Item::Flags => {
                out.write_all(b"FLAGS ")?;
                flags(out, self.message.flags, self.is_recent, self.keywords)
            }
            Item::InternalDate => {
                out.write_all(&encoded(MessageDataItem::InternalDate(date(self.material.date))))
            }
            Item::ModSeq => write!(out, "MODSEQ ({})", self.message.modseq),
            Item::Section(piece) => self.piece(piece, mail, out, statistics),
            Item::Size => write!(out, "RFC822.SIZE {}", self.material.size),
            Item::Structure { is_extended } => {
                let structure = mail.structure(*is_extended);
                out.write_all(&encoded(match is_extended {
                    true => MessageDataItem::BodyStructure(structure),
                    false => MessageDataItem::Body(structure),
                }))
            }
            Item::Uid => write!(out, "UID {}", self.message.uid),
        }
    }

    fn piece(
        &self,
        piece: &Piece<'_>,
        mail: &Mail<'_>,
        out: &mut impl Write,
        statistics: &mut Statistics,
    ) -> io::Result<()> {
        let slices = mail.section(piece.section.as_ref());
        let size = slices.wire_size();
        let (offset, count) = match piece.partial {
            None => (0, size),
            Some((offset, count)) => {
                let offset = u64::from(offset).min(size);
                (offset, u64::from(count.get()).min(size - offset))
            }
        };
        out.write_all(&piece.label)?;
        write!(out, " {{{count}}}\r\n")?;
        slices.write(offset, count, out)?;
        let (number, bytes) = match piece.is_header() {
            true => (&mut statistics.fetch_hdr_count, &mut statistics.fetch_hdr_bytes),
            false => (&mut statistics.fetch_body_count, &mut statistics.fetch_body_bytes),
        };
        *number = number.saturating_add(1);
        *bytes = bytes.saturating_add(count);
        Ok(())
    }
}

/// INTERNALDATE in UTC; the epoch for what four digits of a year cannot say.
fn date(seconds: i64) -> DateTime {
    let shown =
        |seconds| DateTime::try_from(Instant::from_timestamp(seconds, 0)?.fixed_offset()).ok();
    shown(seconds).or_else(|| shown(0)).expect("the epoch has a year of four digits")
}
