//! All that an engine is started with, written down in a memfd that is its standard input.
//!
//! Whatever an engine needs is there when it begins, so one whose keeper dies in that moment goes
//! on. And whoever may look into an engine's descriptors (pidfd_getfd(2)) finds here which is
//! which, so a new keeper can take over an engine that does not even answer.
//!
//! A kit is sealed: nobody can change it, and since it belongs to the user who has made it, nobody
//! else can make one up.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, Flock, FlockArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::estate::Inventory;

/// Descriptors are numbers in the engine's process, and stay so as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kit {
    /// Of the engine, from 1.
    pub number: u32,
    /// That of all engines together.
    pub config: Config,
    /// The pid that stands for its sleepers in anvil, at first.
    pub anvil_pid: u32,
    /// Its end of the link to the keeper that has started it.
    pub link: RawFd,
    /// A socket pair of its own. It listens at the first end, and lends the second to nobody: a
    /// new keeper takes it, and says through it that there is one.
    pub door: [RawFd; 2],
    pub listeners: Listeners,
    /// All but the formers: their numbers are free again when the engine serves.
    pub estate: Inventory,
}

/// Sockets to accept from. One that was bound anew has the number of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    pub hibernate: RawFd,
    pub control: RawFd,
    pub metrics: Option<RawFd>,
}

/// Held by a keeper that lives for each kit that it has given out.
pub type Claim = Flock<File>;

impl Kit {
    /// Writes it down and seals it.
    ///
    /// # Errors
    /// The host has no room.
    pub fn pack(&self) -> io::Result<File> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create(NAME, flags)?);
        file.write_all(&serde_json::to_vec(self)?)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
        Ok(file)
    }

    /// Reads what [`Kit::pack`] has written.
    ///
    /// # Errors
    /// InvalidData: it is no kit of this version.
    pub fn unpack(file: &File) -> io::Result<Self> {
        let mut bytes = vec![0; file.metadata()?.len().min(BYTES_MAX) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        serde_json::from_slice(&bytes).map_err(io::Error::from)
    }

    /// True exactly when this user has made it with [`Kit::pack`], and it is as it was then.
    pub fn is_genuine(file: &File) -> bool {
        let sealed = fcntl(file, FcntlArg::F_GET_SEALS);
        let is_sealed = sealed.is_ok_and(|bits| SealFlag::from_bits_truncate(bits) == seals());
        let is_ours = file.metadata().is_ok_and(|data| data.uid() == Uid::effective().as_raw());
        let name = fs::read_link(numbered(file));
        is_sealed && is_ours && name.is_ok_and(|name| name == Path::new(LINK))
    }

    /// Says that its keeper is this process, for as long as that lives.
    ///
    /// # Errors
    /// WouldBlock: another process has said so, and lives.
    pub fn claim(file: &File) -> io::Result<Claim> {
        // The lock belongs to the opening: an engine that has the kit open does not hold it.
        let own = File::open(numbered(file))?;
        Flock::lock(own, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
    }

    /// Goes on with a claim that an earlier image of this process had, and has never let go of.
    ///
    /// # Errors
    /// It is none.
    pub fn keep_claim(file: File) -> io::Result<Claim> {
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
    }
}

fn numbered(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

const NAME: &str = "torpor-kit";
/// What procfs calls it.
const LINK: &str = "/memfd:torpor-kit (deleted)";
/// A configuration with very many allowed uids, generously.
const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::Ring;
    use torpor_engine::limits::Limits;

    fn kit() -> Kit {
        let ring = Ring { number: 4, descriptors: [212, 213] };
        let estate = Inventory {
            limits: Limits::default().words(),
            memory: [201, 202, 203, 204, 205],
            vault: vec![206],
            set: 207,
            item: 200,
            dense: None,
            links: Vec::new(),
            watches: Some([215, 216]),
            main: ring,
            formers: Vec::new(),
        };
        let listeners = Listeners { hibernate: 210, control: 211, metrics: None };
        let (config, door) = (Config::default(), [208, 209]);
        Kit { number: 2, config, anvil_pid: 77, link: 214, door, listeners, estate }
    }

    #[test]
    fn a_kit_comes_back_as_often_as_it_is_read_and_cannot_be_changed() {
        let mut file = kit().pack().expect("a memfd");
        for _ in 0..2 {
            assert_eq!(Kit::unpack(&file).expect("a kit"), kit());
        }
        file.write_all(b" ").expect_err("sealed");
        assert!(Kit::is_genuine(&file));
    }

    #[test]
    fn what_only_looks_like_a_kit_is_none() {
        let text = serde_json::to_vec(&kit()).expect("text");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&text).expect("written");
        assert!(!Kit::is_genuine(&file), "a file");
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create(NAME, flags).expect("a memfd"));
        file.write_all(&text).expect("written");
        assert!(!Kit::is_genuine(&file), "not sealed");
        let mut file = File::from(memfd_create("other", flags).expect("a memfd"));
        file.write_all(&text).expect("written");
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals())).expect("sealed");
        assert!(!Kit::is_genuine(&file), "of another name");
        if Uid::effective().is_root() {
            let file = kit().pack().expect("a memfd");
            nix::unistd::fchown(&file, Some(Uid::from_raw(65_534)), None).expect("root may");
            assert!(!Kit::is_genuine(&file), "another user's");
        }
    }

    #[test]
    fn one_process_has_a_kit_and_it_is_free_after_its_end() {
        let file = kit().pack().expect("a memfd");
        let claim = Kit::claim(&file).expect("free");
        let refused = Kit::claim(&file).expect_err("taken");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(claim);
        Kit::claim(&file).expect("free again");
    }
}
