//! The socket pair between the keeper and one of its engines.
//!
//! One message is a word, its text, and at most one descriptor: whole or not at all, since the
//! pair is of SOCK_SEQPACKET. Nobody ever waits to send: a peer that does not read costs it the
//! message, and the keeper says so.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use torpor_handoff::sys::fd;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// To the engine, at its door: there is a new keeper. Its pid, and the engine's end of their
    /// link.
    Keeper,
    /// Its configuration as TOML, after a reload.
    Config,
    /// A listening hibernate socket, instead of the one before if there was one.
    Hibernate,
    /// The same of the control socket.
    Control,
    /// A watcher, instead of the one before.
    Watcher,
    /// The pid that stands for its sleepers in anvil.
    AnvilPid,
    /// From the engine: the number of the ring whose completions it begins with.
    Begins,
    /// It serves.
    Ready,
    /// Its engine thread has answered.
    Beat,
    /// Its last word: how many sleepers have gone because it was told to stop.
    Dismissed,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    pub word: Word,
    pub text: String,
    pub descriptor: Option<OwnedFd>,
}

/// One end.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
}

impl Link {
    /// Both ends: the keeper's and the engine's.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
        let (socket, other) = socketpair(AddressFamily::Unix, kind, None, flags)?;
        Ok((Self { socket }, other))
    }

    /// An end that this process was started with, or that an earlier image of it has had.
    pub fn over(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// # Errors
    /// The other end is gone, or has not read for so long that there is no room.
    pub fn send(&self, word: Word, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.push(word.byte());
        bytes.extend_from_slice(text.as_bytes());
        let sent = match fd {
            Some(descriptor) => fd::send_with_fd(self.socket.as_fd(), &bytes, descriptor),
            None => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(self.socket.as_raw_fd(), &bytes, flags)
            }
        }?;
        assert_eq!(sent, bytes.len(), "a packet goes whole");
        Ok(())
    }

    /// The next message, if there is one.
    ///
    /// # Errors
    /// UnexpectedEof: the other end is gone. InvalidData: it speaks another language.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut received = match fd::receive(self.socket.as_fd(), &mut bytes) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            // One that is killed with messages unread leaves a reset, before its last words.
            Err(Errno::ECONNRESET) => return self.receive(),
            other => other?,
        };
        bytes.truncate(received.count);
        let (first, text) = bytes.split_first().ok_or(io::ErrorKind::UnexpectedEof)?;
        let word = Word::ALL.into_iter().find(|word| word.byte() == *first);
        let word = word.ok_or(io::ErrorKind::InvalidData)?;
        let text = std::str::from_utf8(text).map_err(io::Error::other)?.to_owned();
        Ok(Some(Message { word, text, descriptor: received.passed.fds[0].take() }))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Word {
    const ALL: [Self; 10] = [
        Self::Keeper,
        Self::Config,
        Self::Hibernate,
        Self::Control,
        Self::Watcher,
        Self::AnvilPid,
        Self::Begins,
        Self::Ready,
        Self::Beat,
        Self::Dismissed,
    ];

    /// A letter that a trace of system calls shows.
    fn byte(self) -> u8 {
        match self {
            Self::Keeper => b'k',
            Self::Config => b'c',
            Self::Hibernate => b'h',
            Self::Control => b'o',
            Self::Watcher => b'w',
            Self::AnvilPid => b'a',
            Self::Begins => b'n',
            Self::Ready => b'r',
            Self::Beat => b'b',
            Self::Dismissed => b'd',
        }
    }
}

/// A configuration of many allowed uids fits; a packet is never larger than the socket's buffer.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_whole_in_order_and_with_their_descriptors() {
        let (keeper, other) = Link::pair().expect("a pair");
        let engine = Link::over(other);
        assert!(engine.receive().expect("open").is_none());
        keeper.send(Word::Config, "engines = 2\n", None).expect("sent");
        let file = tempfile::tempfile().expect("a file");
        keeper.send(Word::Hibernate, "", Some(file.as_fd())).expect("sent");
        let next = || engine.receive().expect("open").expect("a message");
        let config = next();
        assert_eq!((config.word, config.text.as_str()), (Word::Config, "engines = 2\n"));
        assert!(config.descriptor.is_none());
        let socket = next();
        assert_eq!((socket.word, socket.descriptor.is_some()), (Word::Hibernate, true));
        drop(engine);
        let end = keeper.receive().expect_err("nobody is there");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        keeper.send(Word::Control, "", None).expect_err("nobody is there");
    }

    #[test]
    fn every_word_has_a_letter_of_its_own() {
        let mut letters = Word::ALL.map(Word::byte);
        letters.sort_unstable();
        assert!(letters.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
