//! The counters of all engines under Prometheus' conventions: base units, `_total`, few labels.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text::encode};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use torpor_engine::report::Counters;
use torpor_handoff::delays::BOUNDS_US;

use crate::control::{EngineStats, Service, Stats};
use crate::desk::unlisted;

/// All values as of now.
pub fn text(service: &Service) -> String {
    let mut registry = Registry::with_prefix("torpor");
    registry.register_collector(Box::new(Values(service.stats_of_all())));
    let mut text = String::new();
    // A String takes everything; what is there is served.
    let _ = encode(&mut text, &registry);
    text
}

struct Values(Stats);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values")
    }
}

impl Collector for Values {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let now = unlisted(&self.0.counters);
        let out = &mut out;
        gauge(out, "asleep", "Clients asleep", now.asleep)?;
        let stages = [("doze", now.dozing), ("sleep", now.sunk)];
        gauges(out, "stage", "Clients that are listened to", "stage", &stages)?;
        let queued = [("input", now.queued_input), ("change", now.queued_change)];
        gauges(out, "queued", "Clients that wait for a worker", "cause", &queued)?;
        let age = now.queue_oldest_ms as f64 / 1000.0;
        seconds(out, "queue_age_seconds", "How long the oldest has waited", age)?;
        gauge(out, "handoffs_in_flight", "Conversations with imap-master", now.in_flight)?;
        gauge(out, "awake", "Sessions woken and not seen again", now.awake)?;
        gauge(out, "window", "Handoffs allowed at the moment", now.window)?;
        gauge(out, "hibernate_connections", "Workers handing a client over", now.conns)?;
        gauge(out, "mailboxes", "Mailboxes watched", now.mailboxes)?;
        gauge(out, "notify_kept", "Notify descriptors that were not adopted", now.notify_kept)?;
        gauge(out, "cold_blocks", "Blocks of the cold store in use", now.cold_blocks_used)?;
        gauge(out, "cold_bytes", "Bytes of packed hibernate lines", now.cold_shelf_bytes)?;
        let damaged = now.cold_damaged;
        counter(out, "cold_damaged", "Entries of the cold store found damaged", damaged)?;
        gauges(out, "limit", "Bounds set at start", "name", &pairs(&self.0.limits))?;
        counter(out, "revived", "Clients taken over from an engine that died", now.revived)?;
        counter(out, "hibernated", "Clients that fell asleep", now.hibernated)?;
        let other = now.refused - now.refused_full - now.refused_kept_awake;
        let refused =
            [("full", now.refused_full), ("keep_awake", now.refused_kept_awake), ("other", other)];
        counters(out, "refused", "Clients left with their worker", "reason", &refused)?;
        counter(out, "broken", "Hibernate connections that ended early", now.broken)?;
        let wakes =
            [("input", now.wakes_input), ("change", now.wakes_change), ("cut", now.wakes_cut)];
        counters(out, "wakes", "Reasons to wake", "cause", &wakes)?;
        let ends = [
            ("taken", now.unhibernated),
            ("unsent", now.retried_unsent),
            ("refused", now.retried_refused),
            ("gone", now.retried_gone),
            ("lost", now.lost),
        ];
        counters(out, "handoffs", "Handoffs by how they ended", "outcome", &ends)?;
        delays(out, &now)?;
        let retried = now.retried_unsent + now.retried_refused + now.retried_gone;
        counter(out, "retried", "Handoffs that are tried again", retried)?;
        counter(out, "lost", "Clients shut down since a worker fell silent", now.lost)?;
        counter(out, "given_up", "Clients that no worker took in time", now.given_up)?;
        counter(out, "disconnected", "Clients that left asleep", now.disconnected)?;
        counter(out, "kicked", "Clients kicked", now.kicked)?;
        let beats = [("sent", now.keepalives), ("blocked", now.keepalives_blocked)];
        counters(out, "keepalives", "Keepalives", "result", &beats)?;
        counter(out, "idles_answered", "DONE and IDLE answered asleep", now.idles_answered)?;
        counter(out, "input_bytes", "Bytes from sleepers", now.input_bytes)?;
        counter(out, "output_bytes", "Bytes to sleepers", now.output_bytes)?;
        counter(out, "watch_events", "Mailbox events", now.watch_events)?;
        counter(out, "watch_overflows", "Mailbox event queue overflows", now.watch_overflows)?;
        counter(out, "starved", "Receives without a free buffer", now.starved)?;
        counter(out, "sinks", "Dozes that ended in sleep", now.sinks)?;
        counter(out, "stirs", "Sleepers that the epoll set told of", now.stirs)?;
        counter(out, "sinks_refused", "Sleepers that it had no room for", now.sinks_refused)?;
        gauge(out, "dense", "Sleepers that need no item in it", now.dense)?;
        counter(out, "dense_lost", "Events of theirs without room, then swept", now.dense_lost)?;
        counter(out, "dense_found", "Stirs that only a sweep has found", now.dense_found)?;
        counters(out, "dropped", "Log and anvil entries dropped", "what", &pairs(&self.0.losses))?;
        engines(out, &self.0)?;
        front(out, &self.0.front)
    }
}

/// How long wakes have waited for torpor itself.
fn delays(out: &mut DescriptorEncoder<'_>, now: &Counters) -> fmt::Result {
    let counts = [
        now.delays_50us,
        now.delays_100us,
        now.delays_150us,
        now.delays_200us,
        now.delays_300us,
        now.delays_500us,
        now.delays_1ms,
        now.delays_longer,
    ];
    let bounds = BOUNDS_US.map(|bound_us| bound_us as f64 / 1e6).into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let (name, help) = ("wake_delay_seconds", "From completion to sendmsg, less the worker's part");
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let sum = now.delays_sum_us as f64 / 1e6;
    metric.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}

/// Which engines answer, and how the sleepers are shared out.
fn engines(out: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let numbers: Vec<String> = stats.engines.iter().map(|it| it.number.to_string()).collect();
    let values = |value: fn(&EngineStats) -> u64| -> Vec<(&str, u64)> {
        numbers.iter().map(String::as_str).zip(stats.engines.iter().map(value)).collect()
    };
    let asleep = values(|engine| engine.asleep);
    gauges(out, "engine_asleep", "Clients asleep in each engine", "engine", &asleep)?;
    let uptimes = values(|engine| engine.uptime_secs);
    gauges(out, "engine_uptime_seconds", "Since an engine was started", "engine", &uptimes)
}

/// The front's, if there is one: gauges, then totals by what happened.
fn front(out: &mut DescriptorEncoder<'_>, counts: &BTreeMap<String, u64>) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let value = |name: &str| counts.get(name).copied().unwrap_or_default();
    gauge(out, "workers", "Clients that are awake, each with its worker", value("workers"))?;
    gauge(out, "unauthenticated", "Connections that have not logged in", value("waiting"))?;
    gauge(out, "addresses_banned", "Addresses turned away for now", value("banned"))?;
    let logins = [("taken", value("logins")), ("failed", value("failures"))];
    counters(out, "logins", "Passwords that were right and wrong", "result", &logins)?;
    let refused = ["displaced", "crowd", "banned", "time", "bytes", "full"];
    let refused = refused.map(|reason| match reason {
        "displaced" => (reason, value(reason)),
        _ => (reason, value(&format!("refused_{reason}"))),
    });
    counters(out, "connections_refused", "Connections ended before login", "reason", &refused)?;
    let started = [
        ("login", value("workers_fresh")),
        ("wake", value("workers_woken")),
        ("failed", value("workers_unstarted")),
    ];
    counters(out, "workers_started", "Worker processes", "cause", &started)?;
    counter(out, "workers_broken", "Workers that crashed", value("workers_broken"))
}

fn pairs(values: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    values.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstGauge::new(value as i64);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn seconds(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauges(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: &[(&str, u64)],
) -> fmt::Result {
    let metric_type = ConstGauge::new(0_i64).metric_type();
    let mut family = out.encode_descriptor(name, help, None, metric_type)?;
    values.iter().try_for_each(|(text, value)| {
        let labels = [(label, *text)];
        ConstGauge::new(*value as i64).encode(family.encode_family(&labels)?)
    })
}

fn counters(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: &[(&str, u64)],
) -> fmt::Result {
    let metric_type = ConstCounter::new(0_u64).metric_type();
    let mut family = out.encode_descriptor(name, help, None, metric_type)?;
    values.iter().try_for_each(|(text, value)| {
        let labels = [(label, *text)];
        ConstCounter::new(*value).encode(family.encode_family(&labels)?)
    })
}
