//! Before it runs, a new program says whether it could go on: as a child, with all that it would
//! have, and without touching any of it.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::luggage::Luggage;
use crate::serve::binary::Binary;
use crate::serve::household::Household;
use crate::serve::offspring::Offspring;
use crate::serve::options::ServeOptions;
use crate::serve::{Host, Judgement};

/// One under way.
pub struct Rehearsal {
    since: Instant,
    child: Offspring,
    said: PipeReader,
}

impl Rehearsal {
    /// # Errors
    /// The program cannot be executed, or the host has no room.
    pub fn start(
        options: &ServeOptions,
        binary: &Binary,
        household: &Household,
        luggage: Luggage<'_>,
    ) -> io::Result<Self> {
        let (said, says) = io::pipe()?;
        fcntl(&said, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = binary.command();
        let number = household.lend_to(&mut command, luggage)?;
        command.args(options.to_go_on(["--rehearse".into(), number.to_string().into()]));
        command.stdin(Stdio::null()).stdout(says.try_clone()?).stderr(says);
        command.process_group(0);
        Ok(Self { since: Instant::now(), child: Offspring::spawn(&mut command)?, said })
    }

    /// Its child.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What came of it, if it has ended: yes, or why the program cannot go on.
    pub fn result(&mut self) -> Option<Result<(), String>> {
        match self.child.ended() {
            Some(status) => Some(self.said(status)),
            None if self.since.elapsed() > WITHIN => {
                self.child.kill();
                let text = format!("the new program has said nothing for {} s", WITHIN.as_secs());
                Some(Err(text))
            }
            None => None,
        }
    }

    fn said(&mut self, status: ExitStatus) -> Result<(), String> {
        let mut bytes = vec![0; SAID_BYTES_MAX];
        let count = self.said.read(&mut bytes).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let last = lines.next_back();
        match last {
            Some(line) if status.success() && line.starts_with(READY) => Ok(()),
            Some(line) => Err(format!("the new program says: {line}")),
            None => Err(format!("the new program has ended ({status}) and said nothing")),
        }
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // Nobody wants to know any more, or it has ended.
        self.child.kill();
    }
}

/// The child's own main function.
pub fn rehearse(options: &ServeOptions, number: i32) -> ExitCode {
    // Nobody would hear the answer.
    let judged = set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    match judged.and_then(|()| judge(options, number)) {
        Ok(()) => {
            println!("{READY}{}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(options: &ServeOptions, number: i32) -> io::Result<()> {
    let household = Household::read(number)?;
    let mut config = household.config()?;
    config.take_reloadable(&options.load().map_err(io::Error::other)?);
    let Judgement { refusals, .. } = Host::raise().judge(&config);
    if !refusals.is_empty() {
        return Err(io::Error::other(refusals.join("; ")));
    }
    for engine in &household.engines {
        let named = |error| io::Error::other(format!("engine {}: {error}", engine.number));
        engine.estate.check().map_err(named)?;
    }
    Ok(())
}

/// Before the version, in the line that says yes.
const READY: &str = "ready ";
/// Long enough for a busy machine to start a process.
const WITHIN: Duration = Duration::from_secs(10);
const SAID_BYTES_MAX: usize = 64 << 10;
