//! The outcome as text and as JSON.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use crate::ledger::{Ledger, Losses, Tally};
use crate::midway::Ran;
use crate::outcome::{Outcome, Played, Point};

/// For people.
pub fn text(outcome: &Outcome) -> String {
    let mut out = answers(outcome).trim_fmt() + "\n";
    for played in &outcome.acts {
        for line in losses(played) {
            let _ = writeln!(out, "{line}");
        }
        if let Some(Ran { secs, answered }) = played.midway {
            let name = &played.name;
            let _ = writeln!(out, "{name}: --midway ran after {secs:.2} s, {answered} answers");
        }
    }
    if !outcome.points.is_empty() {
        let _ = writeln!(out, "\n{}", server(&outcome.points).trim_fmt());
    }
    let Outcome { clients, crews, server, .. } = outcome;
    let processes = if *crews == 1 { "1 process" } else { &format!("{crews} processes") };
    let lost = outcome.lost();
    let _ = writeln!(out, "\n{clients} clients in {processes} against {server}: {lost} lost");
    out
}

/// Which share of all answers each column's latency covers, in per cent.
pub const COLUMNS: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

fn answers(outcome: &Outcome) -> Table {
    let mut table = plain();
    let mut head = vec!["", "", "asked", "answered"];
    head.extend(COLUMNS.map(|(name, _)| name));
    table.set_header(head);
    for played in &outcome.acts {
        for (at, (kind, tally)) in played.ledger.tallies.iter().enumerate() {
            let name = if at == 0 { played.name.clone() } else { String::new() };
            let mut row = vec![name, kind.name().to_owned()];
            row.extend([tally.asked.to_string(), tally.times.count().to_string()]);
            row.extend(COLUMNS.map(|(_, percent)| latency(tally, percent)));
            table.add_row(row);
        }
    }
    right_from(&mut table, 2);
    table
}

/// A line for each thing that did not go well.
pub fn losses(played: &Played) -> Vec<String> {
    let Played { name, ledger, .. } = played;
    let mut lines = Vec::new();
    for (reason, count) in ledger.died.iter() {
        lines.push(format!("{name}: {count} clients lost: {reason}"));
    }
    for (kind, tally) in &ledger.tallies {
        for (reason, count) in tally.lost.iter() {
            lines.push(format!("{name}: {count} without an answer, {}: {reason}", kind.name()));
        }
    }
    if ledger.skipped > 0 {
        let skipped = ledger.skipped;
        lines.push(format!("{name}: {skipped} were to be asked, but nobody was at rest"));
    }
    lines
}

fn server(points: &[Point]) -> Table {
    let mut table = plain();
    table.set_header(["the server", "clients", "asleep", "workers left", "processes", "memory"]);
    for point in points {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let processes = point.seen.processes.values().sum();
        let mib = |kb: u64| format!("{:.1} MiB", kb as f64 / 1024.0);
        table.add_row([
            point.name.clone(),
            point.clients.to_string(),
            number(point.seen.asleep),
            number(point.seen.workers),
            number(point.weight.map(|_| processes)),
            point.weight.map_or("-".to_owned(), |weight| mib(weight.pss_kb)),
        ]);
    }
    right_from(&mut table, 1);
    table
}

/// Milliseconds with three digits that count, or seconds.
pub fn latency(tally: &Tally, percent: f64) -> String {
    if tally.times.count() == 0 {
        return "-".to_owned();
    }
    duration(tally.times.percentile_us(percent))
}

/// Microseconds as a person would say them.
pub fn duration(us: u64) -> String {
    match us as f64 / 1000.0 {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

fn right_from(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// For machines. Names are stable: fields may be added, never renamed.
pub fn to_json(outcome: &Outcome) -> Value {
    json!({
        "server": outcome.server,
        "clients": outcome.clients,
        "processes": outcome.crews,
        "lost": outcome.lost(),
        "acts": outcome.acts.iter().map(act).collect::<Vec<_>>(),
        "points": outcome.points,
        "samples": outcome.samples,
    })
}

fn act(played: &Played) -> Value {
    let Ledger { begun, alive, left, skipped, unasked, .. } = played.ledger;
    let answers = played.ledger.tallies.iter().map(|(kind, tally)| {
        let name =
            serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned));
        (name.unwrap_or_default(), answer(tally))
    });
    json!({
        "name": played.name,
        "plan": played.act,
        "began_secs": played.began_secs,
        "secs": played.secs,
        "midway": played.midway,
        "clients": begun,
        "alive": alive,
        "left": left,
        "died": reasons(&played.ledger.died),
        "skipped": skipped,
        "unasked_exists": unasked,
        "answers": answers.collect::<Map<_, _>>(),
        "tenths": played.ledger.moments,
    })
}

fn answer(tally: &Tally) -> Value {
    let Tally { asked, times, lost, first } = tally;
    json!({
        "asked": asked,
        "answered": times.count(),
        // From the first question of all to the first answer of all.
        "first_us": first.map(|first| first.wait().as_micros() as u64),
        "min_us": times.min_us(),
        "p50_us": times.percentile_us(50.0),
        "p90_us": times.percentile_us(90.0),
        "p99_us": times.percentile_us(99.0),
        "p99_9_us": times.percentile_us(99.9),
        "max_us": times.max_us(),
        "lost": reasons(lost),
        "hdr_v2": times,
    })
}

fn reasons(losses: &Losses) -> Value {
    losses.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_digits_that_count() {
        let told = [7, 9_994, 12_345, 123_456, 12_345_678].map(duration);
        assert_eq!(told, ["0.01 ms", "9.99 ms", "12.3 ms", "123 ms", "12.35 s"]);
    }
}
