//! Maildir++ mailboxes with an index of UIDs, flags and modseqs that survives a crash.
