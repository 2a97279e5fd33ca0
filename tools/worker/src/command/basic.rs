//! Commands about the server and the session.

use std::io::Write as _;

use imap_codec::imap_types::extensions::enable::CapabilityEnable;

use crate::end::{End, Trouble};
use crate::reply::Reply;
use crate::session::{CAPABILITIES, Session};

impl Session {
    pub(crate) fn capability(&mut self) -> Result<Reply, Trouble> {
        write!(self.link, "* CAPABILITY {CAPABILITIES}\r\n")?;
        self.synced(Reply::ok("Capability completed."))
    }

    pub(crate) fn id(&mut self) -> Result<Reply, Trouble> {
        self.link.write_all(b"* ID (\"name\" \"torpor\")\r\n")?;
        Ok(Reply::ok("ID completed."))
    }

    /// One personal namespace (RFC 2342).
    pub(crate) fn namespace(&mut self) -> Result<Reply, Trouble> {
        self.link.write_all(b"* NAMESPACE ((\"\" \".\")) NIL NIL\r\n")?;
        Ok(Reply::ok("Namespace completed."))
    }

    pub(crate) fn logout(&mut self, tag: &str) -> Result<Reply, Trouble> {
        self.link.write_all(b"* BYE Logging out\r\n")?;
        Reply::ok("Logout completed.").write(&mut self.link, Some(tag))?;
        self.link.flush()?;
        Err(End::LoggedOut.into())
    }

    /// Unknown names are left out of the answer (RFC 5161, 3.1). QRESYNC brings CONDSTORE.
    pub(crate) fn enable(&mut self, names: &[CapabilityEnable<'_>]) -> Result<Reply, Trouble> {
        let mut enabled = String::new();
        let had_condstore = self.features.condstore;
        for name in names {
            let name = name.to_string().to_ascii_uppercase();
            let is_new = match name.as_str() {
                "CONDSTORE" => !std::mem::replace(&mut self.features.condstore, true),
                "QRESYNC" => {
                    self.features.condstore = true;
                    !std::mem::replace(&mut self.features.qresync, true)
                }
                _ => false,
            };
            if is_new {
                enabled.push(' ');
                enabled.push_str(&name);
            }
        }
        write!(self.link, "* ENABLED{enabled}\r\n")?;
        if !had_condstore && self.features.condstore {
            self.tell_highest_modseq()?;
        }
        self.synced(Reply::ok("Enabled."))
    }

    /// What using a command of RFC 7162 does (3.1): from now on MODSEQ is told.
    pub(crate) fn enable_condstore(&mut self) -> Result<(), Trouble> {
        if !self.features.condstore {
            self.features.condstore = true;
            self.tell_highest_modseq()?;
        }
        Ok(())
    }

    fn tell_highest_modseq(&mut self) -> Result<(), Trouble> {
        if let Some(selected) = &self.selected {
            let modseq = selected.view.modseq;
            write!(self.link, "* OK [HIGHESTMODSEQ {modseq}] Highest\r\n")?;
        }
        Ok(())
    }
}
