//! The watcher's own process: orders come in, mailboxes are opened, replies go out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Sender, unbounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use torpor_handoff::sys::fd::{Received, receive};

use crate::watch::{MARKS_LOST, WatchEvent};

use super::Ways;
use super::adopter::{self, Adopter, Heard};
use super::closer;
use super::marks::Marks;
use super::opener::Opener;
use super::poller::{Beat, Poller};
use super::remote::Remote;
use super::voice::Voice;
use super::wire::{Order, PACKET_BYTES_MAX, Said};

/// Watches for the engine at the other end of `socket` (AF_UNIX, SOCK_SEQPACKET) until that is
/// gone.
///
/// # Errors
/// A folder is not there, or the engine speaks another language.
pub fn serve(socket: OwnedFd, ways: Ways) -> io::Result<()> {
    let remote = Remote::new(&ways.poll_folders)?;
    let socket = Arc::new(socket);
    let (begin, [shared, marks]) = match next(&socket, PollTimeout::NONE)? {
        Next::Order(order, fds) => (order, fds),
        Next::Quiet | Next::End => return Ok(()),
    };
    let (Order::Begin { filesystems }, Some(shared)) = (begin, shared) else {
        return Err(io::Error::other("the engine does not begin with its inotify instance"));
    };
    let marks = marks.map(|instance| Marks::of(instance, filesystems));
    let voice = Voice::new(Arc::clone(&socket));
    let spawn = |name: &str| thread::Builder::new().name(name.into());
    let (closing, condemned) = unbounded();
    let closer = spawn("torpor-close").spawn(move || closer::run(&condemned))?;
    let polling = match ways.poll {
        Some(period) => {
            let (beats, told) = unbounded();
            let poller = Poller::new(ways.homes.clone(), period, voice.clone());
            // Nobody waits for it: a dead file server may hold it up for ever.
            spawn("torpor-poll").spawn(move || poller.run(&told))?;
            Some(beats)
        }
        None => None,
    };
    let adopter = Adopter::new(shared, marks, remote, Opener::new(ways.homes));
    let desk = Desk { adopter, closing, polling, voice, looked: Instant::now() };
    let ended = desk.run(&socket);
    assert!(closer.join().is_ok(), "the closing thread has panicked");
    ended
}

/// What a wait has brought.
enum Next {
    /// With the descriptors that came with it, as far as there was room for them.
    Order(Order, [Option<OwnedFd>; 2]),
    Quiet,
    /// The engine is gone.
    End,
}

fn next(socket: &OwnedFd, wait: PollTimeout) -> io::Result<Next> {
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    loop {
        match receive(socket.as_fd(), &mut bytes) {
            // One that was killed with replies unread leaves a reset before its end.
            Ok(Received { count: 0, .. }) | Err(Errno::ECONNRESET) => return Ok(Next::End),
            Ok(Received { count, passed, .. }) => {
                let strange = || io::Error::other("the engine gives no order that is known");
                let order = Order::from_bytes(&bytes[..count]).ok_or_else(strange)?;
                let [first, second, ..] = passed.fds;
                return Ok(Next::Order(order, [first, second]));
            }
            Err(Errno::EAGAIN) => {
                let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                match poll(&mut asked, wait) {
                    Ok(0) => return Ok(Next::Quiet),
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            // They pass.
            Err(Errno::EINTR | Errno::ENOBUFS | Errno::ENOMEM) => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Everything but the way in.
struct Desk {
    adopter: Adopter,
    closing: Sender<OwnedFd>,
    polling: Option<Sender<Beat>>,
    voice: Voice,
    /// When it was last looked whether marks are still there.
    looked: Instant,
}

impl Desk {
    fn run(mut self, socket: &OwnedFd) -> io::Result<()> {
        loop {
            let looks = self.adopter.opener.has_mounts() || self.adopter.marks.is_some();
            let wait = if looks { PollTimeout::from(LOOK_MS) } else { PollTimeout::NONE };
            match next(socket, wait)? {
                Next::Order(order, [notify, _]) => self.work(order, notify)?,
                Next::Quiet => self.adopter.opener.forget_mounts(),
                Next::End => return Ok(()),
            }
            self.look_at_marks();
        }
    }

    fn work(&mut self, order: Order, notify: Option<OwnedFd>) -> io::Result<()> {
        match (order, notify) {
            (Order::Adopt { serial, since_us }, Some(notify)) => {
                let since = SystemTime::UNIX_EPOCH + Duration::from_micros(since_us);
                let said = self.adopt(serial, notify, since);
                self.voice.say(said);
            }
            // We had no number for it. The engine has its own copy.
            (Order::Adopt { serial, .. }, None) => self.voice.say(Said::Kept { serial }),
            (Order::Release { wd }, None) => {
                self.adopter.release(wd);
                self.poll(Beat::End { wd });
            }
            (Order::Retire, Some(notify)) => {
                adopter::strip(&notify);
                assert!(self.closing.send(notify).is_ok(), "the closing thread has died");
            }
            (Order::Retire, None) => {}
            (order, _) => {
                return Err(io::Error::other(format!("the engine orders {order:?} out of turn")));
            }
        }
        Ok(())
    }

    fn adopt(&mut self, serial: u64, notify: OwnedFd, since: SystemTime) -> Said {
        let Ok(heard) = self.adopter.adopt(&notify, since) else { return Said::Kept { serial } };
        let Heard { wds, changed, polled: all } = heard;
        let mut polled = 0;
        for (at, wd, mark, seen) in all {
            polled |= 1 << at;
            self.poll(Beat::Begin { wd, mark: Box::new(mark), seen });
        }
        // While the worker has its own copy this costs 1 µs, afterwards 8 to 16 ms; the engine lets
        // go of its own at our reply, and so before the last `+`.
        drop(notify);
        Said::Shared { serial, wds, changed, polled }
    }

    fn poll(&self, beat: Beat) {
        if let Some(polling) = &self.polling {
            assert!(polling.send(beat).is_ok(), "the polling thread has died");
        }
    }

    /// An unmount ends a mark without a word: whoever slept on it must wake.
    fn look_at_marks(&mut self) {
        let Some(marks) = &mut self.adopter.marks else { return };
        if self.looked.elapsed() < Duration::from_millis(LOOK_MS.into()) {
            return;
        }
        self.looked = Instant::now();
        if !marks.look() {
            let lost = WatchEvent { wd: MARKS_LOST, mask: libc::IN_Q_OVERFLOW };
            self.voice.say(Said::News(lost));
        }
    }
}

/// Between two looks at marks; and open mount points would keep an idle filesystem from being
/// unmounted.
const LOOK_MS: u16 = 1000;
