//! Everything in numbers.

use std::fmt::Write as _;

use super::{escaped, thousands};
use crate::outcome::Outcome;
use crate::summary::{COLUMNS, latency, losses};

/// The sections with tables.
pub fn html(outcome: &Outcome) -> String {
    answers(outcome) + &lost(outcome) + &server(outcome)
}

fn answers(outcome: &Outcome) -> String {
    let mut out =
        String::from("<section>\n<h2>All answers</h2>\n<div class=\"wide\"><table>\n<tr>");
    for head in ["", "", "asked", "answered"] {
        let _ = write!(out, "<th>{head}</th>");
    }
    for (name, _) in COLUMNS {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr>\n");
    for played in &outcome.acts {
        for (at, (kind, tally)) in played.ledger.tallies.iter().enumerate() {
            let (class, name) = if at == 0 { ("first", played.name.as_str()) } else { ("", "") };
            let (name, kind) = (escaped(name), escaped(kind.name()));
            let _ = write!(out, "<tr class=\"{class}\"><th>{name}</th><th>{kind}</th>");
            for count in [tally.asked, tally.times.count()] {
                let _ = write!(out, "<td>{}</td>", thousands(count));
            }
            for (_, percent) in COLUMNS {
                let _ = write!(out, "<td>{}</td>", latency(tally, percent));
            }
            out.push_str("</tr>\n");
        }
    }
    out.push_str("</table></div>\n</section>\n");
    out
}

fn lost(outcome: &Outcome) -> String {
    let lines: Vec<String> = outcome.acts.iter().flat_map(losses).collect();
    if lines.is_empty() {
        return String::new();
    }
    let mut out = String::from("<section>\n<h2>What was lost</h2>\n<ul class=\"losses\">\n");
    for line in lines {
        let _ = writeln!(out, "<li>{}</li>", escaped(&line));
    }
    out.push_str("</ul>\n</section>\n");
    out
}

fn server(outcome: &Outcome) -> String {
    if outcome.points.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<section>\n<h2>The server</h2>\n<div class=\"wide\"><table>\n<tr><th></th><th>clients</th>\
         <th>asleep</th><th>workers</th><th>processes</th><th>memory</th></tr>\n",
    );
    let number = |value: Option<u64>| value.map_or("&ndash;".to_owned(), thousands);
    for point in &outcome.points {
        let processes: u64 = point.seen.processes.values().sum();
        let memory = |kb: u64| format!("{:.1} MiB", kb as f64 / 1024.0);
        let _ = writeln!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&point.name),
            thousands(point.clients),
            number(point.seen.asleep),
            number(point.seen.workers),
            number(point.weight.map(|_| processes)),
            point.weight.map_or("&ndash;".to_owned(), |weight| memory(weight.pss_kb)),
        );
    }
    out.push_str(
        "</table></div>\n<p>Memory is the proportional share of all processes watched; what the \
         kernel holds for a socket is not in it.</p>\n</section>\n",
    );
    out
}
