//! The script under strace: which syscalls it makes, and one of them killed or failed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::example;

/// One syscall of the script: the how manieth of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    name: String,
    count: usize,
    /// True if it opens a file that it may have to make.
    makes: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL in place of the syscall.
    Kill,
    /// The syscall does nothing but fail with ENOSPC.
    NoSpace,
}

impl Syscall {
    pub fn takes_space(&self) -> bool {
        let writers = ["write", "pwrite64", "linkat", "mkdir", "mkdirat", "fsync", "fdatasync"];
        let renames = ["rename", "renameat", "renameat2"];
        self.makes || writers.contains(&&*self.name) || renames.contains(&&*self.name)
    }
}

/// What the script says when nothing is done to it.
pub fn run(home: &Path) -> String {
    said(Command::new(script()).arg(home).output())
}

/// What the script says when no file may be longer than that; of a write that goes beyond only the
/// bytes up to there are written.
pub fn run_limited(home: &Path, file_bytes_max: u64) -> String {
    // The kernel would end the process for the attempt, if that was not ignored.
    let shell = "trap '' XFSZ; exec prlimit --fsize=\"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", shell, &file_bytes_max.to_string()]).arg(script()).arg(home);
    said(command.output())
}

/// What the script says when the fault hits that syscall.
pub fn run_with(home: &Path, syscall: &Syscall, fault: Fault) -> String {
    let fault = match fault {
        Fault::Kill => "signal=KILL",
        Fault::NoSpace => "error=ENOSPC",
    };
    let name = &syscall.name;
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e"]);
    strace.arg(format!("trace={name}"));
    strace.args(["-e", &format!("inject={name}:{fault}:when={}", syscall.count)]);
    said(strace.arg(script()).arg(home).output())
}

/// The syscalls on files and descriptors of a whole run, from when it first names the home.
pub fn list(home: &Path) -> Vec<Syscall> {
    let log = home.join("..").join(format!("{}.strace", home.file_name().unwrap().display()));
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "trace=%file,%desc", "-e", "signal=none", "-o"]);
    let ran = strace.arg(&log).arg(script()).arg(home).output();
    assert!(said(ran).ends_with("done\n"), "the script did not end");
    let text = std::fs::read_to_string(&log).expect("a log of strace");
    std::fs::remove_file(&log).expect("the log can be removed");
    let (mut counts, mut syscalls) = (HashMap::new(), Vec::new());
    let mut is_on = false;
    for line in text.lines() {
        // "name(arguments) = result"
        let Some((name, rest)) = line.split_once('(') else { continue };
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        is_on |= name != "execve" && rest.contains(&*home.to_string_lossy());
        // What the script says is not what it does.
        if is_on && !line.starts_with("write(1, ") {
            let makes = rest.contains("O_CREAT");
            syscalls.push(Syscall { name: name.to_owned(), count: *count, makes });
        }
    }
    syscalls
}

fn said(output: std::io::Result<Output>) -> String {
    let output = output.expect("strace is installed and the script was built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    String::from_utf8(output.stdout).expect("a text")
}

fn script() -> &'static Path {
    static SCRIPT: LazyLock<PathBuf> = LazyLock::new(|| example::built("script"));
    &SCRIPT
}
