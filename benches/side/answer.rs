//! How fast a hibernate request is answered: the worker's part, played by us.

use std::fs::create_dir_all;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{fstat, major, minor};
use torpor::dovecot::{Dovecot, Options};
use torpor_handoff::line::HIBERNATE_VERSION;
use torpor_handoff::sys::fd::send_with_fd;

/// The Maildirs of users `first..first + count`, made in time: one that has just changed is not
/// one that a client may sleep on.
///
/// # Errors
/// They cannot be made.
pub fn make_folders(dovecot: &Dovecot, first: u32, count: u32) -> io::Result<Vec<PathBuf>> {
    let paths = (first..first + count)
        .map(|user| dovecot.mailbox(&Options::user(user)).path().to_path_buf());
    let paths: Vec<PathBuf> = paths.collect();
    for path in &paths {
        create_dir_all(path.join("new"))?;
        create_dir_all(path.join("cur"))?;
    }
    Ok(paths)
}

/// Hibernates one client for each folder, and lets all of them hang up at the end.
///
/// Returns the time from connect to the last `+` of each.
///
/// # Errors
/// A request was refused, or its client was not let go.
pub fn measure(socket: &Path, folders: &[PathBuf]) -> io::Result<Vec<Duration>> {
    let mut requests = Vec::new();
    for folder in folders {
        requests.push(Request::new(folder)?);
    }
    let times: io::Result<Vec<Duration>> =
        requests.iter_mut().map(|one| one.send(socket)).collect();
    // A worker's copy of the notify descriptor goes soon; closing one takes milliseconds.
    let part = requests.len().div_ceil(CLOSERS).max(1);
    thread::scope(|scope| {
        while !requests.is_empty() {
            let some = requests.split_off(requests.len().saturating_sub(part));
            scope.spawn(move || some.into_iter().try_for_each(Request::hang_up));
        }
    });
    times
}

/// One client to be hibernated, with everything that its worker would have made.
struct Request {
    /// The client's own end.
    peer: UnixStream,
    client: Option<UnixStream>,
    notify: Inotify,
    line: String,
}

impl Request {
    fn new(folder: &Path) -> io::Result<Request> {
        let (peer, client) = UnixStream::pair()?;
        client.set_nonblocking(true)?;
        peer.set_read_timeout(Some(ANSWER_WITHIN))?;
        let notify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_MODIFY;
        for name in ["new", "cur"] {
            notify.add_watch(&folder.join(name), mask)?;
        }
        let home = folder.parent().unwrap_or(folder);
        let line = line(&client, home)?;
        Ok(Request { peer, client: Some(client), notify, line })
    }

    /// Speaks as the imap worker of Dovecot 2.3.19 does, write by write.
    fn send(&mut self, socket: &Path) -> io::Result<Duration> {
        let client = self.client.take().expect("a request is sent once");
        let (first, rest) = self.line.as_bytes().split_at(1);
        let begin = Instant::now();
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(HIBERNATE_VERSION)?;
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer)?;
        if &buffer[..count] != HIBERNATE_VERSION {
            return Err(refused(&buffer[..count]));
        }
        send_with_fd(stream.as_fd(), first, client.as_fd())?;
        stream.write_all(rest)?;
        plus(&mut stream, &mut buffer)?;
        send_with_fd(stream.as_fd(), b"\n", self.notify.as_fd())?;
        plus(&mut stream, &mut buffer)?;
        Ok(begin.elapsed())
    }

    /// The client hangs up; waits until the holder has let it go too.
    fn hang_up(mut self) -> io::Result<()> {
        drop(self.client.take());
        self.peer.shutdown(std::net::Shutdown::Write)?;
        self.peer.read_to_end(&mut Vec::new()).map(drop)
    }
}

fn plus(stream: &mut UnixStream, buffer: &mut [u8]) -> io::Result<()> {
    let count = stream.read(buffer)?;
    if buffer[..count].first() == Some(&b'+') { Ok(()) } else { Err(refused(&buffer[..count])) }
}

fn refused(bytes: &[u8]) -> io::Error {
    io::Error::other(format!("the hibernate request was answered {}", bytes.escape_ascii()))
}

/// The line of a client in IDLE, with the fields and the length that Dovecot 2.3.19 gives it.
fn line(client: &UnixStream, home: &Path) -> io::Result<String> {
    let stat = fstat(client)?;
    let (major, minor, inode) = (major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
    let user = home.file_name().unwrap_or_default().to_string_lossy();
    let home = home.display();
    let created = std::time::UNIX_EPOCH.elapsed().map_err(io::Error::other)?.as_secs();
    Ok(format!(
        "{user}\t%s(%u)<%{{pid}}><%{{session}}>: \tidle_notify_interval=120\
         \tpeer_dev_major={major}\tpeer_dev_minor={minor}\tpeer_ino={inode}\
         \tsession=bench{inode:011}\tsession_created={created}\
         \tlip=127.0.0.1\tlport=143\trip=127.0.0.1\trport=40000\
         \tuserdb_fields=uid=5000\x01tgid=5000\x01thome={home}\x01tauth_mech=PLAIN\
         \x01tauth_token=780b320eb92e3f4bec381d10bb91d6728a988269\
         \tuid=5000\tgid=5000\tmailbox=INBOX\ttag=a3\
         \tstats=in=26 out=747 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 \
         body_count=0 body_bytes=0\tidle-cmd\tnotify_fd\
         \tstate=YmFzZQpCSU5CT1gAvNOUNg9QBGsNUQAAg+zDdQCPoJHYBgIBAwAA+fDizwkA\n"
    ))
}

const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Closing an inotify instance waits for a grace period of the kernel, which threads share.
const CLOSERS: usize = 64;
