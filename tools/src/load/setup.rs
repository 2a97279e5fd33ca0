//! A load plan from what was typed.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use torpor_load::act::{Act, Storm, Then};
use torpor_load::plan::{Pace, Plan};
use torpor_load::post::{LmtpPlace, Route};
use torpor_load::run::Setup;
use torpor_load::users::Users;
use torpor_load::watch::Watch;

use super::{CREW, Common, Failure, LoadCommand, Sight};

/// The acts of a scenario: log in first, a sign of life last.
pub(super) fn acts(command: LoadCommand) -> (Vec<Act>, Common) {
    let (middle, common) = match command {
        LoadCommand::Idle { secs, common } => (vec![Act::Hold { secs }], common),
        LoadCommand::Trickle { secs, mails_per_sec, dones_per_sec, common } => {
            (vec![Act::Trickle { secs, mails_per_sec, dones_per_sec }], common)
        }
        LoadCommand::Storm { done, mail, awake, newcomers, common } => {
            let then = awake.map_or(Then::Idle, |secs| Then::Awake { secs });
            let storms = [(Storm::Done, done), (Storm::Mail, mail)];
            let storm = |(what, clients): (Storm, Option<u32>)| {
                clients.map(|clients| Act::Storm { what, clients, then, newcomers })
            };
            (storms.into_iter().filter_map(storm).collect(), common)
        }
        LoadCommand::Soak { secs, every, done, mail, common } => {
            let (then, newcomers) = (Then::Idle, 0);
            let storm = |what, clients| Act::Storm { what, clients, then, newcomers };
            // The first storms are of everybody: none that follows takes more than they did.
            let all = [Storm::Done, Storm::Mail].map(|what| storm(what, common.clients));
            let first = std::iter::repeat_n(all, FIRST_STORMS).flatten();
            let round =
                [Act::Hold { secs: every }, storm(Storm::Done, done), storm(Storm::Mail, mail)];
            // A rate or time that is none is refused with the plan.
            let rounds = (secs / every).round().clamp(1.0, ROUNDS_MAX) as usize;
            let later = std::iter::repeat_n(round, rounds).flatten();
            (first.chain(later).collect(), common)
        }
        LoadCommand::Churn { secs, time_scale, bursts, common } => {
            (vec![Act::Churn { secs, time_scale, bursts_percent: bursts }], common)
        }
        LoadCommand::Slow { secs, byte_ms, closed_window: closed_window_secs, flood, common } => {
            (vec![Act::Slow { secs, byte_ms, closed_window_secs, flood }], common)
        }
    };
    let check = (!common.no_check).then_some(Act::Check { per_sec: common.logins_per_sec });
    ([Act::LogIn].into_iter().chain(middle).chain(check).collect(), common)
}

/// What was typed, checked and filled in.
pub(super) fn setup(acts: Vec<Act>, common: Common) -> Result<Setup, Failure> {
    let server = address(&common.to)?;
    let clients_per_user = common.clients_per_user;
    let users = match &common.users_file {
        Some(file) => Users::file(file)?,
        None => {
            let newcomers: u32 = acts.iter().map(Act::newcomers).sum();
            let count = common.clients.div_ceil(clients_per_user) + newcomers;
            Users::template(&common.user, &common.password, common.first, count)?
        }
    };
    let slow = acts.iter().any(|act| matches!(act, Act::Slow { .. }));
    let plan = Plan {
        server,
        users,
        clients: common.clients,
        clients_per_user,
        mailbox: common.mailbox.clone(),
        pace: Pace { logins_per_sec: common.logins_per_sec, logins_at_once: common.logins_at_once },
        login_timeout_secs: common.login_timeout,
        answer_timeout_secs: common.answer_timeout,
        receive_buffer_bytes: slow.then_some(SMALL_WINDOW_BYTES),
        route: route(&common, server)?,
        acts,
    };
    plan.check(common.i_run_this_server)?;
    let Sight { watch_pid, watch_comm, worker_names, torpor_socket, asleep_within, settle } =
        common.sight;
    let enough = common.clients.div_ceil(CLIENTS_PER_CREW);
    Ok(Setup {
        plan,
        crews: common.processes.unwrap_or(enough),
        program: std::env::current_exe()?,
        arguments: vec![CREW.to_owned()],
        watch: Watch {
            pids: watch_pid,
            names: watch_comm,
            workers: worker_names,
            socket: torpor_socket,
        },
        asleep_within: Duration::try_from_secs_f64(asleep_within)?,
        settle: Duration::try_from_secs_f64(settle)?,
        midway: common.midway,
        quiet: common.quiet,
    })
}

fn route(common: &Common, server: SocketAddr) -> Result<Option<Route>, Failure> {
    if let Some(template) = common.maildir.clone() {
        return Ok(Some(Route::Maildir { template }));
    }
    if let Some(lmtp) = &common.lmtp {
        let unix = lmtp.starts_with(['/', '.']);
        let to = if unix { LmtpPlace::Unix(lmtp.into()) } else { LmtpPlace::Tcp(address(lmtp)?) };
        return Ok(Some(Route::Lmtp { to, recipient: common.recipient.clone() }));
    }
    let mailbox = common.mailbox.clone();
    Ok(common.append.then_some(Route::Append { server, mailbox }))
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    let mut addresses = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    addresses.next().ok_or_else(|| format!("{text} has no address").into())
}

/// Of one soak.
const FIRST_STORMS: usize = 3;
const ROUNDS_MAX: f64 = 10_000.0;
/// Well below the 20,000 descriptors that many systems allow a process.
const CLIENTS_PER_CREW: u32 = 8_000;
/// The kernel makes the least it allows of it.
const SMALL_WINDOW_BYTES: u32 = 2_048;
