//! What a FETCH asks for, worked out once for all of its messages.

use std::num::NonZeroU32;

use imap_codec::ResponseCodec;
use imap_codec::encode::Encoder as _;
use imap_codec::imap_types::core::{NString, Vec1};
use imap_codec::imap_types::fetch::{
    MacroOrMessageDataItemNames, MessageDataItem, MessageDataItemName, Section,
};
use imap_codec::imap_types::response::{Data, Response};

use crate::material::Extent;

/// The items in the order in which they are answered.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub items: Vec<Item<'a>>,
    marks_seen: bool,
}

/// One item of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Envelope,
    Flags,
    InternalDate,
    ModSeq,
    Section(Piece<'a>),
    Size,
    Structure { is_extended: bool },
    Uid,
}

/// Bytes of a message, answered as a literal behind `label`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub label: Vec<u8>,
    /// `None`: the whole message.
    pub section: Option<Section<'a>>,
    /// First byte and number of bytes, in CRLF form.
    pub partial: Option<(u32, NonZeroU32)>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// Client: an item of an extension that is not offered.
    pub fn new(names: &'a MacroOrMessageDataItemNames<'_>) -> Result<Plan<'a>, &'static str> {
        let names = match names {
            MacroOrMessageDataItemNames::Macro(name) => name.expand(),
            MacroOrMessageDataItemNames::MessageDataItemNames(names) => names.clone(),
        };
        let mut plan = Plan::default();
        for name in names {
            plan.add(name)?;
        }
        Ok(plan)
    }

    /// UID is part of every answer to UID FETCH, MODSEQ of every answer to CHANGEDSINCE (RFC 7162
    /// section 3.1.4.1).
    pub fn add_implied(&mut self, has_uid: bool, has_modseq: bool) {
        if has_uid && !self.items.contains(&Item::Uid) {
            self.items.insert(0, Item::Uid);
        }
        if has_modseq && !self.items.contains(&Item::ModSeq) {
            self.items.push(Item::ModSeq);
        }
    }

    pub fn asks_for_modseq(&self) -> bool {
        self.items.contains(&Item::ModSeq)
    }

    /// True exactly when an item sets \Seen (RFC 3501 section 6.4.5).
    pub fn marks_seen(&self) -> bool {
        self.marks_seen
    }

    pub fn needs_size(&self) -> bool {
        self.items.contains(&Item::Size)
    }

    pub fn needs_date(&self) -> bool {
        self.items.contains(&Item::InternalDate)
    }

    /// How much of the message itself has to be read.
    pub fn extent(&self) -> Extent {
        self.items.iter().map(Item::extent).max().unwrap_or_default()
    }

    fn add(&mut self, name: MessageDataItemName<'a>) -> Result<(), &'static str> {
        use MessageDataItemName as Name;
        self.marks_seen |=
            matches!(name, Name::BodyExt { peek: false, .. } | Name::Rfc822 | Name::Rfc822Text);
        let whole = |label: &str, section| {
            Item::Section(Piece { label: label.into(), section, partial: None })
        };
        let item = match name {
            Name::Body => Item::Structure { is_extended: false },
            Name::BodyExt { section, partial, .. } => Item::Section(Piece::new(section, partial)),
            Name::BodyStructure => Item::Structure { is_extended: true },
            Name::Envelope => Item::Envelope,
            Name::Flags => Item::Flags,
            Name::InternalDate => Item::InternalDate,
            Name::ModSeq => Item::ModSeq,
            Name::Rfc822 => whole("RFC822", None),
            Name::Rfc822Header => whole("RFC822.HEADER", Some(Section::Header(None))),
            Name::Rfc822Size => Item::Size,
            Name::Rfc822Text => whole("RFC822.TEXT", Some(Section::Text(None))),
            Name::Uid => Item::Uid,
            Name::Binary { .. } => return Err("BINARY"),
            Name::BinarySize { .. } => return Err("BINARY.SIZE"),
        };
        if !self.items.contains(&item) {
            self.items.push(item);
        }
        Ok(())
    }
}

impl Item<'_> {
    fn extent(&self) -> Extent {
        match self {
            Item::Envelope => Extent::Header,
            Item::Section(piece) if piece.is_header() => Extent::Header,
            Item::Section(_) | Item::Structure { .. } => Extent::Whole,
            _ => Extent::Nothing,
        }
    }
}

impl<'a> Piece<'a> {
    fn new(section: Option<Section<'a>>, partial: Option<(u32, NonZeroU32)>) -> Piece<'a> {
        let origin = partial.map(|(origin, _)| origin);
        let nil = NString(None);
        let item = MessageDataItem::BodyExt { section: section.clone(), origin, data: nil };
        let mut label = encoded(item);
        label.truncate(label.len() - b" NIL".len());
        Piece { label, section, partial }
    }

    /// True exactly when it is some of the message's own header.
    pub fn is_header(&self) -> bool {
        match &self.section {
            Some(section) => matches!(
                section,
                Section::Header(None)
                    | Section::HeaderFields(None, _)
                    | Section::HeaderFieldsNot(None, _)
            ),
            None => false,
        }
    }
}

/// An item as it stands in a FETCH response, by imap-codec, which writes whole responses only.
pub(super) fn encoded(item: MessageDataItem<'_>) -> Vec<u8> {
    let items = Vec1::from(item);
    let response = Response::Data(Data::Fetch { seq: NonZeroU32::MIN, items });
    let mut line = ResponseCodec::default().encode(&response).dump();
    line.truncate(line.len() - b")\r\n".len());
    line.drain(..b"* 1 FETCH (".len());
    line
}

#[cfg(test)]
mod tests {
    use imap_codec::imap_types::fetch::Macro;

    use super::*;

    #[test]
    fn macros_are_their_items() {
        let names = MacroOrMessageDataItemNames::Macro(Macro::Full);
        let plan = Plan::new(&names).expect("items of RFC 3501");
        let structure = Item::Structure { is_extended: false };
        let items = [Item::Flags, Item::InternalDate, Item::Size, Item::Envelope, structure];
        assert_eq!(plan.items, items);
        assert!(!plan.marks_seen());
    }

    #[test]
    fn flags_dates_and_sizes_need_no_text() {
        let names = MacroOrMessageDataItemNames::Macro(Macro::Fast);
        let mut plan = Plan::new(&names).expect("items of RFC 3501");
        plan.add_implied(true, true);
        assert!(plan.needs_size() && plan.needs_date());
        assert_eq!(plan.extent(), Extent::Nothing);
        assert_eq!(
            (plan.items.first(), plan.items.last()),
            (Some(&Item::Uid), Some(&Item::ModSeq))
        );
    }

    #[test]
    fn a_label_is_the_name_with_its_origin() {
        let part = Some(Section::Header(None));
        let piece = Piece::new(part, Some((7, NonZeroU32::MAX)));
        assert_eq!(piece.label, b"BODY[HEADER]<7>");
        assert!(piece.is_header());
        assert_eq!(Item::Section(piece).extent(), Extent::Header);
        assert_eq!(Piece::new(None, None).label, b"BODY[]");
    }

    #[test]
    fn items_of_other_extensions_are_refused_and_repeated_ones_answered_once() {
        let size = MessageDataItemName::BinarySize { section: Vec::new() };
        let names = MacroOrMessageDataItemNames::MessageDataItemNames(vec![size]);
        assert_eq!(Plan::new(&names).unwrap_err(), "BINARY.SIZE");
        let names = vec![MessageDataItemName::Rfc822, MessageDataItemName::Rfc822];
        let names = MacroOrMessageDataItemNames::MessageDataItemNames(names);
        let plan = Plan::new(&names).expect("items of RFC 3501");
        assert!(plan.marks_seen() && plan.items.len() == 1);
    }
}
