//! Workers with processes of their own, whose end proves something.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use torpor_handoff::message::{Exited, Outcome};
use torpor_handoff::sys::fd::set_passpidfd;

use crate::ground::{PATIENCE, alone_with, expect_alive, expect_cut, greet, take};

/// Kernels before 6.5 do not tell who sends.
pub fn has_pidfds() -> bool {
    set_passpidfd(UnixStream::pair().unwrap().0.as_fd()).is_ok()
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
        .args(["--exact", "processes::worker", "--nocapture", "--quiet"])
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
