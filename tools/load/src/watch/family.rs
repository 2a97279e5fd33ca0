//! Processes, as /proc shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::outcome::Weight;

/// A process and what it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: i32,
    /// Its name; for torpor the subcommand, such as `worker`.
    pub name: String,
}

struct Entry {
    parent: i32,
    name: String,
}

/// The `roots` with all below them, and all processes of these names; never ourselves.
pub fn members(roots: &[i32], names: &[String]) -> Vec<Process> {
    let table = table();
    let mut chosen: BTreeSet<i32> = roots.iter().flat_map(|pid| family(&table, *pid)).collect();
    let ours = family(&table, std::process::id() as i32);
    let named = |entry: &Entry| names.contains(&entry.name);
    let by_name = table.iter().filter(|(_, entry)| named(entry)).map(|(pid, _)| *pid);
    chosen.extend(by_name.filter(|pid| !ours.contains(pid)));
    let known = chosen.into_iter().filter_map(|pid| Some((pid, table.get(&pid)?)));
    known.map(|(pid, entry)| Process { pid, name: role(pid, &entry.name) }).collect()
}

/// What it takes; `None` when it has ended, or is not ours to look at.
pub fn weight(pid: i32) -> Option<Weight> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kb = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let own_kb = kb("Pss_Anon:")? + kb("Pss_Shmem:")?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Weight { pss_kb: kb("Pss:")?, own_kb, descriptors })
}

fn table() -> BTreeMap<i32, Entry> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, entry(&stat)?))
    })
    .collect()
}

/// proc(5): `pid (name) state parent ...`; the name may hold anything.
fn entry(stat: &str) -> Option<Entry> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Entry { parent, name: name.to_owned() })
}

fn family(table: &BTreeMap<i32, Entry>, root: i32) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([root]);
    let mut waiting = vec![root];
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, entry) in table {
        children.entry(entry.parent).or_default().push(*pid);
    }
    while let Some(pid) = waiting.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if family.insert(*child) {
                waiting.push(*child);
            }
        }
    }
    family
}

/// torpor's processes are told apart by their first argument.
fn role(pid: i32, name: &str) -> String {
    // `exe` is one of torpor's before it has given itself a name.
    if name != "exe" && !name.starts_with("torpor") {
        return name.to_owned();
    }
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    let word = String::from_utf8_lossy(first);
    let fits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if fits { word.into_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_in_its_parents_family() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = child.id() as i32;
        let ours = members(&[std::process::id() as i32], &[]);
        assert!(ours.contains(&Process { pid, name: "sleep".to_owned() }), "{ours:?}");
        let named = members(&[], &["sleep".to_owned()]);
        assert!(named.iter().all(|process| process.pid != pid), "our own are not the server's");
        let weight = weight(pid).expect("it is ours");
        assert!(weight.pss_kb > weight.own_kb && weight.own_kb > 10, "{weight:?}");
        assert!(weight.descriptors >= 3, "its standard ones: {weight:?}");
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        assert_eq!(super::weight(pid), None);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let entry = entry("7 (a) b (c) S 5 7 7").expect("a line");
        assert_eq!((entry.name.as_str(), entry.parent), ("a) b (c", 5));
    }
}
