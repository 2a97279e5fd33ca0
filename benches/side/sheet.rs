//! The rows of the density bench, for people, for machines and as a picture.

use std::error::Error;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use plotters::prelude::*;
use serde_json::{Value, json};

use super::rows::{Bound, Row};
use super::scale::Weight;

/// One row: its weight, or why there is none.
pub struct Line {
    pub row: Row,
    pub weight: Result<Weight, String>,
}

impl Line {
    /// True when something weighs more than was promised.
    pub fn misses(&self) -> bool {
        let Bound { kernel, user } = self.row.bound();
        let above = |bound: Option<f64>, bytes: f64| bound.is_some_and(|bound| bytes > bound);
        self.weight
            .as_ref()
            .is_ok_and(|weight| above(kernel, weight.kernel) || above(user, weight.user))
    }

    fn to_json(&self) -> Value {
        let Bound { kernel, user } = self.row.bound();
        let (name, at_most) = (self.row.title(), json!({ "kernel": kernel, "user": user }));
        match &self.weight {
            Ok(weight) => json!({
                "name": name, "at_most": at_most, "bytes": weight.to_json(),
                "per_gib": GIB / weight.bytes(),
            }),
            Err(why) => json!({ "name": name, "absent": why }),
        }
    }
}

/// The table, and below it where the kernel's bytes are.
pub fn text(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "bytes of a client",
        "kernel",
        "at most",
        "user",
        "at most",
        "tables",
        "machine",
        "descriptors",
        "per GiB",
        "",
    ]);
    let mut notes = String::new();
    for line in lines {
        let title = line.row.title();
        match &line.weight {
            Err(why) => notes += &format!("{title}: absent ({why})\n"),
            Ok(weight) => {
                let Bound { kernel, user } = line.row.bound();
                let bound = |bound: Option<f64>| bound.map_or(String::new(), whole);
                let verdict = match (kernel, line.misses()) {
                    (None, _) => "",
                    (_, true) => "MISS",
                    (_, false) => "ok",
                };
                table.add_row([
                    title.to_owned(),
                    whole(weight.kernel),
                    bound(kernel),
                    whole(weight.user),
                    bound(user),
                    whole(weight.tables),
                    whole(weight.machine),
                    format!("{:.2}", weight.descriptors),
                    whole(GIB / weight.bytes()),
                    verdict.to_owned(),
                ]);
                notes += &format!("{title}: {}\n", caches(weight));
            }
        }
    }
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n\nkernel, by cache:\n{notes}")
}

/// All of it.
pub fn to_json(lines: &[Line], words: &[(&'static str, f64)], command: &str) -> Value {
    let rows: Vec<Value> = lines.iter().map(Line::to_json).collect();
    let words: Vec<Value> =
        words.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect();
    json!({ "command": command, "machine": machine(), "rows": rows, "words": words })
}

/// Kernel, processors and memory.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = read("/proc/meminfo");
    let kib = memory.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Linux {}, {cores} cores, {} GiB", kernel.trim(), kib.unwrap_or(0) >> 20)
}

/// Bars of what a client takes, one for each row; each gridline is ten times the one before.
///
/// # Errors
/// The file cannot be written.
pub fn plot(lines: &[Line], path: &Path) -> Result<(), Box<dyn Error>> {
    let bars = lines.iter().filter_map(|line| Some((line.row, line.weight.as_ref().ok()?)));
    let bars: Vec<_> = bars.filter(|(_, weight)| weight.bytes() >= 1.0).collect();
    let area = SVGBackend::new(path, (WIDTH, 80 + BAR * bars.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let rows = bars.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption("bytes of an idle client (kernel, user, page tables)", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(250)
        .build_cartesian_2d((10f64..2e6).log_scale(), 0f64..rows)?;
    let name = |at: &f64| {
        let bar = bars.len().checked_sub(at.floor() as usize + 1).and_then(|row| bars.get(row));
        bar.map_or(String::new(), |(row, _)| row.title().to_owned())
    };
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc("bytes").draw()?;
    for (at, (row, weight)) in bars.iter().rev().enumerate() {
        let (low, high) = (at as f64 + 0.2, at as f64 + 0.8);
        let ours = row.title().starts_with("torpor");
        let ink = if ours { RGBColor(31, 119, 180) } else { RGBColor(150, 150, 150) };
        let bar = Rectangle::new([(10.0, low), (weight.bytes(), high)], ink.filled());
        let style = ("sans-serif", 13).into_font();
        let label = Text::new(whole(weight.bytes()), (weight.bytes() * 1.05, high), style.clone());
        chart.draw_series([bar])?;
        chart.draw_series([label])?;
        let (x, y) = chart.backend_coord(&(10.0, high));
        let place = (x - 245, y);
        area.draw(&Text::new(name(&(at as f64)), place, style))?;
    }
    area.present()?;
    Ok(())
}

fn caches(weight: &Weight) -> String {
    let named = |(name, bytes): &(String, f64)| format!("{name} {}", whole(*bytes));
    let worth = weight.caches.iter().filter(|(_, bytes)| *bytes >= 1.0);
    worth.map(named).collect::<Vec<_>>().join(", ")
}

fn whole(bytes: f64) -> String {
    // -0 is nothing.
    format!("{:.0}", bytes.round() + 0.0)
}

const GIB: f64 = (1_u64 << 30) as f64;
const WIDTH: u32 = 860;
const BAR: u32 = 30;
