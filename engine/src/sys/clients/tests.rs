//! The ways to a socket in the vault: each is taken, and timed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::sys::socket::{MsgFlags, send};

use super::*;
use crate::token::Kind;

fn kept(slots_max: u32) -> Clients {
    let limits = Limits { slots_max, sends_in_flight_max: 64, ..Limits::default() };
    let vault = Vault::create(Places::new(&limits).count()).expect("a vault");
    Clients::new(&limits, Some(Arc::new(vault)))
}

/// What the module's comment says about its costs. All text arrives, whichever way it went.
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
    let mut heard = vec![0; TEXT.len() * 64];
    let (mut by_vault, mut by_number) = (0, 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for slot in 0..64 {
            let token = Token::new(Kind::ClientSend, 1, slot);
            clients.send(token, slot, TEXT.as_ptr(), TEXT.len() as u32);
        }
        clients.flush(|token, result| {
            assert_eq!(result, TEXT.len() as i32);
            token.index()
        });
        by_vault += start.elapsed().as_nanos();
        let start = Instant::now();
        for slot in 0..64 {
            let raw = clients.depart(slot);
            assert_eq!(send(raw, TEXT, MsgFlags::MSG_DONTWAIT), Ok(TEXT.len()));
            clients.submitted();
            clients.arrive(slot);
        }
        by_number += start.elapsed().as_nanos();
        for client in &mut far {
            client.read_exact(&mut heard[..TEXT.len() * 2]).expect("both texts");
        }
    }
    let each = |nanos| nanos / u128::from(64 * ROUNDS);
    println!("a send: {} ns through the vault's ring", each(by_vault));
    println!("a send: {} ns through a number for the moment", each(by_number));
    let start = Instant::now();
    for slot in (0..64).cycle().take(64 * ROUNDS as usize) {
        clients.depart(slot);
        clients.submitted();
        clients.arrive(slot);
    }
    println!("a number for the moment: {} ns", each(start.elapsed().as_nanos()));
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
