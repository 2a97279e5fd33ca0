//! One private Dovecot and whoever holds its hibernated clients.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use torpor::dovecot::{Dovecot, Options, Owner};

use super::torpor::Torpor;

/// Who holds the sleepers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Dovecot's own imap-hibernate.
    Stock,
    Torpor,
}

/// A running side. The holder goes before the Dovecot it stands beside.
pub struct Ground {
    torpor: Option<Torpor>,
    pub dovecot: Dovecot,
}

impl Ground {
    /// Starts the side: the same Dovecot for both but for who owns the hibernate socket.
    ///
    /// # Errors
    /// Dovecot or torpor did not start.
    pub fn start(side: Side, options: &Options, binary: &Path) -> io::Result<Ground> {
        let owner = if side == Side::Stock { Owner::Stock } else { Owner::Torpor };
        let dovecot = Dovecot::start(&Options { owner, ..options.clone() })?;
        let torpor = match side {
            Side::Stock => None,
            Side::Torpor => Some(Torpor::start(binary, &dovecot.base_dir())?),
        };
        Ok(Ground { torpor, dovecot })
    }

    /// The processes that hold sleepers now.
    pub fn holders(&self) -> Vec<i32> {
        match &self.torpor {
            Some(torpor) => {
                let mut family = vec![torpor.pid()];
                let mut next = 0;
                while let Some(pid) = family.get(next) {
                    family.extend(children(*pid));
                    next += 1;
                }
                family
            }
            None => {
                let master = self.dovecot.pid().unwrap_or_default();
                children(master).into_iter().filter(|pid| name(*pid) == "imap-hibernate").collect()
            }
        }
    }

    /// Client connections that an imap worker holds at this moment.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn awake(&self) -> io::Result<usize> {
        let ours = established(self.dovecot.endpoint(false).address.port())?;
        let mut awake = HashSet::new();
        for pid in self.dovecot.imap_pids() {
            // A worker that ends meanwhile holds nothing.
            let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
            let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
            awake.extend(links.filter_map(|link| link.to_str().map(str::to_owned)));
        }
        Ok(awake.iter().filter(|link| ours.contains(*link)).count())
    }

    /// Waits until no worker has a client, and for the dust to settle.
    ///
    /// # Errors
    /// Somebody stays awake.
    pub fn wait_asleep(&self) -> io::Result<()> {
        let deadline = Instant::now() + ASLEEP_WITHIN;
        let mut quiet = 0;
        while quiet < 3 {
            let awake = self.awake()?;
            quiet = if awake == 0 { quiet + 1 } else { 0 };
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{awake} clients do not fall asleep")));
            }
            thread::sleep(Duration::from_millis(150));
        }
        Ok(())
    }
}

/// `socket:[INODE]` of every server end of a connection to `port`.
fn established(port: u16) -> io::Result<HashSet<String>> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let suffix = format!(":{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // proc(5): local address, state (01: established) and inode.
        let fits = fields.get(1)?.ends_with(&suffix) && fields.get(3) == Some(&"01");
        fits.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
    };
    Ok(table.lines().filter_map(inode).collect())
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all = texts.collect::<Vec<_>>().join(" ");
    all.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn name(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

const ASLEEP_WITHIN: Duration = Duration::from_secs(120);
