//! The mails: small, realistic or awkward, each named after what it shows.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// One file of `mails/`.
pub struct Mail {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// All of them, by name; a mail's sequence number is its place here, counted from 1.
pub fn mails() -> Vec<Mail> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/referee/mails");
    let mut mails: Vec<Mail> = fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| {
            let path = entry.expect("a folder can be read").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            Mail { name, bytes: fs::read(path).expect("a mail can be read") }
        })
        .collect();
    mails.sort_by(|one, other| one.name.cmp(&other.name));
    mails
}

/// Delivers all of them into a Maildir, an hour after each other from noon of 1 November 2026
/// (UTC) on.
pub fn deliver(mails: &[Mail], maildir: &Path, owner: u32) {
    for folder in ["", "cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder)).expect("the Maildir can be made");
        chown(maildir.join(folder), Some(owner), Some(owner)).expect("run as root");
    }
    for (number, mail) in (0..).zip(mails) {
        let seconds = FIRST_DELIVERY_SECS + 3_600 * number;
        let path = maildir.join(format!("new/{seconds}.M{number}.referee"));
        let mut file = File::create(&path).expect("a mail can be made");
        file.write_all(&mail.bytes).expect("a mail can be written");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("its own time");
        chown(&path, Some(owner), Some(owner)).expect("run as root");
    }
}

const FIRST_DELIVERY_SECS: u64 = 1_793_534_400;
