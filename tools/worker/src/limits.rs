//! What a client may cost.

use std::time::Duration;

/// One line of a command, its line end included. Dovecot's default.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// A whole command with its literals, the message of an APPEND excepted. Holds four full lines.
pub const COMMAND_BYTES_MAX: u32 = 256 * 1024;
/// Each literal makes the command so far be decoded once more, so their number is bounded.
pub const LITERALS_MAX: usize = 64;
/// The message of an APPEND; it goes to the disk in pieces.
pub const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Malformed commands in a row until the session ends.
pub const BAD_COMMANDS_MAX: u32 = 20;

/// Output waits for company until it is this long.
pub const OUTPUT_BYTES: usize = 16 * 1024;
/// One read from the client.
pub const INPUT_BYTES: usize = 8 * 1024;
/// A client that takes nothing for this long is gone.
pub const WRITE_WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// A client that is silent inside of a command is gone.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// A client that is silent between commands is gone (RFC 3501, 5.4: at least 30 minutes).
pub const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Changes of a mailbox are looked at this often at most, while a client idles.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(250);
/// How often it is looked at with nothing heard: of a mailbox that is deleted inotify says nothing
/// as long as we hold its folders open.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How often a mailbox is looked at when there is no inotify instance to be had.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A whole hand-over to `imap-hibernate`, as in Dovecot.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(10);
/// With no inotify instance to hand over, the next attempt comes within this: others free theirs
/// with their own hand-over.
pub const WATCH_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A refused hand-over is tried again after the quiet time, then after twice that, up to this.
pub const HAND_OVER_PAUSE_MAX: Duration = Duration::from_secs(10 * 60);
/// Silence on `imap-master` until the request has come, as in Dovecot.
pub const REQUEST_WAIT_MAX: Duration = Duration::from_secs(25);
/// A request line; the engine's own limit for a hibernate line is below it.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Ranges of \Recent that a sleeping session keeps; the latest ones.
pub const RECENT_RANGES_MAX: usize = 16;

const _: () = assert!(COMMAND_BYTES_MAX as usize >= 4 * LINE_BYTES_MAX);
const _: () = assert!(SYNC_INTERVAL.as_millis() < LOOK_INTERVAL.as_millis());
