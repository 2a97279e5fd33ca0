//! The end: BYE to everybody. An operator who has asked for it (`torpor stop`) is told when it is
//! over.

mod left;

use std::io;

use nix::sys::signal::Signal;

use super::engine::EngineKeeper;
use super::keeper::Keeper;
use super::petition::{Petition, Question, Verdict};
use super::signals::Asked;

pub use left::end_left;

impl Keeper<'_> {
    /// BYE to everybody. A second signal ends at once. `asked`: the operator who waits for it.
    ///
    /// # Errors
    /// An engine has ended otherwise than it was told to.
    pub fn stop(mut self, asked: Option<Petition>) -> io::Result<()> {
        self.notifier.stopping();
        self.notifier.forget_all();
        // Who waits for an upgrade sees the end of it.
        self.upgrade = None;
        tracing::info!(event = "stopping", "stopping: BYE to every sleeper");
        self.sockets.leave_hibernate();
        let others = self.others();
        if let Some(front) = &self.front {
            front.stop(&others);
        }
        let rest = self.engines.iter().filter(|engine| engine.rests()).count();
        self.engines.iter().for_each(|engine| engine.signal(Signal::SIGTERM));
        let (mut broken, mut asked) = (None, Vec::from_iter(asked));
        while self.engines.iter().any(EngineKeeper::is_running) {
            if self.wait(true)? == Some(Asked::Stop) {
                let what = "a second signal: ended at once, sleepers were closed without BYE";
                tracing::warn!("{what}");
                self.engines.iter().for_each(|engine| engine.signal(Signal::SIGKILL));
                self.sockets.leave();
                tell(asked, &Verdict::Broken(what.to_owned()));
                return Ok(());
            }
            self.hear_while_stopping(&mut asked);
            self.engines.iter_mut().for_each(EngineKeeper::hear);
            // One that has not begun may be ended by the signal itself.
            let ended = self.engines.iter_mut().filter_map(EngineKeeper::end_after_service);
            broken = ended.filter(|end| !end.is_orderly()).last().or(broken);
        }
        self.sockets.leave();
        let has_front = self.front.is_some();
        if let Some(front) = self.front.take() {
            front.join(&self.others());
        }
        self.engines.iter_mut().for_each(EngineKeeper::end_watcher);
        let dismissed = self.engines.iter().map(EngineKeeper::dismissed).sum();
        let text = dismissal(dismissed, has_front);
        if let Some(status) = broken {
            let why = format!("an engine has ended: {status}");
            tell(asked, &Verdict::Broken(format!("{text}, but {why}")));
            return Err(io::Error::other(why));
        }
        tracing::info!(event = "stopped", dismissed, "{text}");
        tell(
            asked,
            &match rest {
                0 => Verdict::Stopped(text),
                _ => Verdict::Broken(format!(
                    "{text}; {rest} engines rested, whose sleepers were closed"
                )),
            },
        );
        Ok(())
    }

    fn hear_while_stopping(&mut self, asked: &mut Vec<Petition>) {
        match self.hear_petition() {
            Some((Question::Stop, petition)) => asked.push(petition),
            Some((Question::Upgrade(_), petition)) => {
                petition.answer(&Verdict::Refused("torpor was told to stop".to_owned()));
            }
            None => {}
        }
    }
}

/// What is said of an end.
fn dismissal(sleepers: u64, has_front: bool) -> String {
    let plural = if sleepers == 1 { "" } else { "s" };
    let awake = if has_front { " and to all who were awake" } else { "" };
    format!("stopped: BYE to {sleepers} sleeper{plural}{awake}")
}

/// The last thing that this process does.
fn tell(asked: Vec<Petition>, verdict: &Verdict) {
    asked.into_iter().for_each(|petition| petition.answer_and_end(verdict));
}
