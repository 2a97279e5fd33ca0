//! What systemd is told (sd_notify(3)). Without systemd nobody listens, and nothing happens.

use sd_notify::{NotifyState, notify};

/// What the service manager believes of us.
#[derive(Default)]
pub struct Notifier {
    status: String,
}

impl Notifier {
    /// Everything serves, for the first time or after a reload.
    pub fn ready(&self) {
        say(&[NotifyState::Ready]);
    }

    pub fn reloading(&self) {
        // Type=notify-reload wants the time as well; others pass over it.
        match NotifyState::monotonic_usec_now() {
            Ok(time) => say(&[NotifyState::Reloading, time]),
            Err(_) => say(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }

    /// Once a second: how many engines answer. The watchdog is fed only while all of them do, so
    /// that one that hangs ends with a restart of the service where the unit wants that.
    pub fn look(&mut self, answering: usize, engines: usize) {
        if answering == engines {
            say(&[NotifyState::Watchdog]);
        }
        let status = format!("{answering} of {engines} engines answer");
        if status != self.status {
            say(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::debug!("systemd is not told {state:?}: {error}");
    }
}
