//! Every kind of worker, over real sockets: what becomes of the client, and that nothing leaks.

mod ground;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ground::{
    PATIENCE, alone, alone_with, expect_alive, expect_cut, greet, hear_hang_up, parcel, take,
};
use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen};
use torpor_handoff::line::{MASTER_VERSION, MasterRequest};
use torpor_handoff::message::{Cause, Exited, Outcome, Wake};
use torpor_handoff::sys::fd::set_passpidfd;

#[test]
fn a_good_worker_gets_the_line_and_the_client() {
    alone(|ground| {
        ground.serve(1, |mut stream| {
            greet(&mut stream);
            let (line, mut client) = take(&mut stream);
            let request = MasterRequest::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!((request.line.username, request.line.tag), (&b"u1"[..], &b"a1"[..]));
            stream.write_all(b"+\n").unwrap();
            client.write_all(b"hello").unwrap();
        });
        let (returned, mut mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Taken);
        assert!(returned.reply.parcel.is_empty());
        assert!(returned.reply.parcel.capacity() >= 4096, "the allocation comes back");
        let mut text = [0; 5];
        mine.read_exact(&mut text).unwrap();
        expect_cut(returned, mine);
    });
}

#[test]
fn anything_behind_the_plus_is_ignored() {
    for reply in [&b"+"[..], b"+junk", b"+\nmore\n", &[b'+'; 100_000]] {
        alone(|ground| {
            ground.serve(1, move |mut stream| {
                greet(&mut stream);
                let _client = take(&mut stream);
                // The other side may hang up before it has read all of it.
                let _ = stream.write_all(reply);
            });
            let (returned, mine) = ground.handed();
            assert_eq!(returned.reply.outcome, Outcome::Taken);
            expect_cut(returned, mine);
        });
    }
}

#[test]
fn a_refusal_brings_the_client_and_the_reason_back() {
    let long = [b'-'; 4000];
    let refusals: [(&[u8], &[u8]); 5] = [
        (b"-Failed to verify client input: Missing auth_token\n", b"Failed to verify client inpu"),
        (b"-", b""),
        (b"-no line end", b"no line end"),
        (b"no\n", b"o"),
        (&long, &[b'-'; 256]),
    ];
    for (reply, reason) in refusals {
        let (reply, start) = (reply.to_vec(), reason);
        alone(move |ground| {
            ground.serve(1, move |mut stream| {
                greet(&mut stream);
                let _client = take(&mut stream);
                let _ = stream.write_all(&reply);
            });
            let (returned, mine) = ground.handed();
            assert_eq!(returned.reply.outcome, Outcome::Refused);
            assert!(returned.reply.parcel.starts_with(start));
            assert!(returned.reply.parcel.len() <= 256);
            expect_alive(returned, mine);
        });
    }
}

#[test]
fn a_worker_that_hangs_up_early_has_nothing() {
    alone(|ground| {
        ground.serve(2, drop);
        for _ in 0..2 {
            let (returned, mine) = ground.handed();
            assert_eq!(returned.reply.outcome, Outcome::Unsent(Cause::Closed));
            expect_alive(returned, mine);
        }
    });
    alone(|ground| {
        ground.serve(1, |mut stream| stream.write_all(&MASTER_VERSION[..11]).unwrap());
        let (returned, mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Unsent(Cause::Closed));
        expect_alive(returned, mine);
    });
}

#[test]
fn a_worker_that_hangs_up_after_its_version_has_nothing_either() {
    for _ in 0..20 {
        alone(|ground| {
            ground.serve(1, |mut stream| stream.write_all(MASTER_VERSION).unwrap());
            let (returned, mine) = ground.handed();
            // The descriptor may have gone out before the hang-up was seen.
            let outcome = returned.reply.outcome;
            assert!(matches!(outcome, Outcome::Gone | Outcome::Unsent(Cause::Closed)), "{outcome}");
            expect_alive(returned, mine);
        });
    }
}

#[test]
fn a_worker_that_hangs_up_after_the_request_gives_the_client_back() {
    alone(|ground| {
        ground.serve(1, |mut stream| {
            greet(&mut stream);
            take(&mut stream);
        });
        let start = Instant::now();
        let (returned, mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Gone);
        // Its process is known and lives on: a second is left to it to prove that it is dead.
        assert_eq!(start.elapsed() >= Duration::from_millis(900), has_pidfds());
        expect_alive(returned, mine);
    });
}

#[test]
fn a_worker_without_a_version_is_left_in_time() {
    for greeting in [&b""[..], &MASTER_VERSION[..23]] {
        alone(|ground| {
            ground.serve(1, move |mut stream| {
                stream.write_all(greeting).unwrap();
                hear_hang_up(stream);
            });
            let start = Instant::now();
            let (returned, mine) = ground.handed();
            assert_eq!(returned.reply.outcome, Outcome::Unsent(Cause::Silent));
            assert!(start.elapsed() >= Duration::from_millis(390));
            expect_alive(returned, mine);
        });
    }
}

#[test]
fn a_greeting_of_somebody_else_is_refused() {
    let greetings: [&[u8]; 6] = [
        b"VERSION\timap-master\t2\t0\n",
        b"VERSION\tanvil\t1\t0\n",
        b"* OK IMAP4rev1 ready\r\n",
        b"\n",
        b"VERSION\timap-master\t1\t0\n+\n",
        &[b'V'; 1 << 20],
    ];
    for greeting in greetings {
        let greeting = greeting.to_vec();
        alone(move |ground| {
            ground.serve(1, move |mut stream| {
                // The other side hangs up long before the end of the largest one.
                let _ = stream.write_all(&greeting);
                hear_hang_up(stream);
            });
            let (returned, mine) = ground.handed();
            assert_eq!(returned.reply.outcome, Outcome::Unsent(Cause::BadGreeting));
            expect_alive(returned, mine);
        });
    }
}

#[test]
fn a_worker_that_keeps_silent_gets_a_dead_client() {
    alone(|ground| {
        let (over, is_over) = channel();
        ground.serve(1, move |mut stream| {
            greet(&mut stream);
            let (_, mut client) = take(&mut stream);
            is_over_wait(&is_over);
            // Too late: whatever this worker does now, nobody is there.
            assert!(client.write_all(b"late").is_err());
            assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        });
        let (returned, mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Lost);
        expect_cut(returned, mine);
        over.send(()).unwrap();
    });
}

fn is_over_wait(is_over: &std::sync::mpsc::Receiver<()>) {
    is_over.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn nobody_at_the_path() {
    alone(|ground| {
        let (returned, mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Unsent(Cause::Absent(Errno::ENOENT as i32)));
        expect_alive(returned, mine);
        drop(UnixListener::bind(&ground.path).unwrap());
        let (returned, mine) = ground.handed();
        let refused = Cause::Absent(Errno::ECONNREFUSED as i32);
        assert_eq!(returned.reply.outcome, Outcome::Unsent(refused));
        expect_alive(returned, mine);
    });
}

#[test]
fn a_full_backlog() {
    alone(|ground| {
        let listener = UnixListener::bind(&ground.path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let _waiting = UnixStream::connect(&ground.path).unwrap();
        let (returned, mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Unsent(Cause::Full));
        expect_alive(returned, mine);
    });
}

#[test]
fn a_long_line_is_finished_in_pieces() {
    alone_with(5000, 5000, |ground| {
        ground.serve(1, |mut stream| {
            greet(&mut stream);
            std::thread::sleep(Duration::from_millis(50));
            let (line, _client) = take(&mut stream);
            assert_eq!(line, parcel(1 << 20));
            stream.write_all(b"+\n").unwrap();
        });
        let (mine, client) = UnixStream::pair().unwrap();
        let wake = Wake {
            slot: 1,
            generation: 8,
            session: 1,
            place: 0,
            attempt: 1,
            is_resumed: false,
            since_us: 0,
            parcel: parcel(1 << 20),
            client: client.into(),
        };
        ground.handoff.send(wake).map_err(drop).unwrap();
        ground.handoff.flush();
        let returned = ground.reply();
        assert_eq!(returned.reply.outcome, Outcome::Taken);
        expect_cut(returned, mine);
    });
}

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

/// Kernels before 6.5 do not tell who sends.
fn has_pidfds() -> bool {
    set_passpidfd(UnixStream::pair().unwrap().0.as_fd()).is_ok()
}

fn cpu_ms() -> i64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let times = [usage.user_time(), usage.system_time()];
    times.iter().map(|time| time.tv_sec() * 1000 + time.tv_usec() / 1000).sum()
}

#[test]
fn a_worker_that_dies_with_the_client_is_proven_dead() {
    for how in ["exit", "wait"] {
        alone_with(5000, 5000, |ground| {
            let mut worker = worker_process(&ground.path, how);
            let mine = ground.wake(3);
            if how == "wait" {
                // The worker says when it has the client; then it is killed.
                let said = BufReader::new(worker.stdout.take().unwrap());
                assert!(said.lines().any(|line| line.unwrap() == "taken"));
                worker.kill().unwrap();
            }
            let start = Instant::now();
            let returned = ground.reply();
            worker.wait().unwrap();
            assert_eq!(returned.reply.outcome, Outcome::Gone);
            // Well below the second that is waited for a worker that lives on.
            assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
            expect_alive(returned, mine);
        });
    }
}

/// A session is over when its worker's process is, and not when the wake is.
#[test]
fn the_end_of_a_worker_that_took_a_client_is_told_once() {
    if !has_pidfds() {
        return;
    }
    alone_with(5000, 5000, |ground| {
        let mut worker = worker_process(&ground.path, "serve");
        let (returned, mine) = ground.handed();
        assert_eq!(returned.reply.outcome, Outcome::Taken);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ground.handoff.exited(), None, "it serves its client");
        worker.kill().unwrap();
        worker.wait().unwrap();
        let exited = ground.exit();
        assert_eq!(exited, Exited { slot: 3, generation: 10, session: 3 });
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ground.handoff.exited(), None, "it dies once");
        expect_cut(returned, mine);
    });
}

/// A third worker takes the place of the first, which is then counted by age.
#[test]
fn more_workers_than_are_watched_cost_no_more_descriptors() {
    if !has_pidfds() {
        return;
    }
    alone_with(5000, 5000, |ground| {
        let mut workers = Vec::new();
        for slot in 0..3 {
            let worker = worker_process(&ground.path, "serve");
            let _mine = ground.wake(slot);
            assert_eq!(ground.reply().reply.outcome, Outcome::Taken);
            std::fs::remove_file(&ground.path).unwrap();
            workers.push(worker);
        }
        for (slot, mut worker) in workers.into_iter().enumerate() {
            worker.kill().unwrap();
            worker.wait().unwrap();
            if slot > 0 {
                assert_eq!(ground.exit().slot as usize, slot);
            }
        }
        assert_eq!(ground.handoff.exited(), None);
    });
}

/// This test binary once more, as a worker with a process of its own.
fn worker_process(path: &std::path::Path, how: &str) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture", "--quiet"])
        .env("TORPOR_TEST_WORKER", path)
        .env("TORPOR_TEST_WORKER_END", how)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < PATIENCE, "the worker did not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Not a test of its own: what `worker_process` runs. Without its environment it does nothing.
#[test]
fn worker() {
    let Some(path) = std::env::var_os("TORPOR_TEST_WORKER") else { return };
    let listener = UnixListener::bind(path).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    greet(&mut stream);
    let _client = take(&mut stream);
    let how = std::env::var("TORPOR_TEST_WORKER_END").expect("worker_process sets both");
    if how == "serve" {
        stream.write_all(b"+\n").unwrap();
        drop(stream);
    }
    if how != "exit" {
        println!("taken");
        std::io::stdout().flush().unwrap();
        std::thread::sleep(PATIENCE);
    }
    std::process::exit(0);
}
