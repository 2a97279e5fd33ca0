//! Latency by percentile: how long the slowest one in ten, in a hundred, in a thousand took.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::paint::{Ink, LEFT, SCALE, WIDTH, font, line, named, refused};
use super::{ReportError, escaped, thousands};
use crate::act::Act;
use crate::ledger::{Kind, Tally};
use crate::outcome::Outcome;
use crate::summary::latency;

/// One curve.
struct Curve<'a> {
    name: String,
    ink: Ink,
    tally: &'a Tally,
}

impl Curve<'_> {
    /// Points of (nines, milliseconds), up to the slowest answer.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let end = nines_of(self.tally.times.count());
        let steps = (end * 100.0).ceil().max(1.0) as u32;
        (0..=steps).map(move |step| {
            let nines = end * f64::from(step) / f64::from(steps);
            let percent = 100.0 - 100.0 / 10f64.powf(nines);
            let percent = if step == steps { 100.0 } else { percent };
            (nines, self.tally.times.percentile_us(percent).max(10) as f64 / 1000.0)
        })
    }
}

/// The section; empty when nothing was answered.
pub fn html(outcome: &Outcome) -> Result<String, ReportError> {
    let curves = curves(outcome);
    if curves.is_empty() {
        return Ok(String::new());
    }
    let mut out = String::from(
        "<section>\n<h2>How long answers took</h2>\n<p>Read upwards at 99&nbsp;%: one answer in a \
         hundred took longer. Each step to the right is ten times rarer; a curve ends at its \
         slowest answer.</p>\n<ul class=\"legend\">\n",
    );
    for Curve { name, ink, tally } in &curves {
        let (p50, p99) = (latency(tally, 50.0), latency(tally, 99.0));
        let count = thousands(tally.times.count());
        let _ = writeln!(
            out,
            "<li><i style=\"background:var(--{})\"></i><b>{}</b> <span>{count} answers, half \
             within {p50}, 99&nbsp;% within {p99}</span></li>",
            ink.name(),
            escaped(name),
        );
    }
    let _ = writeln!(out, "</ul>\n<figure>{}</figure>\n</section>", plot(&curves)?);
    Ok(out)
}

/// What is worth a curve: in each act what it asks, and how long logging in took.
fn curves(outcome: &Outcome) -> Vec<Curve<'_>> {
    let mut curves = Vec::new();
    for played in &outcome.acts {
        let quiet = matches!(played.act, Act::Check { .. });
        for (kind, tally) in &played.ledger.tallies {
            let routine = *kind == Kind::Idle && played.act != Act::LogIn;
            if tally.times.count() == 0 || routine || *kind == Kind::Select {
                continue;
            }
            let ink = if quiet { Ink::Check } else { Ink::of(*kind) };
            let name = match played.act {
                Act::LogIn if *kind == Kind::Login => "Login".to_owned(),
                Act::LogIn => kind.name().to_owned(),
                _ => format!("{}, {}", kind.name(), played.name),
            };
            curves.push(Curve { name, ink, tally });
        }
    }
    curves
}

fn plot(curves: &[Curve<'_>]) -> Result<String, ReportError> {
    let ends = curves.iter().map(|curve| nines_of(curve.tally.times.count()));
    let right = ends.fold(2.0, f64::max);
    let all = || curves.iter().flat_map(Curve::points).map(|(_, ms)| ms);
    let lowest = 10f64.powf(all().fold(f64::MAX, f64::min).log10().floor());
    let highest = all().fold(0.0, f64::max) * 1.3;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(16)
            .margin_right(30)
            .x_label_area_size(64)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..right * 1.02, (lowest..highest).log_scale())
            .map_err(refused)?;
        chart
            .configure_mesh()
            .bold_line_style(line(Ink::Grid, 1.0))
            .light_line_style(TRANSPARENT)
            .axis_style(TRANSPARENT)
            .x_labels(right as usize + 1)
            .x_label_formatter(&|nines| percent_label(*nines))
            .y_label_formatter(&|ms| ms_label(*ms))
            .x_label_style(font(14.0, Ink::Faint))
            .y_label_style(font(14.0, Ink::Faint))
            .draw()
            .map_err(refused)?;
        for curve in curves {
            let style = line(curve.ink, 2.0);
            chart.draw_series(LineSeries::new(curve.points(), style)).map_err(refused)?;
            let end = curve.points().last();
            let dot = |at| Circle::new(at, (3.0 * SCALE) as i32, curve.ink.colour().filled());
            chart.draw_series(end.map(dot)).map_err(refused)?;
        }
        area.present().map_err(refused)?;
    }
    Ok(named(&svg))
}

/// How many nines the slowest of `count` stands for.
fn nines_of(count: u64) -> f64 {
    (count.max(2) as f64).log10()
}

fn percent_label(nines: f64) -> String {
    match nines.round() as usize {
        0 => "fastest".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more - 2)),
    }
}

fn ms_label(ms: f64) -> String {
    match ms {
        ms if ms < 0.99 => format!("{:.0} \u{b5}s", ms * 1000.0),
        ms if ms < 999.0 => format!("{ms:.0} ms"),
        ms => format!("{:.0} s", ms / 1000.0),
    }
}

const HEIGHT: u32 = 800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_a_person_would() {
        let percents = [0.0, 1.0, 2.0, 3.0, 4.0].map(percent_label);
        assert_eq!(percents, ["fastest", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!(
            [0.1, 1.0, 100.0, 1000.0].map(ms_label),
            ["100 \u{b5}s", "1 ms", "100 ms", "1 s"]
        );
    }
}
