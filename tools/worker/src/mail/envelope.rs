//! ENVELOPE: the header of a message as RFC 3501 section 7.4.2 shows it.
//!
//! Encoded words stay as they are written. Where a field stands twice, which RFC 5322 section 3.6
//! forbids, the last text and all addresses are shown, as in Dovecot 2.3.

use imap_codec::imap_types::envelope::{Address, Envelope};

use super::address::{ADDRESSES_MAX, addresses};
use super::header::{fields, parsed};
use super::string::{collapse, nstring};

/// The envelope of a message with this header. Sender and Reply-To default to From.
pub fn envelope(header: &[u8]) -> Envelope<'static> {
    let (mut date, mut subject, mut in_reply_to, mut message_id) = (None, None, None, None);
    let [mut from, mut sender, mut reply_to, mut to, mut cc, mut bcc] = [const { Vec::new() }; 6];
    for field in fields(parsed(header)) {
        let value = field.unfolded();
        match field.name.to_ascii_lowercase().as_slice() {
            b"bcc" => append(&mut bcc, &value),
            b"cc" => append(&mut cc, &value),
            b"date" => date = Some(value.into_owned()),
            b"from" => append(&mut from, &value),
            b"in-reply-to" => in_reply_to = Some(value.into_owned()),
            b"message-id" => message_id = Some(value.into_owned()),
            b"reply-to" => append(&mut reply_to, &value),
            b"sender" => append(&mut sender, &value),
            b"subject" => subject = Some(collapse(&value)),
            b"to" => append(&mut to, &value),
            _ => {}
        }
    }
    for list in [&mut sender, &mut reply_to] {
        if list.is_empty() {
            list.clone_from(&from);
        }
    }
    let [date, subject, in_reply_to, message_id] =
        [date, subject, in_reply_to, message_id].map(nstring);
    Envelope { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id }
}

fn append(list: &mut Vec<Address<'static>>, value: &[u8]) {
    if list.len() < ADDRESSES_MAX {
        list.extend(addresses(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(envelope: &Envelope<'_>) -> String {
        format!("{:?} {:?}", envelope.subject.0, envelope.date.0)
    }

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let envelope = envelope(b"From: a@x\nReply-To:\nSender: s@x\nTo: t@x\n\n");
        assert_eq!(envelope.reply_to, envelope.from);
        assert_ne!(envelope.sender, envelope.from);
        assert_eq!(envelope.cc, []);
    }

    #[test]
    fn absent_fields_are_nil_and_empty_ones_are_not() {
        let envelope = envelope(b"Subject:\n\n");
        assert_eq!(text(&envelope), "Some(Quoted(Quoted(\"\"))) None");
        assert_eq!(envelope.from, []);
        assert_eq!(envelope.sender, []);
    }

    #[test]
    fn a_folded_subject_is_one_line_with_its_encoded_words() {
        let envelope = envelope(b"Subject: =?utf-8?q?a?=\r\n  b\r\nSubject: c\n d\n\n");
        assert_eq!(text(&envelope), "Some(Quoted(Quoted(\"c d\"))) None");
    }
}
