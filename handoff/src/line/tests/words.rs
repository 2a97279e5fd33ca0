//! Words, versions, replies and frames, each by itself.

use super::*;

#[test]
fn escaping_goes_round_for_all_pairs_of_bytes() {
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            let (mut escaped, mut back) = (Vec::new(), Vec::new());
            escape_into(&mut escaped, &[first, second]);
            unescape_into(&mut back, &escaped);
            assert_eq!(back, [first, second]);
            assert!(!escaped.iter().any(|byte| b"\0\t\r\n".contains(byte)));
        }
    }
    let mut text = Vec::new();
    unescape_into(&mut text, b"a\x01xb\x01");
    assert_eq!(text, b"axb");
}

#[test]
fn checks_versions() {
    assert_eq!(check_version(b"VERSION\timap-master\t1\t99", "imap-master"), Ok(()));
    assert_eq!(check_version(HIBERNATE_VERSION.trim_ascii_end(), "imap-hibernate"), Ok(()));
    for wrong in [
        "",
        "VERSION",
        "VERSION\timap-master\t1",
        "VERSION\timap-master\t1\t0\t",
        "\t\t\t",
        "VERSION\timap-master\t2\t0",
        "VERSION\timap\t1\t0",
        "version\timap-master\t1\t0",
        "VERSION\timap-master\t1\t",
        "VERSION\timap-master\t1\tx",
        "VERSION\timap-master\t-1\t0",
    ] {
        assert!(check_version(wrong.as_bytes(), "imap-master").is_err(), "{wrong:?}");
    }
}

#[test]
fn reads_replies() {
    assert_eq!(parse_reply(b""), None);
    assert_eq!(parse_reply(b"+"), Some(Reply::Taken));
    assert_eq!(parse_reply(b"+junk\n"), Some(Reply::Taken));
    assert_eq!(parse_reply(b"-"), Some(Reply::Refused(b"")));
    assert_eq!(parse_reply(b"-no room\r\nmore"), Some(Reply::Refused(b"no room")));
    assert_eq!(parse_reply(b"junk\n"), Some(Reply::Refused(b"unk")));
    assert_eq!(parse_reply(&[b'-'; 5000]), Some(Reply::Refused(&[b'-'; REASON_BYTES_MAX])));
}

#[test]
fn frames_output() {
    let framed = |payload: &[u8], first| {
        let mut out = Vec::with_capacity(framed_bytes_max(payload.len()));
        frame(&mut out, payload, first);
        out
    };
    assert_eq!(
        framed(b"t1 OK Idle completed.\r\n+ idling\r\n", true),
        b"\x03\xfe\x00\x00t1 OK Idle completed.\r\n+ idling\r\n"
    );
    assert_eq!(framed(b"* OK Still here\r\n", false), b"* OK Still here\r\n");
    assert_eq!(framed(b"\x03a\x03", false), b"\x03a\x03\xfe\x01");
    assert_eq!(framed(b"\x03\xfe\x03\x03", false), b"\x03\xfe\x01\xfe\x03\x03\xfe\x01");
    assert_eq!(framed(b"", true), b"\x03\xfe\x00\x00");
}

#[test]
fn framed_output_reads_back() {
    // All words of up to five bytes over the three that matter, cut in two at each place.
    for number in 0..3usize.pow(5) {
        let word: Vec<u8> = (0..5).map(|at| [3, 0xFE, b'a'][number / 3usize.pow(at) % 3]).collect();
        for cut in 0..=word.len() {
            let mut out = Vec::new();
            frame(&mut out, &word[..cut], true);
            frame(&mut out, &word[cut..], false);
            assert_eq!(unframed(&out), word);
        }
    }
}

/// The reader on the other side: `03 FE` begins a frame, everything else is text.
fn unframed(mut stream: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let [byte, rest @ ..] = stream {
        stream = match stream {
            [3, 0xFE, 0, 0, rest @ ..] => rest,
            [3, 0xFE, 1, rest @ ..] => {
                text.push(3);
                rest
            }
            [3, 0xFE, ..] => panic!("a frame that nobody wrote"),
            _ => {
                text.push(*byte);
                rest
            }
        };
    }
    text
}

#[test]
fn a_time_of_hibernation_is_seconds_and_six_digits() {
    let parse = |time: &str| {
        let line = format!("u\thibernation_started={time}");
        MasterRequest::parse(line.as_bytes()).map(|request| request.hibernation_started_us)
    };
    assert_eq!(parse("1.000002"), Ok(Some(1_000_002)));
    for time in ["1", "1.00002", "1.0000002", "x.000002", "1.00000x", "18446744073709551615.000000"]
    {
        let text = parse(time).expect_err(time).to_string();
        assert!(text.starts_with("Invalid hibernation_started value: "), "{text}");
    }
}
