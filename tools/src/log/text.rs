//! Lines of text: time, then prefix, level and message as Dovecot's log files have them.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `TIME PREFIXLevel: message`. Under systemd the journal has the time, and the level goes in
/// front as `<N>` (sd-daemon(3)).
pub struct DovecotLines {
    journal: bool,
}

impl DovecotLines {
    pub fn new() -> Self {
        Self { journal: std::env::var_os("JOURNAL_STREAM").is_some() }
    }
}

impl<S, N> FormatEvent<S, N> for DovecotLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (priority, name) = match *event.metadata().level() {
            Level::ERROR => (3, "Error"),
            Level::WARN => (4, "Warning"),
            Level::INFO => (6, "Info"),
            _ => (7, "Debug"),
        };
        if self.journal {
            write!(writer, "<{priority}>")?;
        } else {
            SystemTime.format_time(&mut writer)?;
            writer.write_char(' ')?;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let prefix = if words.prefix.is_empty() { "torpor: " } else { &words.prefix };
        one_line(&mut writer, prefix)?;
        write!(writer, "{name}: ")?;
        one_line(&mut writer, &words.message)?;
        writeln!(writer)
    }
}

/// What of an event is shown.
#[derive(Default)]
struct Words {
    prefix: String,
    message: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "prefix" {
            value.clone_into(&mut self.prefix);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A String takes everything.
            let _ = write!(self.message, "{value:?}");
        }
    }
}

/// Words of clients and workers must not begin a line of their own nor move a cursor.
fn one_line(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|char| writer.write_char(if char.is_control() { '?' } else { char }))
}
