//! Any bytes as a hibernate line: what is accepted comes out as a request that says the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use torpor_handoff::line::unhibernate::{render, rendered_bytes_max};
use torpor_handoff::line::{
    HibernateLine, MasterRequest, Statistics, Wakeup, check_version, escape_into, unescape_into,
};

/// The input is one line, or two: the second then is what the client said in its sleep.
pub fn run(input: &[u8]) {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let said = lines.next().unwrap_or_default();
    escapes(input);
    let _ = check_version(line, "imap-hibernate");
    let request = MasterRequest::parse(line);
    if let Err(why) = request {
        assert!(!why.to_string().contains(['\n', '\t']), "a reason is one field of one line");
    }
    let Ok(parsed) = HibernateLine::parse(line) else { return };
    for slept in [Wakeup::default(), slept(said)] {
        round_trip(line, &parsed, &slept);
    }
}

/// Whatever is escaped comes back, and holds nothing that would end a field.
fn escapes(raw: &[u8]) {
    let (mut escaped, mut plain) = (Vec::new(), Vec::new());
    escape_into(&mut escaped, raw);
    assert!(!escaped.iter().any(|byte| b"\0\t\r\n".contains(byte)));
    unescape_into(&mut plain, &escaped);
    assert_eq!(plain, raw);
}

/// A sleep in which everything happened that a request can tell of.
fn slept(said: &[u8]) -> Wakeup<'_> {
    let (input, output) = said.split_at(said.len() / 2);
    let tag = said.split(|byte| *byte == 0).next().filter(|tag| !tag.is_empty());
    Wakeup {
        hibernation_started_us: 1_800_000_000_000_001,
        tag,
        client_input: input,
        client_output: output,
        idle_continue: said.len().is_multiple_of(2),
        input_bytes: u64::MAX,
        output_bytes: said.len() as u64,
    }
}

fn round_trip(line: &[u8], parsed: &HibernateLine<'_>, slept: &Wakeup<'_>) {
    let room = rendered_bytes_max(line.len(), slept);
    let mut bytes = Vec::with_capacity(room);
    render(&mut bytes, line, slept);
    assert_eq!(bytes.pop(), Some(b'\n'));
    assert!(bytes.len() < room, "the bound that memory is reserved by");
    assert!(!bytes.contains(&b'\n'));
    let request = MasterRequest::parse(&bytes).expect("a worker reads what we write");
    assert_eq!(request.hibernation_started_us, Some(slept.hibernation_started_us));
    let (mut input, mut output) = (Vec::new(), Vec::new());
    request.client_input_into(&mut input);
    request.client_output_into(&mut output);
    assert_eq!((&input[..], &output[..]), (slept.client_input, slept.client_output));
    assert_eq!((request.bad_done, request.idle_continue), (false, slept.idle_continue));
    let mut tag = Vec::new();
    request.line.tag_into(&mut tag);
    match slept.tag {
        Some(new) => assert_eq!(tag, new),
        None => assert_eq!(request.line.tag, parsed.tag),
    }
    assert_eq!(request.line, expected(parsed, &request, slept));
    same_state(parsed.state, request.line.state);
}

/// The state is the same, but that CONDSTORE may have moved in front of the mailbox.
fn same_state(old: Option<&[u8]>, new: Option<&[u8]>) {
    if old == new {
        return;
    }
    let decoded = |state: Option<&[u8]>| STANDARD.decode(state.expect("there are both"));
    let (old, new) = (decoded(old).expect("checked"), decoded(new).expect("checked"));
    let (base, moved) = new.split_at(BASE.len() + CONDSTORE.len());
    assert_eq!(base, [BASE, CONDSTORE].concat());
    let mut places = (BASE.len()..old.len()).filter(|at| old[*at..].starts_with(CONDSTORE));
    let is_same =
        |at: usize| [&old[BASE.len()..at], &old[at + CONDSTORE.len()..]].concat() == moved;
    assert!(old.starts_with(BASE) && places.any(is_same), "{}", new.escape_ascii());
}

/// The words that are the worker's own again, in the sleep's light.
fn expected<'a>(
    parsed: &HibernateLine<'a>,
    request: &MasterRequest<'a>,
    slept: &Wakeup<'_>,
) -> HibernateLine<'a> {
    let counted = parsed.statistics.map(|known| {
        // A counter that the worker does not keep is not invented for it.
        let kept = request.line.statistics.unwrap_or_default();
        let total = |old: u64, new: u64, more| {
            assert!(new == 0 && old == 0 || new == u64::saturating_add(old, more));
            new
        };
        let input = total(known.input_bytes_extra, kept.input_bytes_extra, slept.input_bytes);
        let output = total(known.output_bytes_extra, kept.output_bytes_extra, slept.output_bytes);
        Statistics { input_bytes_extra: input, output_bytes_extra: output, ..known }
    });
    HibernateLine {
        log_prefix: b"",
        idle_notify_interval_secs: 0,
        uid: None,
        gid: None,
        mailbox: None,
        stats: None,
        idle_cmd: false,
        notify_fd: false,
        tag: request.line.tag,
        state: request.line.state,
        statistics: counted,
        ..*parsed
    }
}

const BASE: &[u8] = b"base\n";
const CONDSTORE: &[u8] = b"FCONDSTORE\0";
