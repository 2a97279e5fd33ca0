//! A child process that cannot outlive us, and the family that it starts.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running child. Dropping it ends the child and all of its descendants.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    exited: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` so that the kernel sends it SIGTERM when this process dies.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn spawn(command: &Command) -> io::Result<Process> {
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        Process::spawn_plain(wrapped)
    }

    /// The parent-death signal follows the thread that forked, so one thread lives as long as
    /// the child; it is also the one that reaps it.
    fn spawn_plain(mut command: Command) -> io::Result<Process> {
        let (started, start) = bounded(1);
        let (ended, exited) = bounded(1);
        thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(child.id()));
            let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
            let _ = ended.send(status);
        })?;
        let pid = start.recv().map_err(io::Error::other)??;
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        assert!(pid > 1, "a child has a pid of its own");
        Ok(Process { pid, exited, status: None })
    }

    /// The pid of the child.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The pids of everybody below it, zombies left out.
    pub fn descendants(&self) -> Vec<i32> {
        descendants(self.pid).into_iter().map(|relative| relative.pid).collect()
    }

    /// Sends a signal, unless the child has gone.
    ///
    /// # Errors
    /// The kernel refused for another reason than that there is no such process.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.wait(Duration::ZERO).is_some() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the end of the child; `None` when it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.exited.recv_timeout(within).ok();
        }
        self.status
    }

    /// Ends the child: SIGTERM, after `grace` SIGKILL, and SIGKILL for every descendant left.
    pub fn end(&mut self, grace: Duration) {
        let family = descendants(self.pid);
        let _ = self.signal(Signal::SIGTERM);
        if self.wait(grace).is_none() {
            let _ = self.signal(Signal::SIGKILL);
            let _ = self.wait(Duration::from_secs(10));
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        while family.iter().any(Relative::lives) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        for relative in family.iter().filter(|relative| relative.lives()) {
            let _ = kill(Pid::from_raw(relative.pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Duration::from_secs(5));
    }
}

/// Raises the soft limit of open files to the hard one and says what it is now.
pub fn raise_open_files() -> u64 {
    let (_, hard) = open_files_limit();
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    open_files_limit().0
}

/// Soft and hard limit of open files.
pub(super) fn open_files_limit() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024))
}

/// All processes below `pid` at this moment.
pub(super) fn descendants(pid: i32) -> Vec<Relative> {
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
                parents.push(child);
                found.extend(Relative::look(child));
            }
        }
    }
    found
}

/// One process, told apart from a later one with the same pid by its start time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relative {
    pub pid: i32,
    pub name: String,
    start_ticks: u64,
}

impl Relative {
    fn look(pid: i32) -> Option<Relative> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and brackets; the fields after its last bracket may not.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split_ascii_whitespace();
        let state = fields.next()?;
        // proc(5): the start time is field 22; the state is field 3.
        let start_ticks = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Relative { pid, name, start_ticks })
    }

    fn lives(&self) -> bool {
        Relative::look(self.pid).is_some_and(|now| now.start_ticks == self.start_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ending_a_process_ends_its_family() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & sleep 600 & wait"]);
        let mut process = Process::spawn(&command).expect("sh starts");
        let deadline = Instant::now() + Duration::from_secs(5);
        while descendants(process.pid()).len() < 2 {
            assert!(Instant::now() < deadline, "the shell starts two sleeps");
            thread::sleep(Duration::from_millis(5));
        }
        let family = descendants(process.pid());
        process.end(Duration::from_secs(2));
        assert_eq!(process.status.and_then(|status| status.signal()), Some(15));
        thread::sleep(Duration::from_millis(50));
        assert!(family.iter().all(|relative| !relative.lives()), "{family:?}");
    }
}
