//! A shell command in the midst of each storm: to kill, reload or upgrade the server while it is
//! busiest.

use std::io;
use std::process::{Child, Command, Stdio};

use serde::Serialize;

use crate::act::Act;
use crate::wire::Counts;

/// The command, which waits for a third of a storm's answers and then runs beside the rest of it.
pub struct Midway<'a> {
    command: &'a str,
    /// Answers that it waits for.
    due: u64,
    act: &'a Act,
    running: Option<(Child, Ran)>,
}

/// When it ran.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ran {
    /// Since the storm began.
    pub secs: f64,
    /// Answers that clients had by then.
    pub answered: u64,
}

impl<'a> Midway<'a> {
    /// `None` for acts that are no storm.
    pub fn of(command: &'a str, act: &'a Act) -> Option<Self> {
        let Act::Storm { clients, .. } = act else { return None };
        Some(Self { command, due: u64::from(clients.div_ceil(3)), act, running: None })
    }

    /// Starts it if its moment has come.
    ///
    /// # Errors
    /// There is no shell.
    pub fn look(&mut self, counts: Counts, secs: f64) -> io::Result<()> {
        let answered = counts.answers_to(self.act);
        if self.running.is_none() && answered >= self.due {
            let child = Command::new("sh").args(["-c", self.command]).stdin(Stdio::null()).spawn();
            self.running = Some((child?, Ran { secs, answered }));
        }
        Ok(())
    }

    /// Waits for its end; `None`: the storm was over before its moment came.
    ///
    /// # Errors
    /// It failed.
    pub fn end(self) -> io::Result<Option<Ran>> {
        let Some((mut child, ran)) = self.running else { return Ok(None) };
        let status = child.wait()?;
        let failed = || io::Error::other(format!("--midway {}: {status}", self.command));
        status.success().then_some(Some(ran)).ok_or_else(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::{Storm, Then};

    fn storm(clients: u32) -> Act {
        Act::Storm { what: Storm::Mail, clients, then: Then::Idle, newcomers: 0 }
    }

    fn counts(mail: u64) -> Counts {
        // Newcomers' answers are none of the storm's.
        Counts { answered: mail + 20, done: 9, mail, ..Counts::default() }
    }

    #[test]
    fn it_runs_once_after_a_third_of_the_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ran");
        let command = format!("echo again >> {}", file.display());
        let act = storm(10);
        let mut midway = Midway::of(&command, &act).expect("a storm");
        for (mail, secs) in [(3, 1.0), (4, 1.5), (9, 2.0)] {
            midway.look(counts(mail), secs).expect("a shell");
        }
        assert_eq!(midway.end().expect("it is fine"), Some(Ran { secs: 1.5, answered: 4 }));
        assert_eq!(std::fs::read_to_string(&file).expect("it ran"), "again\n");
    }

    #[test]
    fn what_fails_or_never_runs_is_told() {
        let act = storm(3);
        let mut failing = Midway::of("exit 3", &act).expect("a storm");
        failing.look(counts(1), 0.0).expect("a shell");
        assert!(failing.end().expect_err("it fails").to_string().contains("exit 3"));
        let early = Midway::of("exit 3", &act).expect("a storm");
        assert_eq!(early.end().expect("nothing ran"), None);
        assert!(Midway::of("true", &Act::LogIn).is_none());
    }
}
