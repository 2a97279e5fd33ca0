//! One message that a SEARCH asks about: what is needed of it is read once, and not before.

use std::cell::OnceCell;

use chrono::{DateTime, NaiveDate};
use torpor_store::{Mailbox, Message, StoreError};

use super::query::Test;
use crate::mail::Mail;

/// See the module.
pub(super) struct Candidate<'a> {
    pub sequence: u32,
    pub message: &'a Message,
    pub is_recent: bool,
    mailbox: &'a Mailbox,
    text: OnceCell<Vec<u8>>,
}

impl<'a> Candidate<'a> {
    pub fn new(
        mailbox: &'a Mailbox,
        sequence: u32,
        message: &'a Message,
        is_recent: bool,
    ) -> Candidate<'a> {
        Candidate { sequence, message, is_recent, mailbox, text: OnceCell::new() }
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
            Test::Body(needle) => self.mail()?.has_in_body(needle),
            Test::Date(days) => days.contains(&self.date()?),
            Test::Envelope(name, needle) => self.mail()?.has_in_envelope(name, needle),
            Test::Flag(flag) => self.message.flags.contains(*flag),
            Test::Header(name, needle) => self.mail()?.has_in_field(name, needle),
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
            Test::Sent(days) => days.contains(&self.mail()?.sent_on().unwrap_or(NaiveDate::MIN)),
            Test::Sequence(numbers) => numbers.contains(self.sequence),
            Test::Smaller(size) => self.mailbox.size(self.message.uid)? < *size,
            Test::Text(needle) => self.mail()?.has_in_text(needle),
            Test::Uid(uids) => uids.contains(self.message.uid),
        })
    }

    fn mail(&self) -> Result<Mail<'_>, StoreError> {
        let text = match self.text.get() {
            Some(text) => text,
            None => {
                let text = self.mailbox.open_message(self.message.uid)?.read()?;
                self.text.get_or_init(|| text)
            }
        };
        Ok(Mail::new(text))
    }

    fn date(&self) -> Result<NaiveDate, StoreError> {
        let seconds = self.mailbox.open_message(self.message.uid)?.internal_date();
        Ok(DateTime::from_timestamp(seconds, 0).unwrap_or_default().date_naive())
    }
}
