//! 200 peers without sockets on a TUN device, and a server that knows nothing of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use torpor_load::peer::{Crowd, Tally, missing};

#[test]
fn peers_connect_talk_and_reset() {
    if let Some(what) = missing() {
        eprintln!("SKIPPED: peers on a TUN device need {what}");
        return;
    }
    let (crowd, listener) = Crowd::start(PEERS).expect("root has a TUN device");
    crowd.open(PEERS).expect("it lives");
    let mut streams = accept(&listener);
    let all: Vec<u32> = (0..PEERS).collect();
    crowd.say(all.clone(), b"DONE\r\n").expect("it lives");
    for stream in streams.iter_mut().flatten() {
        let mut said = [0; 6];
        stream.read_exact(&mut said).expect("six bytes");
        assert_eq!(&said, b"DONE\r\n");
    }
    // A keepalive for everybody, an answer for the even.
    for (peer, stream) in streams.iter_mut().flatten().enumerate() {
        stream.write_all(b"* OK Still here\r\n").expect("room for a line");
        if peer % 2 == 0 {
            stream.write_all(b"a1 OK done\r\n").expect("room for a line");
        }
    }
    let tally = wait_for(&crowd, |tally| tally.bytes == 200 * 17 + 100 * 12);
    assert_eq!((tally.established, tally.answered, tally.answers), (PEERS, 100, 100));
    assert_eq!(tally.untagged, 200);

    // The server ends one and resets none; a peer hangs up; all others reset.
    drop(streams[7].take());
    wait_for(&crowd, |tally| tally.ended == 1);
    crowd.finish(vec![8]).expect("it lives");
    assert_eq!(end_of(streams[8].take()), Ok(0));
    crowd.reset((9..PEERS).collect()).expect("it lives");
    for stream in streams.drain(9..) {
        assert_eq!(end_of(stream), Err(std::io::ErrorKind::ConnectionReset));
    }
    // Dropping it resets the rest.
    drop(crowd);
    assert_eq!(end_of(streams[0].take()), Err(std::io::ErrorKind::ConnectionReset));
}

/// Everybody's stream, in the order of the peers.
fn accept(listener: &TcpListener) -> Vec<Option<TcpStream>> {
    let mut streams: Vec<_> = (0..PEERS).map(|_| None).collect();
    for _ in 0..PEERS {
        let (stream, from) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let peer = Crowd::peer_at(from).expect("a peer's address");
        let before = streams[peer as usize].replace(stream);
        assert!(before.is_none(), "peer {peer} came twice");
    }
    streams
}

fn end_of(stream: Option<TcpStream>) -> Result<usize, std::io::ErrorKind> {
    stream.expect("it is held").read(&mut [0; 16]).map_err(|error| error.kind())
}

fn wait_for(crowd: &Crowd, fits: impl Fn(&Tally) -> bool) -> Tally {
    let until = Instant::now() + PATIENCE;
    loop {
        let tally = crowd.tally().expect("it lives");
        if fits(&tally) {
            return tally;
        }
        assert!(Instant::now() < until, "{tally:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const PEERS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(10);
