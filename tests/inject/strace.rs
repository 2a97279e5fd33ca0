//! strace around a running process: something happens once at a call of each of its threads.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Attached. What it wrote counts what happened.
pub struct Strace {
    child: Child,
    log: PathBuf,
}

impl Strace {
    /// `what` happens at the `nth` such call: `error=ENOMEM`, `signal=SIGKILL`.
    pub fn attach(pid: u32, call: &str, what: &str, nth: u32) -> Self {
        let log = std::env::temp_dir().join(format!("torpor-strace.{pid}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:{what}:when={nth}")]);
        command.arg("-o").arg(&log).args(["-p", &pid.to_string()]).stdin(Stdio::null());
        let mut strace = Self { child: command.spawn().expect("strace is installed"), log };
        let until = Instant::now() + Duration::from_secs(20);
        while !is_traced(pid) {
            if let Some(ended) = strace.child.try_wait().expect("our child") {
                // It may have met the call already, and killed the process.
                assert!(ended.success(), "strace {call} {what}");
                break;
            }
            assert!(Instant::now() < until, "strace attaches to every thread");
            std::thread::sleep(Duration::from_millis(1));
        }
        strace
    }

    /// How many errors it has injected.
    pub fn detach(mut self) -> usize {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        if self.child.try_wait().expect("our child").is_none() {
            kill(Pid::from_raw(pid), Signal::SIGINT).expect("it is not waited for");
        }
        self.child.wait().expect("our child");
        let text = fs::read_to_string(&self.log).expect("what it wrote");
        fs::remove_file(&self.log).expect("it was there");
        text.matches("(INJECTED)").count()
    }
}

/// True when every thread has a tracer.
fn is_traced(pid: u32) -> bool {
    // It may have been killed meanwhile.
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}
