//! What an engine or a watcher may do, once it has given up the rest.
//!
//! Hostile bytes are read in an engine, so there is least to be gained. One that root has started
//! keeps two capabilities: to connect to imap-master and anvil whoever owns them
//! (CAP_DAC_OVERRIDE), and to have rings whose memory RLIMIT_MEMLOCK would not allow
//! (CAP_IPC_LOCK). A watcher has only what opens mailboxes by their handles (CAP_DAC_READ_SEARCH).
//! Nothing that they might execute gets more than they have, and their memory, in which there are
//! tokens of sleepers, goes into no core file and is shown to nobody but root.

use std::ffi::CString;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use rustix::process::{PTracer, set_ptracer};

/// Gives up all but what is `kept` and becomes `user`, for all threads that are started afterwards.
///
/// # Errors
/// There is no such user, or the kernel refuses.
pub fn give_up(user: Option<&str>, kept: &[Capability]) -> io::Result<()> {
    if !Uid::effective().is_root() {
        // Nothing to give up, and whose processes these are may look into them: a new keeper does.
        allow_tracing();
        return Ok(set_no_new_privs()?);
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let kept: CapsHashSet = kept.iter().copied().collect();
    for capability in caps::all().difference(&kept) {
        // Without CAP_SETPCAP the set stays as it is. It is for programs that this one would
        // execute and that gain by it, which no_new_privs forbids besides.
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
    if let Some(name) = user {
        become_user(name)?;
    }
    // A service manager may have left us fewer.
    let had = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept = had.intersection(&kept).copied().collect();
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)?;
    set_no_new_privs()?;
    Ok(set_dumpable(false)?)
}

/// For a new keeper, which is no ancestor of this process. Root needs no permission.
pub fn allow_tracing() {
    // Where there is no Yama there is nothing to allow.
    let _ = set_ptracer(PTracer::Any);
}

fn become_user(name: &str) -> io::Result<()> {
    let user = User::from_name(name)?;
    let user = user.ok_or_else(|| io::Error::other(format!("user: there is no user {name}")))?;
    caps::securebits::set_keepcaps(true).map_err(io::Error::other)?;
    initgroups(&CString::new(name)?, user.gid)?;
    setgid(user.gid)?;
    Ok(setuid(user.uid)?)
}

pub const OF_ENGINE: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_IPC_LOCK];
pub const OF_WATCHER: [Capability; 1] = [Capability::CAP_DAC_READ_SEARCH];
