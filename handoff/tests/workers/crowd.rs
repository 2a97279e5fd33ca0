//! Many clients at once, and what waiting for their workers costs.

use super::*;

#[test]
fn many_at_once_and_no_more_than_allowed() {
    alone_with(5000, 5000, |ground| {
        // Every third one is refused, every third one hung up on.
        let (count, turn) = (64, std::sync::atomic::AtomicUsize::new(0));
        ground.serve(count, move |mut stream| {
            greet(&mut stream);
            let _client = take(&mut stream);
            match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
                0 => stream.write_all(b"+\n").unwrap(),
                1 => stream.write_all(b"-busy\n").unwrap(),
                _ => {}
            }
        });
        let clients: Vec<_> = (0..64).map(|slot| ground.wake(slot)).collect();
        let (_mine, client) = UnixStream::pair().unwrap();
        let number = client.as_raw_fd();
        let wake = Wake {
            slot: 64,
            generation: 71,
            session: 64,
            place: 0,
            attempt: 1,
            is_resumed: false,
            since_us: 0,
            parcel: parcel(0),
            client: client.into(),
        };
        let back = ground.handoff.send(wake).unwrap_err();
        assert_eq!((back.slot, back.client.as_raw_fd()), (64, number));
        let mut outcomes = [0; 3];
        let mut clients: Vec<_> = clients.into_iter().map(Some).collect();
        for _ in 0..64 {
            let returned = ground.reply();
            let mine = clients[returned.reply.slot as usize].take().expect("one reply a wake");
            match returned.reply.outcome {
                Outcome::Taken => {
                    outcomes[0] += 1;
                    expect_cut(returned, mine);
                }
                Outcome::Refused => {
                    outcomes[1] += 1;
                    assert_eq!(returned.reply.parcel, b"busy");
                    expect_alive(returned, mine);
                }
                outcome => {
                    outcomes[2] += 1;
                    assert_eq!(outcome, Outcome::Gone);
                    expect_alive(returned, mine);
                }
            }
        }
        assert_eq!(outcomes, [22, 21, 21]);
        assert_eq!(ground.handoff.in_flight(), 0);
    });
}

#[test]
fn stopping_gives_back_what_was_not_sent() {
    alone_with(60_000, 300, |ground| {
        let ((over, is_over), (taken, is_taken)) = (channel(), channel());
        ground.serve(1, move |mut stream| {
            // The first client is taken in silence; the second waits in the backlog.
            greet(&mut stream);
            let client = take(&mut stream);
            taken.send(()).unwrap();
            is_over_wait(&is_over);
            drop(client);
        });
        let silent = ground.wake(1);
        is_over_wait(&is_taken);
        let waiting = ground.wake(2);
        let start = Instant::now();
        ground.handoff.stop();
        assert!(start.elapsed() < Duration::from_secs(5));
        let (first, second) = (ground.reply(), ground.reply());
        let canceled = Cause::Host(Errno::ECANCELED as i32);
        assert_eq!((first.reply.slot, first.reply.outcome), (2, Outcome::Unsent(canceled)));
        expect_alive(first, waiting);
        assert_eq!((second.reply.slot, second.reply.outcome), (1, Outcome::Lost));
        expect_cut(second, silent);
        over.send(()).unwrap();
    });
}

#[test]
fn waiting_costs_no_time() {
    alone(|ground| {
        // Bytes that stay unread, a socket that is always writable, a hang-up that stays ready.
        ground.serve(3, |mut stream| {
            greet(&mut stream);
            let _client = take(&mut stream);
        });
        let clients: Vec<_> = (0..3).map(|slot| ground.wake(slot)).collect();
        let before = cpu_ms();
        for _ in clients {
            assert_eq!(ground.reply().reply.outcome, Outcome::Gone);
        }
        // A second passes, since this process lives and so proves nothing.
        assert!(cpu_ms() - before < 200, "{} ms of CPU", cpu_ms() - before);
    });
}

fn cpu_ms() -> i64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let times = [usage.user_time(), usage.system_time()];
    times.iter().map(|time| time.tv_sec() * 1000 + time.tv_usec() / 1000).sum()
}
