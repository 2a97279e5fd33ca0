//! One vault in one process; what outlives a process is tried in `tests/vault.rs`.

use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

use super::*;

fn numbers() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[test]
fn a_file_is_put_taken_and_cleared() {
    let vault = Vault::create(TABLE_PLACES + 1).expect("a vault");
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    vault.put(TABLE_PLACES, &ours).expect("put");
    drop(ours);
    for text in [b"one", b"two"] {
        let mut taken = UnixStream::from(vault.take(TABLE_PLACES).expect("taken"));
        client.write_all(text).expect("the vault holds the other end");
        let mut heard = [0; 3];
        taken.read_exact(&mut heard).expect("the place keeps the file");
        assert_eq!(&heard, text);
    }
    vault.clear(TABLE_PLACES).expect("cleared");
    assert_eq!(client.read(&mut [0]).expect("an end"), 0, "cleared is closed");
    let empty = vault.take(TABLE_PLACES).expect_err("empty");
    assert_eq!(empty.raw_os_error(), Some(libc::EBADF));
    vault.clear(TABLE_PLACES).expect("an empty place may be cleared");
}

/// A process that dies between queueing and submitting leaves entries behind.
#[test]
fn what_a_dead_process_had_queued_is_not_done() {
    static SECRET: &[u8] = b"whatever lies there in the heir";
    let vault = Vault::create(4).expect("a vault");
    let (ours, mut client) = UnixStream::pair().expect("a pair");
    vault.put(2, &ours).expect("put");
    let send = opcode::Send::new(Fixed(2), SECRET.as_ptr(), SECRET.len() as u32).build();
    (0..5).for_each(|_| sqe::push(&mut lock(&vault.tables[0]), &send));
    let copy = |ring: BorrowedFd| ring.try_clone_to_owned().expect("dup").into_raw_fd();
    let copies: Vec<RawFd> = vault.descriptors().map(copy).collect();
    let heir = Vault::inherit(&copies, 4).expect("inherited");
    assert_eq!(lock(&heir.tables[0]).submission().len(), 0, "all of them were taken off");
    client.set_nonblocking(true).expect("a socket");
    let heard = client.read(&mut [0; 64]).expect_err("silence");
    assert_eq!(heard.kind(), io::ErrorKind::WouldBlock);
    let taken = heir.take(2).expect("the first completion is ours");
    heir.put(3, &taken).expect("put");
    assert!(vault.take(3).is_ok(), "both see one table");
}

#[test]
fn numbers_that_are_no_rings_are_refused() {
    let file = std::fs::File::open("/proc/self/status").expect("procfs");
    let raw = file.into_raw_fd();
    assert!(Vault::inherit(&[raw], 4).is_err());
    assert!(Vault::inherit(&[], 4).is_err(), "too few");
}

#[test]
fn two_threads_share_it() {
    let vault = Vault::create(64).expect("a vault");
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let vault = &vault;
            scope.spawn(move || {
                for place in (thread * 32..thread * 32 + 32).cycle().take(5000) {
                    let (ours, _theirs) = UnixStream::pair().expect("a pair");
                    vault.put(place, &ours).expect("put");
                    drop(vault.take(place).expect("taken"));
                    vault.clear(place).expect("cleared");
                }
            });
        }
    });
    assert!(numbers() < 200, "numbers leak");
}
