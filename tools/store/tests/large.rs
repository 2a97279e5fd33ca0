//! A large mailbox in little memory: what `examples/large.rs` prints is below its bounds.

#[path = "crash/example.rs"]
mod example;

use std::process::Command;

/// 12 MiB for 200,000 messages.
const HELD_BYTES_MAX: u64 = 62;
/// Of a process that only opens or refreshes: 5 MiB more for 200,000.
const PEAK_BYTES_MAX: u64 = 88;
/// Pages of code and the allocator's own, which do not grow with the mailbox.
const PROCESS_BYTES: u64 = 1024 * 1024;

#[test]
fn a_message_takes_few_bytes_to_hold_and_few_more_to_look_for() {
    let messages: u64 = if std::env::var_os("TORPOR_NIGHTLY").is_some() { 200_000 } else { 30_000 };
    let output = Command::new(example::built("large")).arg(messages.to_string()).output();
    let output = output.expect("the example runs");
    let text = String::from_utf8(output.stdout).expect("a text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    let mut stages = 0;
    for line in text.lines().filter(|line| line.contains(" held, ")) {
        // "STAGE: N KiB held, N bytes a message, N KiB peak, N ms of CPU"
        let words: Vec<&str> = line.split_whitespace().collect();
        let bytes = |at: usize| words[at].parse::<u64>().expect("a number") * 1024;
        let (held, peak) = (bytes(1), bytes(8));
        assert!(held < messages * HELD_BYTES_MAX + PROCESS_BYTES, "{line}");
        let only_looks = words[0] != "store:";
        assert!(!only_looks || peak < messages * PEAK_BYTES_MAX + PROCESS_BYTES, "{line}");
        stages += 1;
    }
    assert_eq!(stages, 6);
}
