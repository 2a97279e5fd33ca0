//! The hibernate line, written: how the built-in worker gives its client away.

use std::io::Write as _;

use super::{HibernateLine, Statistics};

impl HibernateLine<'_> {
    /// Pushes the line, LF included, its keys in the order of Dovecot 2.4.1. Text fields have to be
    /// escaped already (`escape_into`), as they are in a parsed line.
    pub fn render(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.username);
        text(out, "", Some(self.log_prefix));
        number(out, "idle_notify_interval", Some(self.idle_notify_interval_secs));
        number(out, "peer_dev_major", self.peer.map(|peer| peer.dev_major));
        number(out, "peer_dev_minor", self.peer.map(|peer| peer.dev_minor));
        number(out, "peer_ino", self.peer.map(|peer| peer.ino));
        text(out, "session=", self.session);
        number(out, "session_created", self.session_created);
        number(out, "lip", self.lip);
        number(out, "lport", self.lport);
        number(out, "rip", self.rip);
        number(out, "rport", self.rport);
        flag(out, "multiplex_ostream", self.multiplex_ostream);
        text(out, "userdb_fields=", self.userdb_fields);
        number(out, "uid", self.uid);
        number(out, "gid", self.gid);
        text(out, "mailbox=", self.mailbox);
        text(out, "tag=", Some(self.tag));
        text(out, "auth_token=", self.auth_token);
        text(out, "session_pid=", self.session_pid);
        text(out, "stats=", self.stats);
        flag(out, "idle-cmd", self.idle_cmd);
        flag(out, "notify_fd", self.notify_fd);
        text(out, "state=", self.state);
        if let Some(statistics) = &self.statistics {
            statistics.render(out);
        }
        out.push(b'\n');
        assert!(!out[start..out.len() - 1].contains(&b'\n'), "fields are escaped");
    }
}

impl Statistics {
    fn render(&self, out: &mut Vec<u8>) {
        number(out, "fetch_hdr_count", Some(self.fetch_hdr_count));
        number(out, "fetch_hdr_bytes", Some(self.fetch_hdr_bytes));
        number(out, "fetch_body_count", Some(self.fetch_body_count));
        number(out, "fetch_body_bytes", Some(self.fetch_body_bytes));
        number(out, "deleted_count", Some(self.deleted_count));
        number(out, "expunged_count", Some(self.expunged_count));
        number(out, "trashed_count", Some(self.trashed_count));
        number(out, "autoexpunged_count", Some(self.autoexpunged_count));
        number(out, "append_count", Some(self.append_count));
        number(out, "input_bytes_extra", Some(self.input_bytes_extra));
        number(out, "output_bytes_extra", Some(self.output_bytes_extra));
    }
}

fn text(out: &mut Vec<u8>, key: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        out.push(b'\t');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(value);
    }
}

fn number(out: &mut Vec<u8>, key: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        write!(out, "\t{key}={value}").expect("writing to a Vec cannot fail");
    }
}

fn flag(out: &mut Vec<u8>, key: &str, is_set: bool) {
    if is_set {
        out.push(b'\t');
        out.extend_from_slice(key.as_bytes());
    }
}
