//! The helper process whose pid stands for all sleepers in Dovecot's anvil.
//!
//! `doveadm kick` of Dovecot 2.3 sends SIGTERM to the pid that anvil has for a session. That pid
//! must be neither the engine's, which holds everybody, nor one that ends by it: this process
//! sleeps, keeps every signal but SIGKILL waiting, and dies with its parent.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;

use super::offspring::Offspring;

/// The running helper. Dropping it ends it.
#[derive(Debug)]
pub struct Helper {
    child: Offspring,
}

impl Helper {
    /// Starts this program anew as a helper. Must be called by a thread that lives as long as the
    /// helper shall: the kernel ends it with its parent *thread*.
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("torpor").args([SUBCOMMAND, &std::process::id().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: Offspring::spawn(&mut command)? })
    }

    /// One that an earlier image of this process has started.
    pub fn of(pid: u32) -> Self {
        Self { child: Offspring::of(pid) }
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// False when somebody has killed it.
    pub fn is_running(&mut self) -> bool {
        self.child.ended().is_none()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may be dead already; then there is nothing to end.
        self.child.kill();
    }
}

/// The helper's own main function; `parent` is the pid that it must not outlive.
pub fn run(parent: u32) -> ExitCode {
    let set = SigSet::all();
    if set.thread_block().is_err() || set_pdeathsig(Signal::SIGKILL).is_err() {
        return ExitCode::FAILURE;
    }
    // The parent may have died before the line above.
    while getppid().as_raw() as u32 == parent {
        // A signal is taken and forgotten.
        let _ = set.wait();
    }
    ExitCode::FAILURE
}

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "anvil-pid";
