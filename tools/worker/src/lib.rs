//! The built-in imap worker: IMAP4rev1 over Maildir, one process per awake client.
