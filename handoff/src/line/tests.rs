//! The lines are those that Dovecot wrote on the wire, shortened in no place but the home path.

mod hostile;
mod words;

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const LINE_2_3: &[u8] = b"u00001\t%s(%u)<%{pid}><%{session}>: \tidle_notify_interval=120\t\
    peer_dev_major=0\tpeer_dev_minor=9\tpeer_ino=151861\tsession=uHK3ofJg8IF/AAAB\t\
    session_created=1795445071\tlip=127.0.0.1\tlport=20143\trip=127.0.0.1\trport=33264\t\
    userdb_fields=uid=5000\x01tgid=5000\x01thome=/srv/mail/u00001\x01tauth_mech=PLAIN\x01t\
    auth_token=780b320eb92e3f4bec381d10bb91d6728a988269\tuid=5000\tgid=5000\tmailbox=INBOX\t\
    tag=a3\t\
    stats=in=26 out=747 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 \
    body_bytes=0\tidle-cmd\tnotify_fd\t\
    state=YmFzZQpCSU5CT1gAvNOUNg9QBGsNUQAAg+zDdQCPoJHYBgIBAwAA+fDizwkA";

const LINE_2_4_1: &[u8] = b"1\t%{service}(%{user})<%{process:pid}><%{session}>: \t\
    idle_notify_interval=120\tpeer_dev_major=0\tpeer_dev_minor=9\tpeer_ino=1498263\t\
    session=2Y1Zt/JgArF/AAAB\tsession_created=1795445434\tlip=127.0.0.1\tlport=143\trip=127.0.0.1\t\
    rport=45314\tuserdb_fields=uid=5000\x01tgid=5000\x01thome=/srv/mail/u1\x01t\
    auth_mech=PLAIN\x01tauth_token=d54ffe50e7d6e496ea7d216a95154d783f3a9ceb\t\
    uid=5000\tgid=5000\tmailbox=INBOX\t\
    tag=a3\t\
    stats=in=26 out=763 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 \
    body_bytes=0\tidle-cmd\tnotify_fd\t\
    state=YmFzZQpCSU5CT1gA+KDTH6tSBGvKCwAAg+zDdQCrpZHYBgEAAQAAAAA=\tfetch_hdr_count=0\t\
    fetch_hdr_bytes=0\tfetch_body_count=0\tfetch_body_bytes=0\tdeleted_count=0\texpunged_count=0\t\
    trashed_count=0\tautoexpunged_count=0\tappend_count=0\tinput_bytes_extra=26\t\
    output_bytes_extra=763";

/// 2.2.36 and 2.3.4 name neither ports nor mailbox.
const LINE_2_2: &[u8] = b"u1\t%s(%u): \tidle_notify_interval=120\tpeer_dev_major=0\t\
    peer_dev_minor=9\tpeer_ino=7\tsession=s1\tsession_created=5\tlip=::1\trip=2001:db8::1\t\
    userdb_fields=uid=5000\tuid=5000\tgid=5000\ttag=a3\tstats=in=26\tidle-cmd\tnotify_fd\t\
    state=YmFzZQo=";

/// 2.4.3 and later: the token pair on the top level.
const LINE_2_4_3: &[u8] = b"u1\tp: \tidle_notify_interval=120\tsession=s1\tmultiplex_ostream\t\
    userdb_fields=a=1\ttag=a3\tauth_token=d54ffe50e7d6e496ea7d216a95154d783f3a9ceb\t\
    session_pid=4711\tstats=x\tidle-cmd\tstate=YmFzZQo=\tappend_count=2\tinput_bytes_extra=26\t\
    output_bytes_extra=763";

fn rendered(line: &[u8], wakeup: &Wakeup<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(unhibernate::rendered_bytes_max(line.len(), wakeup));
    let room = out.capacity();
    unhibernate::render(&mut out, line, wakeup);
    assert_eq!(out.capacity(), room, "rendering allocated");
    assert_eq!(out.pop(), Some(b'\n'));
    out
}

fn text(error: LineError) -> String {
    error.to_string()
}

#[test]
fn parses_the_line_of_2_3() {
    let line = HibernateLine::parse(LINE_2_3).unwrap();
    assert_eq!(line.username, b"u00001");
    assert_eq!(line.log_prefix, b"%s(%u)<%{pid}><%{session}>: ");
    assert_eq!(line.idle_notify_interval_secs, 120);
    assert_eq!(line.peer, Some(Peer { dev_major: 0, dev_minor: 9, ino: 151_861 }));
    assert_eq!(line.session, Some(&b"uHK3ofJg8IF/AAAB"[..]));
    assert_eq!(line.session_created, Some(1_795_445_071));
    assert_eq!(line.rip, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert_eq!((line.lport, line.rport), (Some(20_143), Some(33_264)));
    assert_eq!((line.uid, line.gid), (Some(5000), Some(5000)));
    assert_eq!(line.mailbox, Some(&b"INBOX"[..]));
    assert_eq!(line.tag, b"a3");
    assert!(line.stats.unwrap().starts_with(b"in=26 out=747 "));
    assert!(line.idle_cmd && line.notify_fd && !line.multiplex_ostream);
    assert_eq!(line.statistics, None);
    // The token inside of userdb_fields is another one.
    assert_eq!(line.auth_token, None);
    let mut fields = Vec::new();
    unescape_into(&mut fields, line.userdb_fields.unwrap());
    assert_eq!(fields.split(|&byte| byte == b'\t').count(), 5);
}

#[test]
fn parses_every_dialect() {
    let old = HibernateLine::parse(LINE_2_2).unwrap();
    assert_eq!((old.lport, old.rport, old.mailbox), (None, None, None));
    assert_eq!(old.rip, Some("2001:db8::1".parse().unwrap()));
    let new = HibernateLine::parse(LINE_2_4_1).unwrap();
    let statistics = new.statistics.unwrap();
    assert_eq!((statistics.input_bytes_extra, statistics.output_bytes_extra), (26, 763));
    let newest = HibernateLine::parse(LINE_2_4_3).unwrap();
    assert!(newest.multiplex_ostream);
    assert_eq!(newest.session_pid, Some(&b"4711"[..]));
    assert_eq!(newest.auth_token.unwrap().len(), 40);
    assert_eq!(newest.statistics.unwrap().append_count, 2);
    let least = HibernateLine::parse(b"user\tprefix\ttag=t1\tuserdb_fields=\tidle-cmd").unwrap();
    assert_eq!(least.userdb_fields, Some(&b""[..]));
    assert!(HibernateLine::parse(b"user\tprefix\ttag=").unwrap().tag.is_empty());
}

#[test]
fn renders_the_line_that_dovecot_renders() {
    // Byte for byte what 2.3 and 2.4.1 wrote: the order of the keys is theirs as well.
    for line in [LINE_2_2, LINE_2_3, LINE_2_4_1, LINE_2_4_3] {
        let mut parsed = HibernateLine::parse(line).unwrap();
        let mut out = Vec::new();
        parsed.render(&mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        if line == LINE_2_4_3 {
            // The shortened line has three of the eleven keys; all of them come out.
            assert_eq!(HibernateLine::parse(&out).unwrap(), parsed);
        } else {
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(line));
        }
        parsed.tag = b"";
        out.clear();
        parsed.render(&mut out);
        assert_eq!(HibernateLine::parse(out.trim_ascii_end()).unwrap(), parsed);
    }
}

#[test]
fn hands_back_the_line_that_stock_hands_back() {
    // The words of the hand-back after mail arrived, in the order of the hibernate line.
    let wakeup = Wakeup {
        hibernation_started_us: 1_795_445_072_777_873,
        idle_continue: true,
        ..Wakeup::default()
    };
    let expected = b"u00001\thibernation_started=1795445072.777873\tpeer_dev_major=0\t\
        peer_dev_minor=9\tpeer_ino=151861\tsession=uHK3ofJg8IF/AAAB\tsession_created=1795445071\t\
        lip=127.0.0.1\tlport=20143\trip=127.0.0.1\trport=33264\tuserdb_fields=uid=5000\x01tgid=5000\
        \x01thome=/srv/mail/u00001\x01tauth_mech=PLAIN\x01t\
        auth_token=780b320eb92e3f4bec381d10bb91d6728a988269\ttag=a3\t\
        state=YmFzZQpCSU5CT1gAvNOUNg9QBGsNUQAAg+zDdQCPoJHYBgIBAwAA+fDizwkA\tidle-continue";
    assert_eq!(
        String::from_utf8_lossy(&rendered(LINE_2_3, &wakeup)),
        String::from_utf8_lossy(expected)
    );
}

#[test]
fn adds_up_the_statistics_of_2_4_1() {
    // DONE and a new IDLE answered asleep (15 bytes in, 33 out), then a DONE of 6 bytes.
    let wakeup = Wakeup { input_bytes: 21, output_bytes: 33, ..Wakeup::default() };
    let out = rendered(LINE_2_4_1, &wakeup);
    let request = MasterRequest::parse(&out).unwrap();
    let statistics = request.line.statistics.unwrap();
    assert_eq!((statistics.input_bytes_extra, statistics.output_bytes_extra), (47, 796));
    // 2.3 has no such keys, so none are made up.
    assert!(MasterRequest::parse(&rendered(LINE_2_3, &wakeup)).unwrap().line.statistics.is_none());
}

#[test]
fn carries_the_token_and_what_it_does_not_know() {
    let mut line = LINE_2_4_3.to_vec();
    line.extend_from_slice(b"\tfuture_key=a=b\tfuture_flag");
    let out = rendered(&line, &Wakeup::default());
    let request = MasterRequest::parse(&out).unwrap();
    assert_eq!(request.line.session_pid, Some(&b"4711"[..]));
    assert!(request.line.auth_token.is_some() && request.line.multiplex_ostream);
    assert!(out.windows(27).any(|part| part == b"\tfuture_key=a=b\tfuture_flag"));
    assert_eq!((request.line.stats, request.line.uid), (None, None));
    assert!(!request.line.idle_cmd && !request.line.notify_fd);
}

#[test]
fn carries_input_output_and_a_new_tag() {
    let wakeup = Wakeup {
        tag: Some(b"b\t1\x01"),
        client_input: b"DONE\r\nb1 NOOP\r\n",
        client_output: b"ll here\r\n",
        idle_continue: true,
        ..Wakeup::default()
    };
    let out = rendered(LINE_2_4_1, &wakeup);
    let request = MasterRequest::parse(&out).unwrap();
    let (mut input, mut output, mut tag) = (Vec::new(), Vec::new(), Vec::new());
    request.client_input_into(&mut input);
    request.client_output_into(&mut output);
    request.line.tag_into(&mut tag);
    assert_eq!(input, b"DONE\r\nb1 NOOP\r\n");
    assert_eq!(output, b"ll here\r\n");
    assert_eq!(tag, b"b\t1\x01");
    assert!(request.idle_continue && !request.bad_done);
    assert_eq!(out.windows(5).filter(|part| part == b"\ttag=").count(), 1);
}
