//! Many at once: what waits for whom, and for how long.

use super::*;

#[test]
fn everybody_is_told_bye_though_sends_are_few() {
    let mut bench = Bench::with_sends(1);
    let recvs = [(); 3].map(|()| bench.hibernate(BARE, None).1);
    bench.inbox.commands.push(Command::Stop { ticket: 1 });
    bench.step();
    let mut told = 0;
    for _ in 0..recvs.len() {
        let sends: Vec<(Token, u32)> = bench
            .ops()
            .filter_map(|op| match op {
                Op::SendClient { token, text, .. } => Some((*token, text.count)),
                _ => None,
            })
            .collect();
        assert_eq!(sends.len(), 1, "one at a time");
        told += 1;
        bench.complete(sends[0].0, sends[0].1 as i32, false);
        bench.now.mono_ms += 200;
        bench.step();
    }
    for recv in recvs {
        let cancel = Token::new(Kind::CancelRecv, recv.generation(), recv.index());
        bench.inbox.completions.push(Completion::plain(recv, -libc::ECANCELED, false));
        bench.complete(cancel, 0, false);
    }
    assert_eq!((told, bench.core.counters().disconnected), (3, 3));
}

#[test]
fn after_a_long_outage_nobody_rests_for_long_or_alone() {
    let mut bench = Bench::new();
    let clients = [[1, 2, -1, -1], [3, 4, -1, -1]].map(|wds| bench.hibernate(LINE, Some(wds)).1);
    bench.change(1);
    bench.change(3);
    for pause_ms in [0, 60_000] {
        bench.now.mono_ms += pause_ms;
        bench.step();
        for recv in clients {
            bench.join(recv);
            bench.reply(recv, Outcome::Refused);
        }
    }
    // The second slot rests for 969 ms, the first for 1000.
    bench.now.mono_ms += 969;
    bench.step();
    bench.join(clients[1]);
    bench.reply(clients[1], Outcome::Taken);
    assert_eq!(bench.core.state(clients[0].index()), State::Joining, "its rest is over too");
    bench.join(clients[0]);
    bench.reply(clients[0], Outcome::Taken);
    assert_eq!(bench.core.counters().unhibernated, 2);
}

/// A storm of wakes waits for workers, not for the clock.
#[test]
fn a_worker_that_has_ended_makes_room_for_the_next_wake() {
    let mut bench = Bench::new();
    bench.core.knobs.workers_max = 1;
    let [first, second] = ["s1", "s2"].map(|session| {
        let line = format!("u1\tpfx\tidle_notify_interval=0\tsession={session}\ttag=a\tidle-cmd\n");
        bench.hibernate(line.as_bytes(), None).1
    });
    bench.receive(first, b"DONE\r\n", None, true);
    bench.join(first);
    let woken = bench.woken.expect("its wake");
    bench.receive(second, b"DONE\r\n", None, false);
    bench.reply(first, Outcome::Taken);
    assert_eq!(bench.core.state(second.index()), State::Queued, "one worker is all there is");
    let other = Exited { generation: woken.generation + 1, ..woken };
    bench.inbox.exited.push(other);
    bench.step();
    assert_eq!(bench.core.counters().awake, 1, "the end of another wake's worker");
    bench.inbox.exited.push(woken);
    bench.step();
    assert_eq!(bench.core.counters().awake, 0);
    assert_eq!(bench.core.state(second.index()), State::Handed);
}
