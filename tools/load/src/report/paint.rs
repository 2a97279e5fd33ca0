//! Colours that the page's style sheet decides, and what all plots share.
//!
//! plotters writes colours as numbers. Ours are numbers that no design would choose; once the SVG
//! is there, each becomes a variable of the style sheet, so that a plot follows light and dark.

use plotters::prelude::*;
use plotters::style::{RGBColor, TextStyle};

use super::ReportError;
use crate::ledger::Kind;

/// A colour of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Text,
    Faint,
    Grid,
    Login,
    Select,
    Idle,
    Done,
    Mail,
    Drain,
    Asleep,
    Workers,
    Lost,
    /// DONEs one after the other, beside those of a storm.
    Check,
}

impl Ink {
    const ALL: [(Self, &'static str); 13] = [
        (Self::Text, "text"),
        (Self::Faint, "faint"),
        (Self::Grid, "grid"),
        (Self::Login, "login"),
        (Self::Select, "select"),
        (Self::Idle, "idle"),
        (Self::Done, "done"),
        (Self::Mail, "mail"),
        (Self::Drain, "drain"),
        (Self::Asleep, "asleep"),
        (Self::Workers, "workers"),
        (Self::Lost, "lost"),
        (Self::Check, "check"),
    ];

    /// The variable's name in the style sheet, without its dashes.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub fn colour(self) -> RGBColor {
        RGBColor(1, 0, self as u8)
    }

    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Login => Self::Login,
            Kind::Select => Self::Select,
            Kind::Idle => Self::Idle,
            Kind::Done => Self::Done,
            Kind::Mail => Self::Mail,
            Kind::Drain => Self::Drain,
        }
    }
}

/// Puts the style sheet's variables into a finished SVG, and lets the page choose its size.
pub fn named(svg: &str) -> String {
    let mut out = svg.to_owned();
    for (ink, name) in Ink::ALL {
        out = out.replace(&format!("#0100{:02X}", ink as u8), &format!("var(--{name})"));
    }
    let frame = format!("<svg width=\"{WIDTH}\" height=");
    assert!(out.starts_with(&frame), "plotters begins with the size");
    let rest = out[frame.len()..].split_once(' ').map_or("", |(_, rest)| rest);
    format!("<svg role=\"img\" {rest}")
}

/// Text of a plot: `size` in the page's pixels.
pub fn font(size: f64, ink: Ink) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, size * SCALE, FontStyle::Normal);
    TextStyle { color: ink.colour().to_backend_color(), ..TextStyle::from(font) }
}

/// A line of so many of the page's pixels.
pub fn line(ink: Ink, width: f64) -> ShapeStyle {
    ink.colour().stroke_width((width * SCALE) as u32)
}

pub fn refused(error: impl std::fmt::Display) -> ReportError {
    ReportError(error.to_string())
}

/// plotters has whole pixels only; four for each of the page's make curves smooth.
pub const SCALE: f64 = 2.0;
/// Of a plot, in plotters' pixels.
pub const WIDTH: u32 = 1960;
/// Room for the labels on the left, the same in all plots so that they stand in line.
pub const LEFT: u32 = 130;
