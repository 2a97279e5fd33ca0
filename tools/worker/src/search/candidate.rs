//! One message that a SEARCH asks about: what is needed of it is read once, and not before.

use std::cell::OnceCell;

use chrono::{DateTime, NaiveDate};
use torpor_store::{Mailbox, Message, StoreError};

use super::query::Test;
use crate::mail::Mail;
use crate::material::{self, Extent};

/// See the module.
pub(super) struct Candidate<'a> {
    pub sequence: u32,
    pub message: &'a Message,
    pub is_recent: bool,
    mailbox: &'a Mailbox,
    /// At least the header.
    header: OnceCell<Vec<u8>>,
    whole: OnceCell<Vec<u8>>,
}

impl<'a> Candidate<'a> {
    pub fn new(
        mailbox: &'a Mailbox,
        sequence: u32,
        message: &'a Message,
        is_recent: bool,
    ) -> Candidate<'a> {
        Candidate {
            sequence,
            message,
            is_recent,
            mailbox,
            header: OnceCell::new(),
            whole: OnceCell::new(),
        }
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// The store's; `Expunged` if the message has gone.
    pub fn fits(&self, test: &Test) -> Result<bool, StoreError> {
        Ok(match test {
            Test::All => true,
            Test::And(tests) => {
                for test in tests {
                    if !self.fits(test)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Body(needle) => self.whole()?.has_in_body(needle),
            Test::Date(days) => days.contains(&self.date()?),
            Test::Envelope(name, needle) => self.header()?.has_in_envelope(name, needle),
            Test::Flag(flag) => self.message.flags.contains(*flag),
            Test::Header(name, needle) => self.header()?.has_in_field(name, needle),
            Test::Larger(size) => self.mailbox.size(self.message.uid)? > *size,
            Test::ModSeq(modseq) => self.message.modseq >= *modseq,
            Test::Not(test) => !self.fits(test)?,
            Test::Or(tests) => {
                for test in tests {
                    if self.fits(test)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::Recent => self.is_recent,
            Test::Sent(days) => days.contains(&self.header()?.sent_on().unwrap_or(NaiveDate::MIN)),
            Test::Sequence(numbers) => numbers.contains(self.sequence),
            Test::Smaller(size) => self.mailbox.size(self.message.uid)? < *size,
            Test::Text(needle) => self.whole()?.has_in_text(needle),
            Test::Uid(uids) => uids.contains(self.message.uid),
        })
    }

    fn header(&self) -> Result<Mail<'_>, StoreError> {
        match self.whole.get() {
            Some(text) => Ok(Mail::new(text)),
            None => self.read(&self.header, Extent::Header),
        }
    }

    fn whole(&self) -> Result<Mail<'_>, StoreError> {
        self.read(&self.whole, Extent::Whole)
    }

    fn read<'s>(
        &'s self,
        cell: &'s OnceCell<Vec<u8>>,
        extent: Extent,
    ) -> Result<Mail<'s>, StoreError> {
        if let Some(text) = cell.get() {
            return Ok(Mail::new(text));
        }
        let text = material::read(self.mailbox, self.message.uid, extent)?;
        Ok(Mail::new(cell.get_or_init(|| text)))
    }

    fn date(&self) -> Result<NaiveDate, StoreError> {
        let seconds = self.mailbox.open_message(self.message.uid)?.internal_date();
        Ok(DateTime::from_timestamp(seconds, 0).unwrap_or_default().date_naive())
    }
}
