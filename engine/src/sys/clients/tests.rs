//! The ways to a socket in the vault: each is taken, and timed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

use super::*;
use crate::sys::sqe;

fn kept(slots_max: u32) -> Clients {
    let limits = Limits { slots_max, sends_in_flight_max: 64, ..Limits::default() };
    let vault = Vault::create(Places::new(&limits).count()).expect("a vault");
    Clients::new(&limits, Some(Arc::new(vault)))
}

/// What the module's comment says about its costs. All text arrives.
#[test]
fn ways_to_a_socket() {
    static TEXT: &[u8] = b"* OK Still here\r\n";
    let mut clients = kept(64);
    let pairs = (0..64).map(|slot| {
        let (ours, client) = UnixStream::pair().expect("a pair");
        clients.seat(slot, ours.into());
        client
    });
    let mut far: Vec<UnixStream> = pairs.collect();
    let mut heard = vec![0; TEXT.len()];
    let mut ring = IoUring::new(64).expect("a ring");
    let (mut sending, mut lending) = (0, 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for slot in 0..64 {
            clients.depart(slot);
            clients.arrive(slot);
        }
        clients.submitted();
        lending += start.elapsed().as_nanos();
        let start = Instant::now();
        for slot in 0..64 {
            let send =
                opcode::Send::new(Fd(clients.depart(slot)), TEXT.as_ptr(), TEXT.len() as u32);
            sqe::push(&mut ring, &send.flags(libc::MSG_DONTWAIT).build());
        }
        ring.submit_and_wait(64).expect("it never waits");
        clients.submitted();
        assert!(ring.completion().all(|done| done.result() == TEXT.len() as i32));
        (0..64).for_each(|slot| clients.arrive(slot));
        sending += start.elapsed().as_nanos();
        for client in &mut far {
            client.read_exact(&mut heard).expect("the text");
            assert_eq!(heard, TEXT);
        }
    }
    let each = |nanos| nanos / u128::from(64 * ROUNDS);
    println!("a number for the moment: {} ns, a send through it: {}", each(lending), each(sending));
}

#[test]
fn a_client_is_held_until_its_worker_has_it() {
    let mut clients = kept(4);
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    clients.seat(2, ours.into());
    drop(clients.unseat(2));
    client.write_all(b"still there").expect("the vault holds the other end");
    clients.release(2);
    assert!(client.write_all(b"gone").is_err(), "nobody holds it");
}

#[test]
#[should_panic(expected = "is in his place")]
fn a_client_that_sits_is_not_released() {
    let mut clients = kept(4);
    clients.seat(2, File::open("/dev/null").expect("a file").into());
    clients.release(2);
}

const ROUNDS: u32 = 200;
