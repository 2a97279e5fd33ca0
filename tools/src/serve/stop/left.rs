//! The end of what a killed keeper has left running, without another keeper for it.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::dismissal;
use crate::kit::Claim;
use crate::link::{Link, Word};
use crate::serve::charge::Charge;
use crate::serve::living::Living;
use crate::serve::living_front::LivingFront;
use crate::serve::petition::Verdict;
use crate::serve::{Host, Left};

/// Lets engines and front of `base_dir` that have no keeper say BYE, and waits for their end.
/// `None`: there are none.
///
/// # Errors
/// They have a keeper, or one of them cannot be looked into.
pub fn end_left(base_dir: &Path) -> io::Result<Option<Verdict>> {
    Host::raise();
    let Left { engines, front } = Left::find(base_dir)?;
    if engines.is_empty() && front.is_none() {
        return Ok(None);
    }
    let mut engines: Vec<Leaver> = engines.into_iter().map(Leaver::new).collect();
    let mut front = front.map(LivingFront::into_charge);
    let charges = front.iter().chain(engines.iter().map(|engine| &engine.charge));
    charges.for_each(|charge| charge.signal(Signal::SIGTERM));
    while engines.iter_mut().any(Leaver::lives)
        || front.as_mut().is_some_and(|front| front.ended().is_none())
    {
        thread::sleep(LOOK);
    }
    let dismissed = engines.iter().filter_map(|engine| engine.dismissed).sum();
    let text = dismissal(dismissed, front.is_some());
    let silent = engines.iter().find(|engine| engine.dismissed.is_none());
    Ok(Some(match silent {
        None => Verdict::Stopped(text),
        Some(Leaver { number, .. }) => Verdict::Broken(format!(
            "{text}; engine {number} has ended without a word, its sleepers may have been closed"
        )),
    }))
}

/// An engine that is about to end.
struct Leaver {
    number: u32,
    charge: Charge,
    /// Keeps a new keeper from taking over what ends.
    _claim: Claim,
    link: Option<Link>,
    /// Sleepers that it has said BYE to. None: it has not ended yet, or not as it was told to.
    dismissed: Option<u64>,
}

impl Leaver {
    fn new(living: Living) -> Self {
        // One that has ended has no door any more.
        let link = living.greet().ok();
        let Living { number, charge, claim, .. } = living;
        Self { number, charge, _claim: claim, link, dismissed: None }
    }

    /// Hears it, to its last word.
    fn lives(&mut self) -> bool {
        let lives = self.charge.ended().is_none();
        while let Some(message) = self.link.as_ref().and_then(|link| link.receive().ok()?) {
            if message.word == Word::Dismissed {
                self.dismissed = message.text.parse().ok();
            }
        }
        lives
    }
}

const LOOK: Duration = Duration::from_millis(10);
