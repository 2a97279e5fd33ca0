//! The scripted life: three clients fall asleep, one is answered in its sleep and leaves, one
//! speaks, one has mail. A worker whose hand-over fails keeps its client and tries again.

use std::fs;
use std::io::{IoSlice, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::ground::{Ground, PATIENCE, eventually};

/// What a life had to do twice.
#[derive(Debug, Default)]
pub struct Lived {
    /// Hand-overs that were refused or broken off.
    pub refused: u32,
    /// Whom a worker has taken, in their order. An heir, who has not seen what happened to a
    /// mailbox, wakes its client before its turn.
    pub taken: Vec<String>,
    pub ms: u128,
}

impl Ground {
    /// One life of each client. Whoever is lost in it fails the test.
    pub fn live(&mut self) -> Lived {
        let begin = Instant::now();
        let mut lived = Lived::default();
        let mut eve = self.hibernate("eve", false, &mut lived);
        let mut ann = self.hibernate("ann", false, &mut lived);
        let mut bob = self.hibernate("bob", true, &mut lived);
        eve.write_all(b"DONE\r\na2 IDLE\r\n").expect("eve is connected");
        expect(&mut eve, b"a1 OK Idle completed.\r\n+ idling\r\n");
        drop(eve);
        ann.write_all(b"DONE\r\n").expect("ann is connected");
        self.woken("ann", &mut ann, &mut lived);
        let mail = self.folder.join("new/1.mail");
        fs::write(&mail, b"mail").expect("delivered");
        self.woken("bob", &mut bob, &mut lived);
        fs::remove_file(&mail).expect("read and deleted");
        // Old enough to be no news to the next life.
        std::thread::sleep(Duration::from_millis(50));
        lived.ms = begin.elapsed().as_millis();
        lived
    }

    /// A worker has the client, and the client has heard of it, once.
    fn woken(&self, user: &str, client: &mut UnixStream, lived: &mut Lived) {
        while !lived.taken.iter().any(|taken| taken == user) {
            let taken = self.taken.recv_timeout(PATIENCE).expect("woken by a worker");
            assert!(!lived.taken.contains(&taken), "{taken} was woken twice");
            lived.taken.push(taken);
        }
        expect(client, user.as_bytes());
        assert_eq!(client.read(&mut [0]).expect("the worker ends"), 0, "told twice");
    }

    /// A worker gives its client, as often as it takes.
    fn hibernate(&self, user: &str, mailbox: bool, lived: &mut Lived) -> UnixStream {
        let (client, server) = UnixStream::pair().expect("a pair");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket");
        eventually("the client is asleep", || {
            let given = self.give(user, mailbox, &server).is_ok();
            lived.refused += u32::from(!given);
            if !given {
                std::thread::sleep(Duration::from_millis(50));
            }
            given
        });
        client
    }

    fn give(&self, user: &str, mailbox: bool, client: &UnixStream) -> std::io::Result<()> {
        let mut worker = UnixStream::connect(self.folder.join("run/imap-hibernate"))?;
        worker.set_read_timeout(Some(PATIENCE))?;
        worker.write_all(VERSION)?;
        let notify_fd = if mailbox { "\tmailbox=INBOX\tnotify_fd" } else { "" };
        let line = format!(
            "{user}\tp: \tidle_notify_interval=0\tsession={user}\ttag=a1\tidle-cmd{notify_fd}\n"
        );
        pass(&worker, &line.as_bytes()[..1], client.as_raw_fd())?;
        worker.write_all(&line.as_bytes()[1..])?;
        heard(&mut worker, VERSION)?;
        heard(&mut worker, b"+\n")?;
        if mailbox {
            let notify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            let watched = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            notify.add_watch(&self.folder.join("new"), watched)?;
            pass(&worker, b"\n", std::os::fd::AsFd::as_fd(&notify).as_raw_fd())?;
            heard(&mut worker, b"+\n")?;
        }
        Ok(())
    }
}

fn pass(worker: &UnixStream, byte: &[u8], descriptor: RawFd) -> nix::Result<usize> {
    let rights = [descriptor];
    let rights = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(worker.as_raw_fd(), &[IoSlice::new(byte)], &rights, MsgFlags::empty(), None)
}

/// The next bytes are these, or the hand-over has failed.
fn heard(worker: &mut UnixStream, words: &[u8]) -> std::io::Result<()> {
    let mut bytes = vec![0; words.len()];
    worker.read_exact(&mut bytes)?;
    match bytes == words {
        true => Ok(()),
        false => Err(std::io::Error::other(bytes.escape_ascii().to_string())),
    }
}

fn expect(client: &mut UnixStream, words: &[u8]) {
    let mut bytes = vec![0; words.len()];
    let read = client.read_exact(&mut bytes);
    assert!(read.is_ok(), "the client is lost: {read:?}, {}", bytes.escape_ascii());
    assert_eq!(bytes.escape_ascii().to_string(), words.escape_ascii().to_string());
}

const VERSION: &[u8] = b"VERSION\timap-hibernate\t1\t0\n";
