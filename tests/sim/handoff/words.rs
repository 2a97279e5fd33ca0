//! What a worker is told when it takes a client: every byte once, and every word true.

use crate::net::{Client, Net, Owner};

/// What a worker is told of a client is what that client knows.
fn check_words(entry: &Client, client: usize, line: &[u8]) {
    let field = |key: &str| {
        let line = line.strip_suffix(b"\n").expect("a line");
        let fields = line.split(|byte| *byte == b'\t').skip(1);
        fields.filter_map(|field| field.strip_prefix(key.as_bytes())).last()
    };
    assert_eq!(
        line.split(|byte| *byte == b'\t').next(),
        Some(format!("u{}", entry.user).as_bytes())
    );
    assert_eq!(field("tag="), Some(&entry.tag[..]), "the tag of client {client}");
    let input = field("client_input=").map_or(Vec::new(), decode);
    assert_eq!(input, entry.sent[entry.read..entry.pulled], "the input of client {client}");
    let output = field("client_output=").map_or(Vec::new(), decode);
    assert_eq!(output, entry.rest, "the output left over for client {client}");
    let number = |key| field(key).and_then(|text| str::from_utf8(text).ok()?.parse::<usize>().ok());
    assert_eq!(number("input_bytes_extra="), Some(26 + entry.answered_in));
    assert_eq!(number("output_bytes_extra="), Some(763 + entry.answered_out));
    assert!(line.windows(14).any(|word| word == b"\tidle-continue"), "IDLE goes on");
}

/// A worker takes the client: every byte must be there once, and every word be true.
pub(super) fn take(net: &mut Net, client: usize, line: &[u8]) {
    let now_ms = net.now.mono_ms;
    let busy_ms = 100 + net.random.below(4000);
    let window = 20_000;
    let entry = &mut net.clients[client];
    assert!(!entry.shut, "a shut client came to life");
    // One that has reset its connection will never hear the rest, nor what it was answered.
    let torn = entry.is_torn();
    assert!(!torn || entry.reset, "client {client} goes to a worker with half a switch");
    assert_eq!(entry.owner, Owner::Engine, "client {client} has two owners");
    if !torn {
        check_words(entry, client, line);
    }
    entry.rest.clear();
    entry.window = window;
    (entry.pulled, entry.read) = (entry.sent.len(), entry.sent.len());
    entry.owner = Owner::Worker;
    entry.dismissed = None;
    entry.lives += 1;
    entry.busy_until_ms = now_ms + busy_ms;
    if let Some(mailbox) = entry.mailbox {
        entry.seen = net.mailboxes[mailbox].version;
    }
    net.say(|| format!("client {client} is taken"));
}

fn decode(text: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
