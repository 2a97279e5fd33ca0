//! The fuzzer's targets, run over their corpora. The fuzzer itself is in `libfuzzer/`, for
//! `tests/run --nightly fuzz`.
//!
//! ```text
//! corpus/NAME/*      inputs that reach what the target is about, and every input that failed
//! dictionary/NAME    words for the fuzzer
//! targets/NAME.rs    what is called with each input
//! ```

mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use targets::TARGETS;

#[test]
fn idle_input() {
    replay("idle_input");
}

#[test]
fn master_reply() {
    replay("master_reply");
}

#[test]
fn notify_bytes() {
    replay("notify_bytes");
}

#[test]
fn record_image() {
    replay("record_image");
}

#[test]
fn wire_line() {
    replay("wire_line");
}

#[test]
fn wire_stream() {
    replay("wire_stream");
}

/// Every input of a corpus, and each input cut short anywhere.
fn replay(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target");
    let inputs = inputs(name);
    for (path, input) in &inputs {
        println!("{}", path.display());
        for end in 0..=input.len().min(CUTS_MAX) {
            (target.run)(&input[..end]);
        }
        (target.run)(input);
    }
    assert!(inputs.len() >= 4, "the corpus of {name} is missing");
}

#[test]
fn every_corpus_has_a_target_and_a_dictionary() {
    let mut names: Vec<String> = fs::read_dir(home().join("corpus"))
        .expect("the corpora")
        .map(|entry| entry.expect("a folder can be read").file_name().into_string().unwrap())
        .filter(|name| name != "script")
        .collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|target| target.name));
    for name in names {
        let path = home().join("dictionary").join(&name);
        assert!(path.exists(), "{} is missing", path.display());
    }
}

fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(home().join("corpus").join(name)).expect("a corpus");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("an input"));
    paths.into_iter().map(read).collect()
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
}

/// Beyond this an input is not cut: the tail of a long line says nothing new.
const CUTS_MAX: usize = 400;
