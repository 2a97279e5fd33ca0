//! `torpor load --peer tun`: a throng of clients without sockets, on a torpor of its own.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use super::Failure;
use super::throng::{Figure, Throng};
use crate::config::Config;

/// What the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Packets on a TUN device, in a network namespace of its own
    Tun,
}

/// Sleepers by the million, on a torpor of its own: nobody logs in, and nothing here is touched
#[derive(Debug, Args)]
pub struct TunArgs {
    /// Clients without sockets or a mail server, instead of a scenario
    #[arg(long, value_name = "KIND", value_enum)]
    pub peer: Option<Peer>,
    #[arg(long, value_name = "N", default_value_t = 50_000, requires = "peer")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    clients: u32,
    /// Mailboxes that they share
    #[arg(long, value_name = "N", default_value_t = 500, requires = "peer")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    mailboxes: u32,
    /// How long everybody is held
    #[arg(long = "for", value_name = "SECS", default_value_t = 60, requires = "peer")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    secs: u32,
    /// Time between a client's keepalives
    #[arg(long, value_name = "SECS", default_value_t = 30, requires = "peer")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3600))]
    keepalive_secs: u32,
    /// How many say DONE in the end, all at once
    #[arg(long, value_name = "N", default_value_t = 2000, requires = "peer")]
    wakes: u32,
    /// torpor's: [sleep], [watch] and engines of it count
    #[arg(long, value_name = "FILE", requires = "peer")]
    config: Option<PathBuf>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", requires = "peer")]
    json: Option<PathBuf>,
}

/// Plays it and prints what came of it; `false`: somebody was lost or not answered.
pub(super) fn run(args: &TunArgs) -> Result<bool, Failure> {
    if let Some(what) = torpor_load::peer::missing() {
        return Err(format!("--peer tun: there is no {what}").into());
    }
    let figures = throng(args)?.play(&std::env::current_exe()?, |what| eprintln!("{what}"))?;
    println!("{}", table(&figures).trim_fmt());
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", to_json(args, &figures)))?;
    }
    Ok(figures.iter().all(Figure::is_kept))
}

fn throng(args: &TunArgs) -> Result<Throng, Failure> {
    let Config { engines, sleep, watch, .. } = match &args.config {
        Some(path) => Config::load(Some(path))?,
        None => Config::default(),
    };
    Ok(Throng {
        clients: args.clients,
        mailboxes: args.mailboxes.min(args.clients),
        hold_secs: args.secs,
        keepalive_secs: args.keepalive_secs,
        wakes: args.wakes.min(args.clients),
        config: Config { engines, sleep, watch, ..Config::default() },
        bytes_max: None,
        cpu_percent_max: None,
    })
}

fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for Figure { name, value, most } in figures {
        let most = most.map_or(String::new(), |most| format!("at most {most:.0}"));
        table.add_row([(*name).to_owned(), format!("{value:.1}"), most]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn to_json(args: &TunArgs, figures: &[Figure]) -> Value {
    let figures: Map<_, _> =
        figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.value))).collect();
    json!({ "clients": args.clients, "mailboxes": args.mailboxes, "figures": figures })
}
