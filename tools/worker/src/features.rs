//! The extensions that change what everybody else says (RFC 7162).

/// What the client has enabled, by ENABLE or by using it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// MODSEQ goes into every untagged FETCH.
    pub condstore: bool,
    /// VANISHED takes the place of EXPUNGE, UID goes into every untagged FETCH. Never without
    /// `condstore`.
    pub qresync: bool,
}
