//! IDLE (RFC 2177), and the moment when its client may sleep.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use imap_codec::IdleDoneCodec;
use imap_codec::decode::Decoder as _;

use crate::end::Trouble;
use crate::limits::{
    CHECK_INTERVAL, COMMAND_WAIT_MAX, HAND_OVER_PAUSE_MAX, LINE_BYTES_MAX, LOOK_INTERVAL,
    SYNC_INTERVAL, WATCH_PAUSE_MAX,
};
use crate::link::Line;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::session::Session;
use crate::watch::Watch;

/// What a running IDLE waits for.
struct Idle {
    /// `None`: no mailbox is selected, or no inotify instance could be had.
    watch: Option<Watch>,
    /// The mailbox has to be looked at.
    is_dirty: bool,
    looked_at: Instant,
    keepalive_at: Option<Instant>,
    hand_over_at: Option<Instant>,
    /// Until the next attempt, if one fails.
    hand_over_pause: Duration,
}

impl Session {
    pub(crate) fn idle(&mut self, tag: &str) -> Result<Reply, Trouble> {
        let idle = self.begin_idle();
        self.sync(true, &Ranges::default())?;
        self.link.write_all(b"+ idling\r\n")?;
        self.go_on_idling(tag, idle)
    }

    /// An IDLE that the engine has kept: the client has seen its `+` already.
    pub(crate) fn resume_idle(&mut self, tag: &str) -> Result<Reply, Trouble> {
        // Most often the client is awake because it has said DONE: nothing to watch then.
        if self.has_input() {
            return self.end_idle();
        }
        let mut idle = self.begin_idle();
        // The sync of the wake was before this watch.
        idle.is_dirty = true;
        self.go_on_idling(tag, idle)
    }

    /// The watch comes first, so that no change falls between it and the sync behind it.
    fn begin_idle(&self) -> Idle {
        let now = Instant::now();
        let later = |span: Duration| (!span.is_zero()).then(|| now + span);
        Idle {
            watch: self.watch(),
            is_dirty: false,
            looked_at: now,
            keepalive_at: later(self.options.keepalive),
            hand_over_at: later(self.options.hibernate_after),
            hand_over_pause: self.options.hibernate_after,
        }
    }

    fn watch(&self) -> Option<Watch> {
        let paths = self.selected.as_ref()?.mailbox.watch_paths();
        // The client is served without, too: the mailbox is looked at now and then.
        Watch::new(&paths).ok()
    }

    fn go_on_idling(&mut self, tag: &str, mut idle: Idle) -> Result<Reply, Trouble> {
        loop {
            if self.has_input() {
                self.old_watch = idle.watch;
                return self.end_idle();
            }
            let due = idle.next_due(self.selected.is_some());
            let ready = self.link.wait(idle.watch.as_ref().map(Watch::fd), due)?;
            if ready.input {
                self.link.try_fill()?;
            }
            if ready.other {
                idle.is_dirty |= idle.watch.as_ref().is_some_and(Watch::drain);
            }
            self.meet_deadlines(tag, &mut idle)?;
        }
    }

    /// A whole line, or more than one can be.
    fn has_input(&self) -> bool {
        let pending = self.link.pending();
        pending.contains(&b'\n') || pending.len() > LINE_BYTES_MAX
    }

    fn meet_deadlines(&mut self, tag: &str, idle: &mut Idle) -> Result<(), Trouble> {
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.selected.is_some() && idle.look_at() <= now {
            idle.is_dirty = false;
            if self.look()? {
                idle.hand_over_at = idle.hand_over_at.map(|_| now + self.options.hibernate_after);
            }
            idle.looked_at = Instant::now();
        }
        if is_due(idle.keepalive_at) {
            self.link.write_all(b"* OK Still here\r\n")?;
            idle.keepalive_at = Some(now + self.options.keepalive);
        }
        if is_due(idle.hand_over_at) {
            // Half a line cannot be handed over, and a change is told first.
            match self.link.pending().is_empty() && !idle.is_dirty {
                true => self.try_hand_over(tag, idle)?,
                false => idle.hand_over_at = Some(now + SYNC_INTERVAL),
            }
        }
        Ok(())
    }

    /// Comes back if the client stays.
    fn try_hand_over(&mut self, tag: &str, idle: &mut Idle) -> Result<(), Trouble> {
        if idle.watch.is_none() {
            idle.watch = self.watch();
        }
        // With no watch nobody would hear of mail.
        if idle.watch.is_none() && self.selected.is_some() {
            idle.hand_over_at = Some(Instant::now() + jitter(WATCH_PAUSE_MAX));
            return Ok(());
        }
        // With news the client is not quiet.
        if !self.look()? {
            self.link.flush()?;
            self.hand_over(tag, idle.watch.as_ref())?;
            idle.hand_over_pause = (idle.hand_over_pause * 2).min(HAND_OVER_PAUSE_MAX);
        }
        idle.hand_over_at = Some(Instant::now() + idle.hand_over_pause);
        Ok(())
    }

    fn end_idle(&mut self) -> Result<Reply, Trouble> {
        let line = match self.link.line(COMMAND_WAIT_MAX)? {
            Line::Whole(line) => [&line, &b"\r\n"[..]].concat(),
            Line::TooLong(_) => Vec::new(),
        };
        match IdleDoneCodec::default().decode(&line) {
            Ok((b"", _)) => self.synced(Reply::ok("Idle completed.")),
            _ => Ok(Reply::bad("Expected DONE.")),
        }
    }
}

impl Idle {
    /// When the mailbox is looked at next: soon after a change, but not for each of many.
    fn look_at(&self) -> Instant {
        match (self.is_dirty, &self.watch) {
            (true, _) => self.looked_at + SYNC_INTERVAL,
            (false, None) => self.looked_at + LOOK_INTERVAL,
            (false, Some(_)) => self.looked_at + CHECK_INTERVAL,
        }
    }

    fn next_due(&self, has_mailbox: bool) -> Instant {
        let look_at = if has_mailbox { self.look_at() } else { self.looked_at + FAR };
        let all = [Some(look_at), self.keepalive_at, self.hand_over_at];
        all.into_iter().flatten().min().expect("one is there")
    }
}

/// Between a tenth of a span and all of it: workers that began together part.
fn jitter(span: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let tenths = (now.subsec_micros() + std::process::id()) % 10 + 1;
    span / 10 * tenths
}

/// Not before anything else is due.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
