use imap_codec::ResponseCodec;
use imap_codec::encode::Encoder;
use imap_codec::imap_types::fetch::MessageDataItem;
use imap_codec::imap_types::response::{Data, Response};

use super::*;

fn shown(text: &str, is_extended: bool) -> String {
    let tree = Tree::parse(text.as_bytes());
    let item = MessageDataItem::Body(structure(text.as_bytes(), &tree, is_extended));
    let seq = 1.try_into().expect("not zero");
    let response = Response::Data(Data::Fetch { seq, items: item.into() });
    let line = ResponseCodec::default().encode(&response).dump();
    let line = String::from_utf8(line).expect("ASCII in these tests");
    line["* 1 FETCH (BODY ".len()..line.len() - 3].to_owned()
}

#[test]
fn a_text_has_lines_and_a_charset() {
    let text = "Content-Type: text/x-a; b=c\nContent-ID: <i>\nContent-Description: d\n  e\n\nx\ny";
    let body =
        "(\"TEXT\" \"x-a\" (\"b\" \"c\" \"charset\" \"us-ascii\") \"<i>\" \"d e\" \"7bit\" 4 1";
    assert_eq!(shown(text, false), format!("{body})"));
    assert_eq!(shown(text, true), format!("{body} NIL NIL NIL NIL)"));
}

#[test]
fn extension_data_come_in_their_order() {
    let text = "Content-Type: a/b\nContent-MD5: m\nContent-Language: de, en\n\
                Content-Location: l\nContent-Disposition: inline; f=g\n\
                Content-Transfer-Encoding: base64 (c)\n\n";
    let tail = "\"m\" (\"inline\" (\"f\" \"g\")) (\"de\" \"en\") \"l\")";
    assert_eq!(shown(text, true), format!("(\"a\" \"b\" NIL NIL NIL \"base64\" 0 {tail}"));
}

#[test]
fn a_multipart_without_parts_shows_an_empty_text() {
    let empty = "(\"TEXT\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";
    let text = "Content-Type: multipart/mixed; boundary=b\n\n--b--\n";
    assert_eq!(shown(text, false), format!("({empty} \"mixed\")"));
}

#[test]
fn a_message_shows_its_envelope_and_structure() {
    let text = "Content-Type: message/rfc822\n\nSubject: s\n\nx\n";
    let envelope = "(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)";
    let inner = "(\"TEXT\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1)";
    let basic = "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7bit\" 17";
    assert_eq!(shown(text, false), format!("{basic} {envelope} {inner} 3)"));
}

#[test]
fn what_is_too_deep_is_an_opaque_attachment() {
    let text = "Content-Type: message/rfc822\n\n".repeat(1_000);
    let shown = shown(&text, true);
    assert!(shown.contains("\"application\" \"octet-stream\""), "{shown}");
    assert_eq!(shown.matches("\"RFC822\"").count(), super::super::tree::DEPTH_MAX - 1);
}
