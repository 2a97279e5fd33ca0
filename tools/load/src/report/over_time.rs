//! The run from beginning to end: answers a second, who is connected and who sleeps, and how many
//! worker processes that takes. All panels have the same seconds below each other.

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::paint::{Ink, LEFT, WIDTH, font, line, named, refused};
use super::{ReportError, escaped, thousands};
use crate::ledger::Kind;
use crate::outcome::{Outcome, Sample};

/// One line of a panel.
struct Track {
    name: &'static str,
    ink: Ink,
    /// Seconds since the run began, and how many.
    points: Vec<(f64, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The section; empty when there was no time.
pub fn html(outcome: &Outcome) -> Result<String, ReportError> {
    let end = outcome.acts.last().map_or(0.0, |last| last.began_secs + last.secs);
    let end = outcome.samples.last().map_or(end, |last| end.max(last.secs));
    if end <= 0.0 {
        return Ok(String::new());
    }
    let mut out = String::from("<section>\n<h2>The run</h2>\n<ol class=\"acts\">\n");
    for played in &outcome.acts {
        let name = escaped(&played.name);
        let _ = writeln!(out, "<li>{name} <span>{:.1} s</span></li>", played.secs);
    }
    out.push_str("</ol>\n");
    let panels = [
        ("Answers a second", answers(outcome, end)),
        ("Clients", clients(&outcome.samples)),
        ("Worker processes", workers(&outcome.samples)),
    ];
    for (title, tracks) in panels {
        let highest = tracks.iter().flat_map(|track| &track.points).map(|(_, count)| *count);
        let highest = highest.fold(0.0, f64::max);
        if highest == 0.0 {
            continue;
        }
        let _ = write!(out, "<h3>{title}</h3>\n<ul class=\"legend inline\">\n");
        for Track { name, ink, .. } in &tracks {
            let swatch = format!("<i style=\"background:var(--{})\"></i>", ink.name());
            let _ = writeln!(out, "<li>{swatch}<b>{name}</b></li>");
        }
        let svg = plot(outcome, &tracks, end, highest)?;
        let _ = writeln!(out, "</ul>\n<figure>{svg}</figure>");
    }
    out.push_str("</section>\n");
    Ok(out)
}

/// Answers of each kind, and losses, a second.
fn answers(outcome: &Outcome, end: f64) -> Vec<Track> {
    // Whole tenths, since that is how they were counted.
    let width = ((end / BINS * 10.0).ceil() as u32).max(1);
    let bins = ((end * 10.0) as u32 / width + 1) as usize;
    let mut counts = vec![[0u32; Kind::ALL.len() + 1]; bins];
    for played in &outcome.acts {
        for (tenth, moment) in played.ledger.moments.iter() {
            let bin = &mut counts[((tenth / width) as usize).min(bins - 1)];
            for (sum, count) in bin.iter_mut().zip(moment.answers) {
                *sum += count;
            }
            bin[Kind::ALL.len()] += moment.losses;
        }
    }
    let secs = f64::from(width) / 10.0;
    let track = |(index, name, ink): (usize, &'static str, Ink)| {
        let point = |(at, bin): (usize, &[u32; 7])| {
            ((at as f64 + 0.5) * secs, f64::from(bin[index]) / secs)
        };
        let points: Vec<_> = counts.iter().enumerate().map(point).collect();
        points.iter().any(|(_, count)| *count > 0.0).then_some(Track { name, ink, points })
    };
    let shown = [Kind::Login, Kind::Done, Kind::Mail, Kind::Drain];
    let kinds = shown.map(|kind| (kind as usize, kind.name(), Ink::of(kind)));
    let lost = [(Kind::ALL.len(), "lost", Ink::Lost)];
    kinds.into_iter().chain(lost).filter_map(track).collect()
}

fn clients(samples: &[Sample]) -> Vec<Track> {
    let seen = |value: fn(&Sample) -> Option<u64>| -> Vec<(f64, f64)> {
        let point = |sample: &Sample| Some((sample.secs, value(sample)? as f64));
        samples.iter().filter_map(point).collect()
    };
    let tracks = [
        ("connected", Ink::Login, seen(|sample| Some(sample.alive))),
        ("asleep in torpor", Ink::Asleep, seen(|sample| sample.seen.as_ref()?.asleep)),
        ("lost", Ink::Lost, seen(|sample| Some(sample.died).filter(|died| *died > 0))),
    ];
    let tracks = tracks.into_iter().filter(|(_, _, points)| !points.is_empty());
    tracks.map(|(name, ink, points)| Track { name, ink, points }).collect()
}

fn workers(samples: &[Sample]) -> Vec<Track> {
    let point = |sample: &Sample| Some((sample.secs, sample.seen.as_ref()?.workers? as f64));
    let points: Vec<_> = samples.iter().filter_map(point).collect();
    if points.is_empty() {
        return Vec::new();
    }
    vec![Track { name: "serving clients who are awake", ink: Ink::Workers, points }]
}

fn plot(
    outcome: &Outcome,
    tracks: &[Track],
    end: f64,
    highest: f64,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        draw(&area, outcome, tracks, end, highest)?;
        area.present().map_err(refused)?;
    }
    Ok(named(&svg))
}

fn draw(
    area: &Area<'_>,
    outcome: &Outcome,
    tracks: &[Track],
    end: f64,
    highest: f64,
) -> Result<(), ReportError> {
    let top = highest * 1.18;
    let mut chart = ChartBuilder::on(area)
        .margin_top(10)
        .margin_right(30)
        .x_label_area_size(56)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(refused)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(line(Ink::Grid, 1.0))
        .light_line_style(TRANSPARENT)
        .axis_style(TRANSPARENT)
        .x_labels(8)
        .y_labels(4)
        .x_label_formatter(&|secs| format!("{secs:.0} s"))
        .y_label_formatter(&|count| thousands(*count as u64))
        .x_label_style(font(14.0, Ink::Faint))
        .y_label_style(font(14.0, Ink::Faint))
        .draw()
        .map_err(refused)?;
    for (at, played) in outcome.acts.iter().enumerate() {
        let from = played.began_secs;
        let wall = PathElement::new([(from, 0.0), (from, top)], line(Ink::Grid, 1.0));
        let number = (at + 1).to_string();
        let number = Text::new(number, (from + end / 300.0, top * 0.985), font(14.0, Ink::Faint));
        chart.draw_series([wall]).map_err(refused)?;
        chart.draw_series([number]).map_err(refused)?;
    }
    for Track { ink, points, .. } in tracks {
        for hill in hills(points) {
            let fill = AreaSeries::new(hill.iter().copied(), 0.0, ink.colour().mix(FILL));
            let fill = fill.border_style(line(*ink, 1.5));
            chart.draw_series(fill).map_err(refused)?;
        }
    }
    Ok(())
}

/// The parts of a track that are not flat on the ground, each with its feet.
fn hills(points: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let up = |at: usize| points.get(at).is_some_and(|(_, count)| *count > 0.0);
    let near = |at: usize| up(at) || up(at + 1) || (at > 0 && up(at - 1));
    let mut hills = Vec::new();
    let mut from = 0;
    for at in 0..=points.len() {
        if at == points.len() || !near(at) {
            if from < at {
                hills.push(&points[from..at]);
            }
            from = at + 1;
        }
    }
    hills
}

/// How much of a colour lies below its line.
const FILL: f64 = 0.16;
/// Points of a line, about.
const BINS: f64 = 160.0;
const HEIGHT: u32 = 430;

#[cfg(test)]
mod tests {
    use super::hills;

    #[test]
    fn flat_ground_is_not_drawn() {
        let track: Vec<(f64, f64)> = [0, 0, 3, 4, 0, 0, 0, 1, 0, 2]
            .iter()
            .zip(0..)
            .map(|(count, at)| (f64::from(at), f64::from(*count)))
            .collect();
        let told: Vec<_> = hills(&track).iter().map(|hill| (hill[0].0, hill.len())).collect();
        assert_eq!(told, [(1.0, 4), (6.0, 4)], "each hill begins and ends on the ground");
        assert!(hills(&[(0.0, 0.0), (1.0, 0.0)]).is_empty());
    }
}
