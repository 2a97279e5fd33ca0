//! The kernel's inotify limits, raised for one run and put back after it.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Raised limits. The shell that raised them, by the tests' own script and under the lock that
/// all runs on a machine share, puts them back when this is dropped or its process dies.
pub struct Limits(Child);

impl Limits {
    /// Raises the limits.
    ///
    /// # Errors
    /// They may not be raised here; the script has then said the line to type.
    pub fn raise() -> io::Result<Limits> {
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().expect("it is piped");
        let limits = Limits(child);
        for line in BufReader::new(stdout).lines() {
            if line? == "raised" {
                return Ok(limits);
            }
        }
        Err(io::Error::other("the inotify limits are too low"))
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        // The end of its input is the shell's sign to put them back.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Stock imap-hibernate keeps an inotify instance for each sleeper of one mail user.
const SCRIPT: &str = ". tests/lib/limits
limits_wanted=${limits_wanted/max_user_instances=8192/max_user_instances=65536}
trap restore_limits EXIT
raise_limits || exit 1
echo raised
cat > /dev/null";
