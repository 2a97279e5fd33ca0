//! A child process by its pid alone, so that the next image of this process can wait for it, too.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A child. Until it was waited for its pid is nobody else's.
#[derive(Debug)]
pub struct Offspring {
    pid: Pid,
    status: Option<ExitStatus>,
}

impl Offspring {
    /// # Errors
    /// No process could be made, or the program cannot be executed.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self::of(command.spawn()?.id()))
    }

    /// One that an earlier image of this process has started.
    pub fn of(pid: u32) -> Self {
        Self { pid: Pid::from_raw(pid as i32), status: None }
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// How it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.wait(Some(WaitPidFlag::WNOHANG))
    }

    /// Tells it, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // It may have ended all the same; then there is nobody to tell.
            let _ = kill(self.pid, signal);
        }
    }

    /// Ends it, and waits until it has ended.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(None);
    }

    fn wait(&mut self, flags: Option<WaitPidFlag>) -> Option<ExitStatus> {
        while self.status.is_none() {
            match waitpid(self.pid, flags) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::Exited(_, code)) => {
                    self.status = Some(ExitStatus::from_raw(code << 8));
                }
                Ok(WaitStatus::Signaled(_, signal, has_dumped)) => {
                    let core = i32::from(has_dumped) << 7;
                    self.status = Some(ExitStatus::from_raw(signal as i32 | core));
                }
                _ => break,
            }
        }
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_the_library_tells_it() {
        for script in ["exit 0", "exit 7", "kill -9 $$"] {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let expected = command.status().expect("sh");
            let child = Offspring::spawn(&mut command).expect("sh");
            assert_eq!(Offspring::of(child.pid()).wait(None), Some(expected), "{script}");
        }
        let mut child = Offspring::spawn(Command::new("sleep").arg("100")).expect("sleep");
        assert_eq!(child.ended(), None);
        child.kill();
        assert_eq!(child.ended().and_then(|status| status.signal()), Some(9));
    }
}
