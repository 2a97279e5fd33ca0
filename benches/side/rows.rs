//! The rows of the density bench: who is weighed, and what each may weigh.

use std::error::Error;
use std::io;

use clap::{Args, ValueEnum};

use super::scale::Weight;
use super::{beside, held, pledged};

/// Who is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// A connection that nobody waits for
    Bare,
    /// One in an epoll set
    Epoll,
    /// One with a tokio task
    Tokio,
    /// torpor: a recv of its own
    Doze,
    /// torpor: in the epoll set
    Sleep,
    /// torpor: by BPF programs
    Dense,
    /// torpor: AF_UNIX, as TLS logins are
    Unix,
    /// torpor: the watch of a mailbox, by inotify
    Inotify,
    /// torpor: the watch of a mailbox, by fanotify
    Fanotify,
    /// Dovecot's imap-hibernate, watches included
    Stock,
    /// Dovecot's imap process in IDLE
    Imap,
    /// Dovecot's imap-login with a TLS client
    Proxy,
}

/// How many of each.
#[derive(Args, Clone, Copy, Debug)]
pub struct Sizes {
    /// Sleepers of torpor, and bare connections as far as our own descriptors go
    #[arg(long, default_value_t = 15_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: u32,
    /// Sleepers that each watch a mailbox of their own
    #[arg(long, default_value_t = 15_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub mailboxes: u32,
    /// Sleepers of stock imap-hibernate
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=9000))]
    pub stock: u32,
    /// Clients with an imap process, or with a TLS proxy, each
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub awake: u32,
}

/// At most so many bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bound {
    pub kernel: Option<f64>,
    pub user: Option<f64>,
}

impl Row {
    /// How the table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bare => "a bare connection",
            Self::Epoll => "in an epoll set",
            Self::Tokio => "a tokio task each",
            Self::Doze => "torpor, doze",
            Self::Sleep => "torpor, sleep",
            Self::Dense => "torpor, dense",
            Self::Unix => "torpor, AF_UNIX",
            Self::Inotify => "torpor, watch on top: inotify",
            Self::Fanotify => "torpor, watch on top: fanotify",
            Self::Stock => "stock imap-hibernate, watch included",
            Self::Imap => "stock imap process in IDLE",
            Self::Proxy => "stock imap-login, a TLS client",
        }
    }

    /// What was promised.
    pub fn bound(self) -> Bound {
        let both = |kernel, user| Bound { kernel: Some(kernel), user: Some(user) };
        match self {
            Self::Doze => both(4850.0, SLEEPER_USER_BYTES_MAX),
            Self::Sleep => both(4200.0, SLEEPER_USER_BYTES_MAX),
            Self::Dense => both(3970.0, SLEEPER_USER_BYTES_MAX),
            Self::Unix => both(2950.0, SLEEPER_USER_BYTES_MAX),
            Self::Inotify => both(2800.0, WATCH_USER_BYTES_MAX),
            Self::Fanotify => both(NOTHING_BYTES_MAX, WATCH_USER_BYTES_MAX),
            _ => Bound::default(),
        }
    }

    /// Weighs it; an error of what is not there is not one of the bench.
    ///
    /// # Errors
    /// Something that should work did not.
    pub fn weigh(self, sizes: &Sizes) -> Result<Result<Weight, String>, Box<dyn Error>> {
        let Sizes { clients, mailboxes, stock, awake } = *sizes;
        let own = clients.min(OWN_DESCRIPTORS_MAX);
        let dozers = clients.min(DOZERS_MAX);
        let weight = match self {
            Self::Bare => held::bare(own),
            Self::Epoll => held::epoll(own),
            Self::Tokio => held::tokio(own),
            Self::Doze => {
                pledged::tcp(dozers - 1, &format!("doze_secs = 86400\ndozers_max = {dozers}\n"))
            }
            Self::Sleep => pledged::tcp(clients, "doze_secs = 0\n"),
            Self::Dense => pledged::tcp(clients, "doze_secs = 0\ndense = true\n"),
            Self::Unix => pledged::unix(clients, "doze_secs = 0\n"),
            Self::Inotify => pledged::watch(mailboxes, "doze_secs = 0\n"),
            Self::Fanotify => {
                let marked = format!("[watch]\nfanotify_dirs = [{:?}]\n", std::env::temp_dir());
                pledged::watch(mailboxes, &format!("doze_secs = 0\n{marked}"))
            }
            Self::Stock => beside::hibernate(stock),
            Self::Imap => beside::imap(awake),
            Self::Proxy => beside::proxy(awake),
        };
        match weight {
            Ok(weight) => Ok(Ok(weight)),
            Err(error) => match error.downcast_ref::<io::Error>() {
                Some(lacks) if lacks.kind() == io::ErrorKind::Unsupported => {
                    Ok(Err(lacks.to_string()))
                }
                _ => Err(error),
            },
        }
    }
}

/// 64 of the record and 160 of the words.
const SLEEPER_USER_BYTES_MAX: f64 = 224.0;
const WATCH_USER_BYTES_MAX: f64 = 48.0;
/// Slabs come in pages of 4 KiB, and a few of them come and go.
const NOTHING_BYTES_MAX: f64 = 48.0;
/// Of 20,000, with room for the rest of the bench.
const OWN_DESCRIPTORS_MAX: u32 = 17_000;
/// A ring holds no more.
const DOZERS_MAX: u32 = 24_000;
