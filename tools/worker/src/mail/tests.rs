//! Hostile mails: whatever the bytes are, nothing panics, and what is shown is IMAP, as
//! imap-codec's own reader of responses says.

use std::num::NonZeroU32;

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder as _;
use imap_codec::encode::Encoder as _;
use imap_codec::imap_types::core::Vec1;
use imap_codec::imap_types::fetch::{MessageDataItem, Part as Path};
use imap_codec::imap_types::response::{Data, Response};
use proptest::prelude::*;

use super::needle::Needle;
use super::tree::{DEPTH_MAX, Kind, PARTS_MAX};
use super::*;

const MAILS: [&[u8]; 3] = [
    b"From: \"A \\\"q\\\"\" <a@[1]>, g: b (c (d)) @e;\r\nTo: =?utf-8?q?x?= <@r,@s:t@u>\r\n\
      Subject: \xfc\0 \"\\\r\n folded\r\nDate: Tue, 3 Nov 2026 10:11:12 +0100 (CET)\r\n\
      Content-Type: text/plain; a*0*=utf-8''%20; a*1=\"b\\\"\"; charset=iso-8859-1\r\n\
      Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4=\r\n=\0x\n",
    b"Content-Type: multipart/mixed; boundary=\"o \"\n\npre\n--o \n\
      Content-Type: multipart/digest;\n\tboundary=o\n\n--o\n\nSubject: one\n\nx\n--o\n\
      Content-Type: text/html\n--o--\n--o \n\
      Content-Type: message/rfc822\nContent-Disposition: attachment; filename=\"\xe9\"\n\n\
      Content-Type: multipart/x\n\n--o\n--o --\npost",
    b"\0:\0\n \0\nContent-Type: /;=\nContent-Type: message/rfc822\n\n\nContent-Type:\n\n\n",
];

fn item(item: MessageDataItem<'_>) -> Vec<u8> {
    let response = Response::Data(Data::Fetch { seq: NonZeroU32::MIN, items: Vec1::from(item) });
    ResponseCodec::default().encode(&response).dump()
}

fn depth(tree: &Tree, index: usize) -> usize {
    let part = &tree.0[index];
    1 + part.children.iter().map(|child| depth(tree, *child)).max().unwrap_or(0)
}

/// Asks everything of a mail.
fn ask(text: &[u8]) {
    let mail = Mail::new(text);
    let mut shown = vec![item(MessageDataItem::Envelope(mail.envelope()))];
    // imap-codec reads 8 levels.
    if depth(mail.tree(), 0) < 8 {
        shown.push(item(MessageDataItem::Body(mail.structure(false))));
        shown.push(item(MessageDataItem::BodyStructure(mail.structure(true))));
    }
    for line in shown {
        let (rest, _) = ResponseCodec::default().decode(&line).unwrap_or_else(|error| {
            panic!("{error:?}: {}", String::from_utf8_lossy(&line));
        });
        assert!(rest.is_empty());
    }
    for numbers in [&[1][..], &[2], &[1, 1], &[2, 1], &[3, 1, 1]] {
        let numbers = numbers.iter().map(|number| NonZeroU32::new(*number).expect("not zero"));
        let path = Path(Vec1::try_from(numbers.collect::<Vec<_>>()).expect("not empty"));
        for section in [
            Section::Part(path.clone()),
            Section::Mime(path.clone()),
            Section::Text(Some(path.clone())),
            Section::Header(Some(path)),
        ] {
            let slices = mail.section(Some(&section));
            let mut out = Vec::new();
            slices.write(0, u64::MAX, &mut out).expect("a Vec takes all");
            assert_eq!(out.len() as u64, slices.wire_size());
            assert!(!out.contains(&0));
        }
    }
    mail.sent_on();
    assert!(mail.has_in_text(&Needle::new("")) || text.is_empty());
    mail.has_in_text(&Needle::new("needle"));
    assert_sizes_fit(&mail);
}

/// The sizes that the tree counts are those of the bytes that sections send.
fn assert_sizes_fit(mail: &Mail<'_>) {
    for part in &mail.tree().0 {
        let counted = part.body.1.wire - part.body.0.wire;
        assert_eq!(counted, wire::wire_size(&mail.text()[part.body.0.at..part.body.1.at]));
    }
    assert_eq!(mail.tree().0[0].body.1.wire, mail.size());
}

#[test]
fn every_prefix_of_a_mail_can_be_asked_everything() {
    for mail in MAILS {
        for end in 0..=mail.len() {
            ask(&mail[..end]);
        }
    }
}

#[test]
fn a_mail_of_nothing_but_parts_costs_what_its_limits_say() {
    let text = b"Content-Type: multipart/mixed; boundary=a\n\n--a\n".repeat(20_000);
    let mail = Mail::new(&text);
    assert_eq!(mail.tree().0.len(), PARTS_MAX);
    let opaque = mail.tree().0.iter().filter(|part| part.kind == Kind::Opaque).count();
    assert_eq!(opaque, PARTS_MAX - (DEPTH_MAX - 1), "all but one of each depth");
    item(MessageDataItem::BodyStructure(mail.structure(true)));
}

/// Lines and words that mails are made of, so that random mails have parts.
fn mail_like() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "Content-Type: multipart/mixed; boundary=a",
        "Content-Type: multipart/digest; boundary=ab",
        "Content-Type: message/rfc822",
        "Content-Type: text/plain; charset=\"utf-7\"; n*0*=x; n*1=",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: (",
        "Content-Language: a, \"b",
        "From: a <b@c>, d: ",
        "Subject: =?utf-8?b?w7w=?= =?x?q?",
        "Date: Mon, 30 Feb 1 25:61 +9999",
        "--a",
        "--ab",
        "--a--",
        "\n",
        "\r\n",
        " ",
        "\"",
        ";",
        "\\",
        "<@",
        "\0",
        "\u{fc}",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let line = word.clone().prop_map(|word| [&word[..], b"\n"].concat());
    let bytes = prop::collection::vec(any::<u8>(), 0..4);
    let pieces = prop_oneof![4 => line, 2 => word, 1 => bytes];
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_can_be_asked_everything(text in prop::collection::vec(any::<u8>(), 0..300)) {
        ask(&text);
    }

    #[test]
    fn random_mails_can_be_asked_everything(text in mail_like()) {
        ask(&text);
    }
}
