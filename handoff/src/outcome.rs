//! How a conversation with `imap-master` ends, and whose fault it was.

/// The fate of one client's wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Outcome {
    /// The worker answered `+`: the client is its own, our descriptor is closed.
    #[error("taken by the worker")]
    Taken,
    /// The worker answered something else. It has not touched the client and never will, so we
    /// are the only owner again and may retry.
    #[error("worker: refused the client")]
    Refused,
    /// The worker hung up or died without `+` after the descriptor was sent. It has not touched
    /// the client, so we are the only owner again and may retry.
    #[error("worker: hung up before taking the client")]
    Gone,
    /// The descriptor was never sent. Retry.
    #[error("not sent: {0}")]
    Unsent(Cause),
    /// The worker has had the descriptor and kept silent until the limit. The client's connection
    /// was shut down, so that a worker that comes late finds nobody; our descriptor is closed.
    #[error("worker: took the descriptor and never answered; the client was shut down")]
    Lost,
}

impl Outcome {
    /// True exactly when the client is ours again and asleep as before.
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Taken | Self::Lost)
    }
}

/// Why a descriptor was never sent. Numbers are errnos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// Nobody listens at `master_path`, or we may not connect: ENOENT and ECONNREFUSED while
    /// Dovecot is down, EACCES when its listener's owner is wrong (Dovecot's configuration).
    #[error("Dovecot: cannot connect to imap-master (errno {0})")]
    Absent(i32),
    /// EAGAIN: the listener's backlog is full; Dovecot cannot start workers as fast as we ask.
    #[error("Dovecot: the backlog of imap-master is full")]
    Full,
    /// No VERSION line within `version_timeout_ms`.
    #[error("worker: no VERSION line in time")]
    Silent,
    /// The first line was not that of an `imap-master`.
    #[error("worker: the greeting is not that of an imap-master")]
    BadGreeting,
    /// The worker, or Dovecot at its process limit, hung up before its VERSION line.
    #[error("worker: hung up before its VERSION line")]
    Closed,
    /// Our own process or the kernel ran out of something: EMFILE, ENFILE, ENOBUFS, ENOMEM,
    /// ETOOMANYREFS; ECANCELED when the handoff thread was told to stop.
    #[error("host: errno {0}")]
    Host(i32),
}
