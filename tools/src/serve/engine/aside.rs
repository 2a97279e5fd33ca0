//! What the keeper of an engine does about the processes beside it, watcher and helper.

use std::os::fd::AsFd;

use super::{EngineKeeper, Helper, Word};
use crate::config::Config;
use crate::serve::binary::Binary;

impl EngineKeeper {
    /// Takes note of its watcher's end, and gives it another when it is time.
    pub fn look_at_watcher(&mut self, config: &Config, binary: &Binary) {
        if self.is_running() && self.watcher.look() {
            self.launch_watcher(config, binary);
        }
    }

    /// It has ended for good, and its watcher is to end, too.
    pub fn end_watcher(&mut self) {
        self.watcher.end();
    }

    /// Gives it a watcher. It serves without one as well.
    pub(super) fn launch_watcher(&mut self, config: &Config, binary: &Binary) {
        let number = self.number;
        match self.watcher.launch(config, binary) {
            Ok(watcher) => self.tell(Word::Watcher, "", Some(watcher.as_fd())),
            Err(error) => {
                tracing::error!("the watcher of engine {number} cannot be started: {error}");
            }
        }
    }

    /// Somebody has killed the process behind the pid in anvil: sleepers get another.
    pub fn look_at_helper(&mut self) {
        if self.helper.is_running() {
            return;
        }
        match Helper::start() {
            Ok(helper) => {
                self.helper = helper;
                self.tell(Word::AnvilPid, &self.helper.pid().to_string(), None);
            }
            Err(error) => tracing::error!("the helper process cannot be started: {error}"),
        }
    }
}
