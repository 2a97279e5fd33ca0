//! mbsync and curl move whole mailboxes: 1,000 folders, and a mail of 25 MB.

use std::fs;
use std::path::Path;
use std::process::Command;

use torpor::dovecot::{Endpoint, Mailbox, Options};

use crate::ground::Ground;
use crate::programs::write_private;

/// Everything comes over, what is new on either side goes to the other, and nothing twice.
#[test]
fn mbsync_moves_a_thousand_folders_and_a_mail_of_25_mb() {
    let ground = Ground::own();
    let user = Options::user(1);
    let inbox = ground.mailbox(&user);
    let large = large_mail();
    inbox.deliver(&large).expect("a delivery");
    for number in 0..FOLDERS {
        let folder = inbox.path().join(format!(".Folder{number:03}"));
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part)).expect("a folder");
        }
    }
    let dir = ground.client_dir();
    configure(&dir, ground.endpoint(), &user);
    mbsync(&dir);
    assert_eq!(folders(&dir.join("mail")), FOLDERS);
    assert_eq!(mails(&dir.join("mail/INBOX")), [lines_of(&large)]);

    let local = Mailbox::message("from the client");
    fs::write(dir.join("mail/INBOX/new/1790000000.1.client"), &local).expect("a mail");
    inbox.deliver(&Mailbox::message("from the server")).expect("a delivery");
    for _ in 0..2 {
        mbsync(&dir);
        assert_eq!(mails(&dir.join("mail/INBOX")), mails(inbox.path()));
        assert_eq!(mails(inbox.path()).len(), 3);
    }
}

/// curl brings the bytes of a mail, and one that it uploads is there.
#[test]
fn curl_fetches_and_appends() {
    let ground = Ground::own();
    let user = Options::user(1);
    let inbox = ground.mailbox(&user);
    let large = large_mail();
    inbox.deliver(&large).expect("a delivery");
    let address = ground.endpoint().address;
    let fetched = curl(&user, &[&format!("imap://{address}/INBOX;UID=1")]);
    assert!(lines_of(&fetched) == lines_of(&large), "{} bytes", fetched.len());
    let file = ground.client_dir().join("mail");
    fs::write(&file, Mailbox::message("uploaded").replace('\n', "\r\n")).expect("a mail");
    let file = file.to_str().expect("a path of ours");
    curl(&user, &["-T", file, &format!("imap://{address}/INBOX")]);
    let found = curl(&user, &[&format!("imap://{address}/INBOX?SUBJECT%20uploaded")]);
    assert_eq!(found.trim(), "* SEARCH 2");
}

fn curl(user: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--user", &format!("{user}:pw")]).args(arguments);
    let output = command.output().expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn configure(dir: &Path, endpoint: Endpoint, user: &str) {
    let mail = dir.join("mail");
    fs::create_dir(&mail).expect("a folder");
    let (port, mail) = (endpoint.address.port(), mail.display());
    let config = format!(
        "IMAPAccount server\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass pw\nSSLType None\n\n\
         IMAPStore far\nAccount server\n\n\
         MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    );
    write_private(&dir.join("mbsyncrc"), &config).expect("a file");
}

fn mbsync(dir: &Path) {
    let mut command = Command::new("mbsync");
    let output = command.arg("-c").arg(dir.join("mbsyncrc")).arg("all").output();
    let output = output.expect("mbsync is installed");
    assert!(output.status.success(), "{output:?}");
}

fn folders(mail: &Path) -> usize {
    let entries = fs::read_dir(mail).expect("a folder");
    let is_one = |name: &str| name.starts_with("Folder");
    entries.filter(|entry| is_one(&entry.as_ref().unwrap().file_name().to_string_lossy())).count()
}

/// The mails of a Maildir without mbsync's own header, sorted.
fn mails(folder: &Path) -> Vec<String> {
    let mut mails = Vec::new();
    for part in ["cur", "new"] {
        for entry in fs::read_dir(folder.join(part)).expect("a Maildir") {
            let bytes = fs::read(entry.expect("an entry").path()).expect("a mail");
            mails.push(lines_of(&String::from_utf8_lossy(&bytes)));
        }
    }
    mails.sort();
    mails
}

/// LF line ends, as both sides may keep them differently.
fn lines_of(mail: &str) -> String {
    let lines = mail.lines().filter(|line| !line.starts_with("X-TUID: "));
    lines.map(|line| format!("{line}\n")).collect()
}

fn large_mail() -> String {
    let line = format!("{}\n", "x".repeat(75));
    Mailbox::message("large") + &line.repeat(LARGE_BYTES / line.len())
}

const FOLDERS: usize = 1000;
const LARGE_BYTES: usize = 25_000_000;
