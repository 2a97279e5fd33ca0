//! Every kind of worker, over real sockets: what becomes of the client, and that nothing leaks.

mod crowd;
mod ground;
mod processes;

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ground::{
    PATIENCE, alone, alone_with, expect_alive, expect_cut, greet, hear_hang_up, parcel, take,
};
use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen};
use processes::has_pidfds;
use torpor_handoff::line::{MASTER_VERSION, MasterRequest};
use torpor_handoff::message::{Cause, Outcome, Wake};

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
