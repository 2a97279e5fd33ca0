//! How an IDLE ends that was slept through.

use super::*;

#[test]
fn done_ends_an_idle_that_was_slept_through() {
    let lab = lab_with(1);
    let mut client = lab.select();
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let wakeup = Wakeup { client_input: b"DONE\r\nb NOOP\r\n", ..CONTINUE };
    sleeper.wake(&lab, &mut client, &wakeup);
    assert_eq!(client.line(), "i OK Idle completed.");
    assert_eq!(client.line(), "b OK NOOP completed.");
    assert!(client.ok("STORE 1 +FLAGS (\\Seen)")[0].contains("\\Seen \\Recent"));
}

#[test]
fn dovecots_ways_to_end_an_idle_are_understood() {
    let lab = lab_with(0);
    let mut client = lab.select();
    let (engine, sleeper) = asleep(&lab, &mut client);
    sleeper.wake(&lab, &mut client, &Wakeup { idle_continue: false, ..CONTINUE });
    assert_eq!(client.line(), "i OK Idle completed.");
    client.idle();
    let sleeper = engine.take(None).unwrap();
    client.end();
    let mut request = Vec::new();
    let wakeup = Wakeup { idle_continue: false, client_input: b"c NOOP\r\n", ..CONTINUE };
    render(&mut request, &sleeper.line, &wakeup);
    request.splice(request.len() - 1.., b"\tbad-done\n".iter().copied());
    let (answer, thread) = give(&lab, &request, sleeper.client);
    assert_eq!(answer, "+\n");
    client.attach(thread::spawn(move || thread.join().unwrap().expect("it was taken")));
    assert_eq!(client.line(), "i BAD Idle completed.");
    assert_eq!(client.line(), "c OK NOOP completed.");
}

#[test]
fn what_is_no_done_is_answered_as_if_nobody_had_slept() {
    let lab = lab_with(0);
    let mut client = lab.select();
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let wakeup = Wakeup { client_input: b"FOO BAR\r\nb NO", tag: Some(b"new"), ..CONTINUE };
    sleeper.wake(&lab, &mut client, &wakeup);
    client.send("OP\r\n");
    assert_eq!(client.line(), "new BAD Expected DONE.");
    assert_eq!(client.line(), "b OK NOOP completed.");
}
