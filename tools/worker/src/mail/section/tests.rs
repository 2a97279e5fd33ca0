use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName};

use crate::mail::Mail;

const MAIL: &str = "\
Subject: outer
X-A: 1
Content-Type: multipart/mixed; boundary=o

preamble
--o
Content-Type: text/plain
X-P: p

one
--o
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/mixed; boundary=i

--i

two one
--i
Content-Type: message/rfc822

Subject: innermost

two two
--i--
--o--
epilogue
";

/// The bytes of `BODY[name]`, read by imap-codec.
fn shown(text: &str, name: &str) -> String {
    let command = format!("a FETCH 1 BODY[{name}]\r\n");
    let (_, command) = CommandCodec::default().decode(command.as_bytes()).expect("a command");
    let CommandBody::Fetch { macro_or_item_names: names, .. } = command.body else {
        panic!("a FETCH");
    };
    let MacroOrMessageDataItemNames::MessageDataItemNames(names) = names else { panic!("items") };
    let [MessageDataItemName::BodyExt { section, .. }] = &names[..] else { panic!("one item") };
    let slices = Mail::new(text.as_bytes()).section(section.as_ref());
    let mut out = Vec::new();
    slices.write(0, u64::MAX, &mut out).expect("a Vec takes all");
    assert_eq!(out.len() as u64, slices.wire_size());
    String::from_utf8(out).expect("ASCII in these tests").replace("\r\n", "\n")
}

#[test]
fn sections_of_the_message() {
    let (header, body) = MAIL.split_at(MAIL.find("preamble").expect("it is there"));
    assert_eq!(shown(MAIL, ""), MAIL);
    assert_eq!(shown(MAIL, "HEADER"), header);
    assert_eq!(shown(MAIL, "TEXT"), body);
    assert_eq!(shown(MAIL, "HEADER.FIELDS (x-a none)"), "X-A: 1\n\n");
    let others = "Subject: outer\nX-A: 1\n\n";
    assert_eq!(shown(MAIL, "HEADER.FIELDS.NOT (Content-Type)"), others);
}

#[test]
fn sections_of_parts() {
    assert_eq!(shown(MAIL, "1"), "one");
    assert_eq!(shown(MAIL, "1.MIME"), "Content-Type: text/plain\nX-P: p\n\n");
    assert_eq!(shown(MAIL, "2.HEADER.FIELDS (subject)"), "Subject: inner\n\n");
    assert_eq!(shown(MAIL, "2.MIME"), "Content-Type: message/rfc822\n\n");
    assert_eq!(shown(MAIL, "2.1"), "two one");
    assert_eq!(shown(MAIL, "2.2.TEXT"), "two two");
    assert_eq!(shown(MAIL, "2.2.1"), "two two");
    let text = shown(MAIL, "2");
    assert!(text.starts_with("Subject: inner\n") && text.ends_with("\n--i--"), "{text}");
}

#[test]
fn sections_that_are_not_there_are_empty() {
    for name in ["3", "1.1", "1.HEADER", "1.TEXT", "2.3", "2.2.2", "2.1.1", "3.MIME"] {
        assert_eq!(shown(MAIL, name), "", "{name}");
    }
}

#[test]
fn a_message_that_is_no_multipart_has_one_part() {
    let text = "Subject: s\n\nbody\n";
    assert_eq!(shown(text, "1"), "body\n");
    assert_eq!(shown(text, "1.MIME"), "Subject: s\n\n");
    assert_eq!(shown(text, "2"), "");
}
