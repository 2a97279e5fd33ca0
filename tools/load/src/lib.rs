//! Loads an IMAP server with clients that idle, and shows what they saw.
