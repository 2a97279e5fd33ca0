//! The house's rules that a machine can check. Each failure names the file and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of ours with what its rules need.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_in(&self, place: &str) -> bool {
        self.path.to_string_lossy().contains(place)
    }

    /// Tests in files of their own, and what only tests use.
    fn is_test(&self) -> bool {
        self.is_in("/tests") || self.is_in("tests/") || self.is_in("benches/")
    }

    /// The lines before the tests at the bottom.
    fn body(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"))
    }
}

/// Every Rust file of the project.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["engine", "handoff", "tools", "tests", "benches"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                let path = path.strip_prefix(root).expect("below the root").to_path_buf();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn unsafe_is_rare_short_and_in_its_rooms() {
    let (mut blocks, mut broken) = (0, Vec::new());
    let block = ["unsafe", " {"].concat();
    // The tests' two counting allocators are what is left.
    let is_allocator = |source: &&Source| {
        ["sim/counting.rs", "sim_swarm/alloc.rs"].iter().any(|name| source.path.ends_with(name))
    };
    for source in sources().iter().filter(|source| !is_allocator(source)) {
        let lines: Vec<&str> = source.body().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !code.contains(&block) {
                continue;
            }
            blocks += 1;
            let indent = line.len() - line.trim_start().len();
            let closes = |line: &&str| line.len() - line.trim_start().len() <= indent;
            let long = lines[at + 1..].iter().position(closes).unwrap_or(0) > 10;
            if !source.is_in("src/sys/") || long {
                broken.push(format!("{}:{}", source.path.display(), at + 1));
            }
        }
    }
    println!("{blocks} unsafe blocks outside of tests");
    assert_none(&broken, "unsafe outside of sys/, or over 10 lines");
    assert!((1..=14).contains(&blocks), "{blocks} unsafe blocks, 14 are allowed");
}

#[test]
fn the_core_asserts_two_things_a_function() {
    let (mut functions, mut asserts) = (0, 0);
    for source in sources() {
        if !source.is_in("engine/src/core") || source.path.ends_with("tests.rs") {
            continue;
        }
        for line in source.body().map(str::trim_start) {
            let head = line.trim_start_matches("pub(super) ").trim_start_matches("pub ");
            functions += usize::from(head.starts_with("fn "));
            let words = ["assert!(", "assert_eq!(", "assert_ne!(", ".expect(", "panic!("];
            asserts += words.map(|word| line.matches(word).count()).iter().sum::<usize>();
        }
    }
    println!("{asserts} assertions in {functions} functions of the core");
    assert!(asserts >= 2 * functions, "{asserts} assertions in {functions} functions");
}

#[test]
fn files_and_lines_are_short() {
    let mut broken = Vec::new();
    for source in sources() {
        let length = source.body().count();
        if length > 300 && !source.is_test() {
            broken.push(format!("{}: {length} lines, 300 are allowed", source.path.display()));
        }
        for (at, line) in source.text.lines().enumerate() {
            if line.chars().count() > 100 {
                broken.push(format!("{}:{}: over 100 columns", source.path.display(), at + 1));
            }
        }
    }
    assert_none(&broken, "too long");
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["#[", "ignore"].concat(),
        ["allow(", "dead_code"].concat(),
        ["/", "work/"].concat(),
    ];
    let mut broken = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                broken.push(format!("{}:{}: {mark}", source.path.display(), at + 1));
            }
        }
    }
    assert_none(&broken, "unfinished, or a path of one machine");
}
