//! What clients weigh: the difference between two looks at the machine, divided by them.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use torpor_load::machine::{descriptors, table_bytes, used_bytes};

use super::memory::pss_bytes;
use super::slabs::{self, Slabs};

/// One look.
pub struct Scale {
    slabs: Slabs,
    pss: u64,
    tables: u64,
    used: u64,
    descriptors: u64,
}

/// Bytes of one client.
#[derive(Clone, Debug, Default)]
pub struct Weight {
    /// Slab pages.
    pub kernel: f64,
    /// The same by cache, largest first.
    pub caches: Vec<(String, f64)>,
    /// Proportional set size of the processes that hold it.
    pub user: f64,
    /// Their page tables and kernel stacks.
    pub tables: f64,
    /// What the whole machine had more in use, whoever used it.
    pub machine: f64,
    /// Descriptors, not bytes.
    pub descriptors: f64,
}

impl Scale {
    /// The first look, once the dust of what was before has settled.
    ///
    /// # Errors
    /// Only root may see slabs.
    pub fn settled(pids: &[i32]) -> io::Result<Self> {
        thread::sleep(SETTLE);
        slabs::shrink();
        Self::read(pids)
    }

    /// A look at what is held, without what the kernel keeps in case somebody asks: it gives that
    /// back first. Two looks that are compared must both be of this kind.
    ///
    /// # Errors
    /// Only root may have that, and see slabs.
    pub fn held(pids: &[i32]) -> io::Result<Self> {
        // What is still to be written cannot be dropped.
        nix::unistd::sync();
        std::fs::write("/proc/sys/vm/drop_caches", ALL)?;
        Self::settled(pids)
    }

    /// # Errors
    /// Only root may see slabs.
    pub fn read(pids: &[i32]) -> io::Result<Self> {
        Ok(Self {
            slabs: slabs::bytes()?,
            pss: pss_bytes(pids)?,
            tables: table_bytes(pids)?,
            used: used_bytes()?,
            descriptors: descriptors(pids),
        })
    }

    /// What each of `clients`, who came between the two looks, weighs.
    pub fn until(&self, after: &Self, clients: u32) -> Weight {
        assert!(clients > 0, "nobody weighs nothing");
        let each = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(clients);
        let caches = slabs::largest(&self.slabs, &after.slabs).into_iter();
        Weight {
            kernel: slabs::total(&self.slabs, &after.slabs) as f64 / f64::from(clients),
            caches: caches.map(|(name, bytes)| (name, bytes as f64 / f64::from(clients))).collect(),
            user: each(self.pss, after.pss),
            tables: each(self.tables, after.tables),
            machine: each(self.used, after.used),
            descriptors: each(self.descriptors, after.descriptors),
        }
    }
}

impl Weight {
    /// What is left when the bench's own part of the kernel memory is taken off.
    pub fn without(self, kernel: f64) -> Self {
        Self { kernel: self.kernel - kernel, machine: self.machine - kernel, ..self }
    }

    /// What one of these has that one of those has not.
    pub fn on_top_of(&self, below: &Self) -> Self {
        let caches = self.caches.iter().map(|(name, bytes)| {
            let same = below.caches.iter().find(|(other, _)| other == name);
            (name.clone(), bytes - same.map_or(0.0, |(_, bytes)| *bytes))
        });
        Self {
            kernel: self.kernel - below.kernel,
            caches: caches.filter(|(_, bytes)| *bytes >= 1.0).collect(),
            user: self.user - below.user,
            tables: self.tables - below.tables,
            machine: self.machine - below.machine,
            descriptors: self.descriptors - below.descriptors,
        }
    }

    /// Of several, at least one.
    pub fn mean(all: &[Self]) -> Self {
        assert!(!all.is_empty(), "nobody weighs nothing");
        let mean =
            |figure: &dyn Fn(&Self) -> f64| all.iter().map(figure).sum::<f64>() / all.len() as f64;
        let of = |weight: &Self, name: &str| {
            let cache = weight.caches.iter().find(|(other, _)| other == name);
            cache.map_or(0.0, |(_, bytes)| *bytes)
        };
        let names: BTreeSet<&String> =
            all.iter().flat_map(|one| &one.caches).map(|c| &c.0).collect();
        let caches = names.into_iter().map(|name| (name.clone(), mean(&|one| of(one, name))));
        let mut caches: Vec<(String, f64)> = caches.filter(|(_, bytes)| *bytes >= 1.0).collect();
        caches.sort_by(|one, other| other.1.total_cmp(&one.1));
        Self {
            kernel: mean(&|one| one.kernel),
            caches,
            user: mean(&|one| one.user),
            tables: mean(&|one| one.tables),
            machine: mean(&|one| one.machine),
            descriptors: mean(&|one| one.descriptors),
        }
    }

    /// All that can be told to be the client's.
    pub fn bytes(&self) -> f64 {
        self.kernel + self.user + self.tables
    }

    pub fn to_json(&self) -> Value {
        let Self { kernel, caches, user, tables, machine, descriptors } = self;
        json!({
            "kernel": kernel, "caches": caches, "user": user, "tables": tables,
            "machine": machine, "descriptors": descriptors,
        })
    }

    /// What [`Weight::to_json`] said.
    pub fn from_json(value: &Value) -> Option<Self> {
        let figure = |name: &str| value[name].as_f64();
        let caches = value["caches"].as_array()?.iter();
        let caches = caches.map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_f64()?)));
        Some(Self {
            kernel: figure("kernel")?,
            caches: caches.collect::<Option<_>>()?,
            user: figure("user")?,
            tables: figure("tables")?,
            machine: figure("machine")?,
            descriptors: figure("descriptors")?,
        })
    }
}

/// sysctl vm.drop_caches: pages, dentries and inodes.
const ALL: &str = "3";
/// Sockets of the row before are freed a moment after they are closed.
const SETTLE: Duration = Duration::from_secs(1);
