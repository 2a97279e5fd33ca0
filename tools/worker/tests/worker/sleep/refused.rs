//! Who stays awake, and who cannot be woken as it was.

use super::*;

#[test]
fn a_refused_client_stays_and_is_offered_again() {
    let lab = lab_with(0);
    let engine = Engine::of(&lab);
    let mut client = lab.select();
    client.idle();
    assert!(engine.take(Some("full: slots_max is reached")).is_none());
    lab.deliver("INBOX", "x\n");
    assert_eq!((client.line(), client.line()), ("* 1 EXISTS".into(), "* 1 RECENT".into()));
    let sleeper = engine.take(None).unwrap();
    assert_eq!(sleeper.state().selected.unwrap().count, 1);
}

#[test]
fn without_an_engine_a_client_is_served_on() {
    let lab = lab_with(0);
    let mut client = lab.select();
    client.idle();
    thread::sleep(quick() * 6);
    client.send("DONE\r\n");
    assert_eq!(client.line(), "i OK Idle completed.");
}

#[test]
fn half_a_line_keeps_a_client_awake() {
    let lab = lab_with(0);
    let engine = Engine::of(&lab);
    let mut client = lab.select();
    client.idle();
    client.send("DO");
    assert!(!is_readable(engine.listener.as_fd(), 400), "the line cannot carry input");
    client.send("NE\r\n");
    assert_eq!(client.line(), "i OK Idle completed.");
}

#[test]
fn what_cannot_be_restored_is_refused_before_it_is_touched() {
    let lab = lab_with(1);
    let mut client = lab.select();
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let text = String::from_utf8(sleeper.line.clone()).unwrap();
    let with = |key: &str, value: &str| {
        let fields = text.split('\t').map(|field| match field.starts_with(key) {
            true => format!("{key}{value}"),
            false => field.to_owned(),
        });
        fields.collect::<Vec<_>>().join("\t").into_bytes()
    };
    for (line, reason) in [
        (with("state=", "AQ=="), "-Failed to create client: state is damaged: features"),
        (with("state=", "AwA="), "-Failed to create client: state has version 3, not 1"),
        (with("peer_ino=", "1"), "-Failed to verify client input: peer_ino does not name"),
        (with("userdb_fields=", "uid=5"), "-Failed to create client: userdb_fields has no home"),
        (with("session_created=", "x"), "-Failed to parse client input: Invalid session_created"),
    ] {
        let answer = sleeper.offer(&lab, &line);
        assert!(answer.starts_with(reason), "{answer}");
    }
    // After all of that the client is as good as before.
    sleeper.wake(&lab, &mut client, &Wakeup { client_input: b"DONE\r\n", ..CONTINUE });
    assert_eq!(client.line(), "i OK Idle completed.");
}

#[test]
fn a_mailbox_that_is_gone_or_new_ends_in_bye() {
    let lab = lab_with(0);
    let mut other = lab.login();
    other.ok("CREATE A");
    for again in [false, true] {
        other.ok(if again { "CREATE A" } else { "NOOP" });
        let mut client = lab.login();
        client.ok("SELECT A");
        let engine = Engine::of(&lab);
        client.idle();
        let sleeper = engine.take(None).unwrap();
        client.end();
        other.ok("DELETE A");
        other.ok(if again { "CREATE A" } else { "NOOP" });
        sleeper.wake(&lab, &mut client, &CONTINUE);
        let expected = match again {
            true => "* BYE UIDVALIDITY changed, please reconnect.",
            false => "* BYE Selected mailbox was deleted.",
        };
        assert_eq!(client.line(), expected);
        assert!(matches!(client.end(), End::Inconsistent(_)));
        std::fs::remove_file(lab.options.base_dir.join("imap-hibernate")).unwrap();
    }
}

#[test]
fn a_state_has_the_same_size_for_any_mailbox() {
    let sizes = [1, 10, 1000].map(|mails| {
        let lab = lab_with(mails);
        let mut client = lab.select();
        let (_engine, sleeper) = asleep(&lab, &mut client);
        sleeper.state().to_bytes().len()
    });
    println!("state bytes for 1, 10 and 1,000 messages: {sizes:?}");
    // Only the digits of the numbers in it grow.
    assert!(sizes.iter().all(|size| *size <= 40), "{sizes:?}");
}
