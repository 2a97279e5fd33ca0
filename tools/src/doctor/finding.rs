//! One thing that the doctor has to say.

use std::fmt::Write as _;

use serde::Serialize;

/// A finding, in one line, with the lines to add if there are any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// Setting, file or limit that it is about.
    pub subject: String,
    pub text: String,
    /// Lines to add to Dovecot's configuration or to type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In order.
    Good,
    /// Works, could be better.
    Hint,
    /// No client sleeps, or none wakes, until it is mended.
    Problem,
}

impl Finding {
    pub fn good(subject: &str, text: impl Into<String>) -> Self {
        Self::new(Level::Good, subject, text)
    }

    pub fn hint(subject: &str, text: impl Into<String>) -> Self {
        Self::new(Level::Hint, subject, text)
    }

    pub fn problem(subject: &str, text: impl Into<String>) -> Self {
        Self::new(Level::Problem, subject, text)
    }

    /// Adds what mends it.
    pub fn fix(mut self, lines: &str) -> Self {
        self.fix = lines.lines().map(str::to_owned).collect();
        self
    }

    fn new(level: Level, subject: &str, text: impl Into<String>) -> Self {
        Self { level, subject: subject.to_owned(), text: text.into(), fix: Vec::new() }
    }
}

/// For people.
pub fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok     ",
            Level::Hint => "hint   ",
            Level::Problem => "PROBLEM",
        };
        // A String takes everything.
        let _ = writeln!(out, "{mark} {}: {}", finding.subject, finding.text);
        for line in &finding.fix {
            let _ = writeln!(out, "          {line}");
        }
    }
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    let _ = match problems {
        0 => writeln!(out, "no problems found"),
        1 => writeln!(out, "1 problem found"),
        _ => writeln!(out, "{problems} problems found"),
    };
    out
}
