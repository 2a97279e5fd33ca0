//! What systemd is told (sd_notify(3)). Without systemd nobody listens, and nothing happens.

use std::os::fd::BorrowedFd;

use sd_notify::{NotifyState, notify, notify_with_fds};

/// What the service manager believes of us.
#[derive(Default)]
pub struct Notifier {
    status: String,
}

/// Our name for a listening socket that systemd keeps (`FDSTORE=1`), so that connections that wait
/// in its queue outlive keeper and engines together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Hibernate,
    Control,
    Metrics,
    /// Where mail clients connect.
    Clients,
    Master,
}

impl Stored {
    const ALL: [Self; 5] =
        [Self::Hibernate, Self::Control, Self::Metrics, Self::Clients, Self::Master];

    /// True when it is one of ours, and not that of a socket unit.
    pub fn is_name(name: &str) -> bool {
        Self::ALL.iter().any(|stored| stored.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hibernate => "torpor-hibernate",
            Self::Control => "torpor-control",
            Self::Metrics => "torpor-metrics",
            Self::Clients => "torpor-clients",
            Self::Master => "torpor-master",
        }
    }
}

impl Notifier {
    /// Lets systemd keep a socket instead of the one that it has by this name, where the unit
    /// allows it (`FileDescriptorStoreMax`).
    pub fn keep(&self, stored: Stored, socket: BorrowedFd<'_>) {
        forget(stored);
        let state = [NotifyState::FdStore, NotifyState::FdName(stored.name())];
        if let Err(error) = notify_with_fds(&state, &[socket]) {
            tracing::debug!("systemd is not given {stored:?}: {error}");
        }
    }

    /// Nobody shall connect any more.
    pub fn forget_all(&self) {
        Stored::ALL.into_iter().for_each(forget);
    }

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

    /// Once a second: how many engines answer, and whether one hangs. The watchdog is fed only
    /// while none does, so that it ends with a restart of the service where the unit wants that.
    /// (An engine that rests after its end does not: its clients are held here.)
    pub fn look(&mut self, answering: usize, engines: usize, hangs: bool) {
        if !hangs {
            say(&[NotifyState::Watchdog]);
        }
        let status = format!("{answering} of {engines} engines answer");
        if status != self.status {
            say(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

fn forget(stored: Stored) {
    say(&[NotifyState::FdStoreRemove, NotifyState::FdName(stored.name())]);
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::debug!("systemd is not told {state:?}: {error}");
    }
}
