//! The few figures that one looks for first.

use std::fmt::Write as _;

use super::{escaped, thousands};
use crate::act::Act;
use crate::ledger::Kind;
use crate::outcome::{Outcome, Played, Point};
use crate::summary::latency;

struct Card {
    value: String,
    name: String,
    note: String,
}

/// The row of cards.
pub fn html(outcome: &Outcome) -> String {
    let mut out = String::from("<ul class=\"cards\">\n");
    for Card { value, name, note } in cards(outcome) {
        let (value, name, note) = (escaped(&value), escaped(&name), escaped(&note));
        let _ = writeln!(out, "<li><b>{value}</b>{name}<small>{note}</small></li>");
    }
    out.push_str("</ul>\n");
    out
}

fn cards(outcome: &Outcome) -> Vec<Card> {
    let lost = Card {
        value: thousands(outcome.lost()),
        name: "lost".to_owned(),
        note: format!("of {} clients, every one accounted for", thousands(outcome.clients.into())),
    };
    let storms = outcome.acts.iter().filter_map(|played| match played.act {
        Act::Storm { .. } | Act::Trickle { .. } | Act::Churn { .. } => slowest(played),
        _ => None,
    });
    [lost].into_iter().chain(asleep(outcome)).chain(storms).collect()
}

/// The server when everybody slept, beside itself when it was empty.
fn asleep(outcome: &Outcome) -> Vec<Card> {
    let before = outcome.points.first();
    let Some(asleep) = outcome.points.iter().find(|point| point.name == "after log in") else {
        return Vec::new();
    };
    let mut cards = Vec::new();
    if let Some(workers) = asleep.seen.workers {
        let awake = outcome.points.iter().filter_map(|point| point.seen.workers);
        let samples = outcome.samples.iter().filter_map(|sample| sample.seen.as_ref()?.workers);
        let most = awake.chain(samples).max().unwrap_or(0);
        cards.push(Card {
            value: thousands(workers),
            name: "worker processes left".to_owned(),
            note: format!("while all slept; {} at the most", thousands(most)),
        });
    }
    cards.extend(before.and_then(|before| weight(before, asleep)));
    cards
}

/// What a sleeper adds to the server's memory.
fn weight(before: &Point, asleep: &Point) -> Option<Card> {
    let more = asleep.weight?.pss_kb.checked_sub(before.weight?.pss_kb)?;
    let each = (more * 1024).checked_div(asleep.clients)?;
    Some(Card {
        value: format!("{} B", thousands(each)),
        name: "memory per sleeper".to_owned(),
        note: "processes alone, over the empty server".to_owned(),
    })
}

/// The last answer of an act, and the middle one.
fn slowest(played: &Played) -> Option<Card> {
    let kinds = [Kind::Done, Kind::Mail];
    let tally = |kind| played.ledger.tallies.get(kind).map(|tally| (*kind, tally));
    let (kind, tally) = kinds.iter().find_map(tally)?;
    Some(Card {
        value: latency(tally, 100.0),
        name: format!("slowest, {}", kind.name()),
        note: format!("{}; half within {}", played.name, latency(tally, 50.0)),
    })
}
