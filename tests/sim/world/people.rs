//! Clients, their workers, and those who are up to no good.

use torpor_engine::ring::PassedKind;
use torpor_handoff::line::HIBERNATE_VERSION;

use crate::faults::Fault;
use crate::net::{Client, Conn, Net, Notify, Owner, Parcel, SimFd, Thing};

pub(super) fn is_gone(client: &Client) -> bool {
    client.eof || client.reset || client.owner == Owner::Nobody
}

/// A client with its worker; `index` bounds which of the users it belongs to.
pub fn new_client(net: &mut Net, index: usize) -> Client {
    let selected = net.random.chance(850);
    let mailbox = net.random.below(net.mailboxes.len() as u64) as usize;
    Client {
        sent: Vec::new(),
        pulled: 0,
        read: 0,
        eof: false,
        reset: false,
        window: 20_000,
        owner: Owner::Worker,
        busy_until_ms: net.now.mono_ms + net.random.below(3000),
        conn: None,
        mailbox: selected.then_some(mailbox),
        seen: 0,
        tag: Vec::new(),
        user: net.random.below(1 + index as u64) as usize,
        lives: 0,
        kicked: false,
        dismissed: None,
        handed: 0,
        byes: 0,
        damaged: false,
        shut: false,
        rest: Vec::new(),
        multiplex: net.random.chance(150),
        switch: 0,
        torn_ms: None,
        interval_secs: 1 + net.random.below(20),
        beat_ms: None,
        answered_in: 0,
        answered_out: 0,
    }
}

/// A worker has its client: reads it, and hibernates it when it is idle.
pub(super) fn idle(net: &mut Net, client: usize) {
    let now_ms = net.now.mono_ms;
    let entry = &mut net.clients[client];
    (entry.pulled, entry.read) = (entry.sent.len(), entry.sent.len());
    if entry.eof || entry.reset {
        entry.owner = Owner::Nobody;
        return;
    }
    if now_ms < entry.busy_until_ms {
        return;
    }
    let conn = net.conns.len();
    let (mailbox, pluses_due) = (entry.mailbox, 1 + u32::from(entry.mailbox.is_some()));
    entry.conn = Some(conn);
    (entry.switch, entry.torn_ms) = (0, None);
    (entry.answered_in, entry.answered_out) = (0, 0);
    entry.tag = format!("t{}", net.random.below(1000)).into_bytes();
    // A worker swallows a change of the last half second: the engine has to look for it.
    if let Some(mailbox) = mailbox {
        if net.strikes(Fault::LateChange, 200) {
            net.change(mailbox);
        } else if now_ms - net.mailboxes[mailbox].changed_ms > 500 {
            net.clients[client].seen = net.mailboxes[mailbox].version;
        }
    }
    let notify = mailbox.map(|mailbox| {
        net.notifies.push(Notify { mailbox, readable: false });
        net.notifies.len() - 1
    });
    net.conns.push(Conn {
        client: Some(client),
        notify,
        stage: 0,
        segments: Default::default(),
        closed: false,
        server_closed: false,
        heard: Vec::new(),
        pluses: 0,
        pluses_due,
        since_ms: now_ms,
    });
    net.backlog.push_back(conn);
    net.say(|| format!("client {client} of mailbox {mailbox:?} is to hibernate"));
}

/// A worker's side of a hibernate connection goes on.
pub(super) fn hand_over(net: &mut Net, conn: usize) {
    let Some(client) = net.conns[conn].client else {
        let late = net.now.mono_ms - net.conns[conn].since_ms > 3000;
        net.conns[conn].closed |= late || net.conns[conn].server_closed;
        return;
    };
    let given = net.clients[client].owner != Owner::Worker;
    if given {
        if net.random.chance(500) {
            net.clients[client].conn = None;
            net.conns[conn].closed = true;
        }
        return;
    }
    let entry = &net.conns[conn];
    let refused = entry.server_closed || entry.heard.windows(2).any(|pair| pair == b"\n-");
    let gives_up = net.now.mono_ms - entry.since_ms > 10_000;
    let (stage, silent) = (entry.stage, entry.heard.is_empty());
    let notify_due = entry.pluses == 1 && entry.pluses_due == 2;
    if refused || gives_up || net.strikes(Fault::WorkerHangsUp, 20) {
        net.conns[conn].closed = true;
        net.clients[client].conn = None;
        net.clients[client].busy_until_ms = net.now.mono_ms + 200 + net.random.below(2000);
        return;
    }
    match (stage, silent) {
        (0, _) => send_line(net, conn, client),
        (1, false) if notify_due => send_notify(net, conn),
        _ => {}
    }
}

fn send_line(net: &mut Net, conn: usize, client: usize) {
    let entry = &net.clients[client];
    let mut line = format!(
        "u{}\tprefix\tidle_notify_interval={}\tpeer_dev_major=0\tpeer_dev_minor=9\tpeer_ino={}\t\
         session=s{client}\trip=203.0.113.5\tuserdb_fields=a=b\ttag={}\tstats=none\tidle-cmd\t\
         state=YmFzZQo=\tinput_bytes_extra=26\toutput_bytes_extra=763",
        entry.user,
        entry.interval_secs,
        1000 + client,
        String::from_utf8_lossy(&entry.tag),
    );
    if entry.mailbox.is_some() {
        line.push_str("\tmailbox=INBOX\tnotify_fd");
    }
    if entry.multiplex {
        line.push_str("\tmultiplex_ostream");
    }
    line.push('\n');
    let fd = SimFd::new(Thing::Client(client), &net.open);
    let kind = if net.random.chance(300) { PassedKind::Unix } else { PassedKind::Tcp };
    let parcel = Parcel { fd, kind, inode: 1000 + client as u64 };
    let cut = 1 + net.random.below(line.len() as u64 - 1) as usize;
    let entry = &mut net.conns[conn];
    entry.stage = 1;
    entry.segments.push_back((HIBERNATE_VERSION.to_vec(), Vec::new()));
    entry.segments.push_back((line.as_bytes()[..cut].to_vec(), vec![parcel]));
    entry.segments.push_back((line.as_bytes()[cut..].to_vec(), Vec::new()));
}

fn send_notify(net: &mut Net, conn: usize) {
    let notify = net.conns[conn].notify.expect("a mailbox is selected");
    let fd = SimFd::new(Thing::Notify(notify), &net.open);
    let parcel = Parcel { fd, kind: PassedKind::Inotify, inode: 0 };
    let entry = &mut net.conns[conn];
    entry.stage = 2;
    entry.segments.push_back((b"\n".to_vec(), vec![parcel]));
}

/// A client says something.
pub(super) fn speak(net: &mut Net, client: usize) {
    let tag = net.random.below(1000);
    let text = match net.random.below(10) {
        0..=2 => "DONE\r\n".to_string(),
        3..=5 => format!("DONE\r\nn{tag} IDLE\r\n"),
        6 => format!("done\nn{tag} NOOP\r\nx LOGOUT\r\n"),
        7 if net.strikes(Fault::Garbage, 500) => "\0\u{7f}FOO BAR\r\n".to_string(),
        8 if net.strikes(Fault::Flood, 300) => "A".repeat(1 + net.random.below(3000) as usize),
        9 if net.strikes(Fault::Split, 700) => {
            let whole = "DONE\r\n";
            whole[..1 + net.random.below(5) as usize].to_string()
        }
        _ => return,
    };
    net.say(|| format!("client {client} says {text:?}"));
    net.clients[client].sent.extend_from_slice(text.as_bytes());
}

/// A connection that is up to no good: its descriptors must be closed, and nobody disturbed.
pub(super) fn hostile(net: &mut Net) {
    let version = String::from_utf8_lossy(HIBERNATE_VERSION).into_owned();
    let good = "u\tp\ttag=a\tidle-cmd";
    let lines = [
        format!("{good}\n"),
        "VERSION\timap\t1\t0\n".to_string(),
        version.clone(),
        format!("{version}{good}"),
        format!("{version}{good}\n"),
        format!("{version}{good}\tlport=0\n"),
        format!("{version}\n"),
        format!("{version}u\n"),
        format!("{version}u\tp\n"),
        format!("{version}{good}\tstate=*\n"),
        format!("{version}{good}\tpeer_ino=5\n"),
        format!("{version}{}\n", "x".repeat(5000)),
        "x".repeat(500),
        format!("{version}{good}\tnotify_fd\nx\n"),
        format!("{version}{good}\tnotify_fd\n\n"),
        format!("{version}{good}\n{good}\n"),
    ];
    let line = lines[net.random.below(lines.len() as u64) as usize].clone();
    let fds = net.random.below(4);
    let parcels = (0..fds).map(|_| {
        let kinds = [PassedKind::Other, PassedKind::Pollable, PassedKind::Inotify];
        let kind = kinds[net.random.below(3) as usize];
        Parcel { fd: SimFd::new(Thing::Junk, &net.open), kind, inode: 7 }
    });
    let parcels = parcels.collect();
    let conn = net.conns.len();
    net.conns.push(Conn {
        client: None,
        notify: None,
        stage: 9,
        segments: [(line.into_bytes(), parcels)].into(),
        closed: net.random.chance(300),
        server_closed: false,
        heard: Vec::new(),
        pluses: 0,
        pluses_due: u32::MAX,
        since_ms: net.now.mono_ms,
    });
    net.backlog.push_back(conn);
}
