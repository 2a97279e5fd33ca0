//! Log lines: rendered on threads that may wait, written by one that is allowed to block.
//!
//! Lines go to standard error through a bounded queue: a reader that stops reading costs lines,
//! which are counted, and never time. The text form is what Dovecot writes, so that patterns made
//! for its log go on matching; the JSON form has the same words as fields.

mod event;
mod prefix;
mod text;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use tracing::Level as TracingLevel;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::{Level, Log, LogFormat};

pub use event::{Said, say};

/// The log of this process. Dropping it writes out what is queued, for at most a second.
pub struct Logger {
    filter: reload::Handle<LevelFilter, Registry>,
    losses: ErrorCounter,
    _guard: WorkerGuard,
}

impl Logger {
    /// Starts logging for the whole process; once. At most `lines_max` wait for the reader of
    /// standard error, and each costs memory even when none does.
    pub fn start(log: &Log, lines_max: usize) -> Self {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines_max);
        let (writer, guard) = builder.finish(std::io::stderr());
        let losses = writer.error_counter();
        let (filter, handle) = reload::Layer::new(filter_of(log.level));
        let registry = tracing_subscriber::registry().with(filter);
        let plain = tracing_subscriber::fmt::layer().with_writer(writer);
        let started = match log.format {
            LogFormat::Json => {
                let layer = plain.json().flatten_event(true).with_target(false);
                registry.with(layer.with_current_span(false).with_span_list(false)).try_init()
            }
            LogFormat::Text => {
                registry.with(plain.event_format(text::DovecotLines::new())).try_init()
            }
        };
        assert!(started.is_ok(), "the log is started once");
        set_level(log.level);
        Self { filter: handle, losses, _guard: guard }
    }

    /// Another level, from a reload.
    pub fn set_level(&self, level: Level) {
        set_level(level);
        // Fails only after the subscriber is gone, which lives as long as the process.
        let _ = self.filter.reload(filter_of(level));
    }

    /// Gives lines that are queued a moment to be written: the writer does not outlive exec.
    pub fn settle(&self) {
        thread::sleep(WRITTEN_WITHIN);
    }

    /// Lines that nobody read in time.
    pub fn losses(&self) -> ErrorCounter {
        self.losses.clone()
    }
}

/// True when lines of `level` are written: asked on the engine thread before anything is copied.
pub fn enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// The pid in log lines: this process's.
pub fn pid() -> u32 {
    static PID: OnceLock<u32> = OnceLock::new();
    *PID.get_or_init(std::process::id)
}

fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn filter_of(level: Level) -> LevelFilter {
    LevelFilter::from_level(match level {
        Level::Error => TracingLevel::ERROR,
        Level::Warning => TracingLevel::WARN,
        Level::Info => TracingLevel::INFO,
        Level::Debug => TracingLevel::DEBUG,
    })
}

/// Unless the reader is slow; then he misses a line.
const WRITTEN_WITHIN: Duration = Duration::from_millis(5);
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
