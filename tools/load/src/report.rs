//! The outcome as one HTML page that needs nothing else: figures, curves, tables.

mod cards;
mod curve;
mod over_time;
mod paint;
mod tables;

use std::fmt::Write as _;

use thiserror::Error;

use crate::outcome::Outcome;

/// A plot that could not be drawn.
#[derive(Debug, Error)]
#[error("the plots cannot be drawn: {0}")]
pub struct ReportError(String);

/// The whole page.
///
/// # Errors
/// The plotting library refused.
pub fn html(outcome: &Outcome) -> Result<String, ReportError> {
    let lost = outcome.lost();
    let verdict = if lost == 0 { "nobody lost" } else { &format!("{lost} lost") };
    let title = format!("{} clients, {verdict}", thousands(outcome.clients.into()));
    let acts: Vec<&str> = outcome.acts.iter().map(|played| played.name.as_str()).collect();
    let secs = outcome.acts.last().map_or(0.0, |last| last.began_secs + last.secs);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>torpor load: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    let class = if lost == 0 { "well" } else { "ill" };
    // A String takes everything.
    let _ = write!(
        page,
        "<header>\n<p class=\"kicker\">torpor load</p>\n<h1 class=\"{class}\">{title}</h1>\n\
         <p class=\"lead\">{} &middot; {secs:.0} seconds against {} from {} processes</p>\n\
         </header>\n",
        escaped(&acts.join(", ")),
        escaped(&outcome.server),
        outcome.crews,
    );
    page.push_str(&cards::html(outcome));
    page.push_str(&curve::html(outcome)?);
    page.push_str(&over_time::html(outcome)?);
    page.push_str(&tables::html(outcome));
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

/// Text between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `15,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

const STYLE: &str = include_str!("report/style.css");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::act::{Act, Storm, Then};
    use crate::ledger::{Kind, Ledger};
    use crate::outcome::{Played, Sample};
    use crate::plan::tests::plan;
    use crate::reason::Reason;

    /// A run with a storm that lost one of two.
    pub fn outcome() -> Outcome {
        let mut ledger = Ledger { begun: 2, alive: 1, ..Ledger::default() };
        let second = Duration::from_secs(1);
        ledger.ask(Kind::Done);
        ledger.answer(Kind::Done, second, second);
        ledger.ask(Kind::Done);
        let reason = Reason::Bye("<script>alert(1)</script>".to_owned());
        ledger.lose(Kind::Done, &reason, second);
        ledger.died.add(&reason, 1);
        let act = Act::Storm { what: Storm::Done, clients: 2, then: Then::Idle, newcomers: 0 };
        let (name, began_secs, secs) = (act.name(), 0.5, 2.0);
        let sample = |secs| Sample { secs, alive: 2, resting: 1, died: 0, seen: None };
        let mut outcome = Outcome::new(&plan(2, 1));
        outcome.acts = vec![Played { name, act, began_secs, secs, ledger, midway: None }];
        outcome.samples = vec![sample(0.5), sample(1.0)];
        outcome
    }

    #[test]
    fn a_page_stands_alone_and_trusts_no_server() {
        let page = html(&outcome()).expect("it can be drawn");
        assert!(page.contains("2 clients, 1 lost"));
        assert!(!page.contains("<script"), "a server's words are text");
        let foreign = ["src=", "href=", "@import", "url("];
        for word in foreign {
            assert!(!page.contains(word), "{word}: the page asks for something else");
        }
        assert!(page.matches("<svg").count() >= 2 && !page.contains("#0100"), "colours have names");
    }

    #[test]
    fn a_run_without_an_answer_has_a_page_too() {
        let page = html(&Outcome::new(&plan(7, 1))).expect("it can be drawn");
        assert!(page.contains("7 clients, nobody lost"));
    }

    #[test]
    fn digits_come_in_threes() {
        let told = [0, 999, 1_000, 15_000, 1_234_567].map(thousands);
        assert_eq!(told, ["0", "999", "1,000", "15,000", "1,234,567"]);
    }
}
