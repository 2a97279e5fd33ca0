//! How the processes of one engine end.

use super::EngineKeeper;
use crate::serve::charge::End;

impl EngineKeeper {
    /// Its end before it ever served, so that nobody has lost anything by it.
    pub fn failure(&mut self) -> Option<End> {
        if self.has_clients { None } else { self.ended() }
    }

    /// Its end after it has served. One that never did is nobody's loss.
    pub fn end_after_service(&mut self) -> Option<End> {
        self.ended().filter(|_| self.has_clients)
    }

    /// How its process has ended, once.
    pub fn ended(&mut self) -> Option<End> {
        let status = self.process.as_mut()?.ended()?;
        // Its last words.
        self.hear();
        let process = self.process.take()?;
        if process.heard.is_none() {
            self.stumbled = Some((process.serial, status));
        }
        Some(status)
    }

    /// Its clients are held here alone, and nobody runs who could tell them of an end.
    pub fn rests(&self) -> bool {
        self.has_clients && self.process.is_none()
    }

    /// Sleepers that its processes have said BYE to because they were told to stop.
    pub fn dismissed(&self) -> u64 {
        self.dismissed
    }
}
