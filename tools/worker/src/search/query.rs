//! The keys of a SEARCH, made ready to be asked of each message, the cheapest first.

use std::ops::Range;

use chrono::NaiveDate;
use imap_codec::imap_types::core::{AString, Atom};
use imap_codec::imap_types::datetime::NaiveDate as Day;
use imap_codec::imap_types::search::SearchKey;
use torpor_store::{Flags, Mailbox};

use crate::mail::needle::Needle;
use crate::ranges::Ranges;
use crate::view::View;

/// One question about a message.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// True for all messages.
    All,
    /// True if all of these are, in the order of their cost.
    And(Vec<Test>),
    Body(Needle),
    /// INTERNALDATE is within these days.
    Date(Range<NaiveDate>),
    /// A field of the envelope has this in it.
    Envelope(&'static str, Needle),
    /// One flag is set.
    Flag(Flags),
    /// A field of the message's header has this in it.
    Header(String, Needle),
    /// RFC822.SIZE is above.
    Larger(u64),
    /// The last change is not older.
    ModSeq(u64),
    Not(Box<Test>),
    /// True if any of these is, in the order of their cost.
    Or(Vec<Test>),
    /// \Recent in this session.
    Recent,
    /// The Date field is within these days; without one that can be read, before all days.
    Sent(Range<NaiveDate>),
    Sequence(Ranges),
    /// RFC822.SIZE is below.
    Smaller(u64),
    Text(Needle),
    Uid(Ranges),
}

/// What a question needs, ascending by what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    Index,
    Stat,
    Header,
    Body,
}

/// Client: a string that is no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Test {
    pub fn cost(&self) -> Cost {
        match self {
            Test::And(tests) | Test::Or(tests) => {
                tests.iter().map(Test::cost).max().unwrap_or(Cost::Index)
            }
            Test::Not(test) => test.cost(),
            Test::Date(_) | Test::Larger(_) | Test::Smaller(_) => Cost::Stat,
            Test::Envelope(..) | Test::Header(..) | Test::Sent(_) => Cost::Header,
            Test::Body(_) | Test::Text(_) => Cost::Body,
            _ => Cost::Index,
        }
    }
}

/// Where keys get their meaning: names of keywords, and numbers of messages.
pub(super) struct Reader<'a> {
    pub mailbox: &'a Mailbox,
    pub view: &'a View,
}

impl Reader<'_> {
    /// All of the keys, as one question. Numbers beyond the last message name none, as in
    /// Dovecot 2.3. The grammar bounds the depth of keys, and so the stack.
    pub fn all(&self, keys: &[SearchKey<'_>]) -> Result<Test, NotUtf8> {
        let tests: Result<Vec<Test>, NotUtf8> = keys.iter().map(|key| self.read(key)).collect();
        Ok(Test::And(by_cost(tests?)))
    }

    fn read(&self, key: &SearchKey<'_>) -> Result<Test, NotUtf8> {
        Ok(match key {
            SearchKey::All => Test::All,
            SearchKey::And(keys) => self.all(keys.as_ref())?,
            SearchKey::Answered => Test::Flag(Flags::ANSWERED),
            SearchKey::Bcc(text) => Test::Envelope("Bcc", needle(text)?),
            SearchKey::Before(day) => Test::Date(before(day)),
            SearchKey::Body(text) => Test::Body(needle(text)?),
            SearchKey::Cc(text) => Test::Envelope("Cc", needle(text)?),
            SearchKey::Deleted => Test::Flag(Flags::DELETED),
            SearchKey::Draft => Test::Flag(Flags::DRAFT),
            SearchKey::Flagged => Test::Flag(Flags::FLAGGED),
            SearchKey::From(text) => Test::Envelope("From", needle(text)?),
            SearchKey::Header(name, text) => Test::Header(utf8(name)?, needle(text)?),
            SearchKey::Keyword(name) => self.keyword(name),
            SearchKey::Larger(size) => Test::Larger(u64::from(*size)),
            SearchKey::ModSequence { modseq, .. } => Test::ModSeq(*modseq),
            SearchKey::New => Test::And(vec![Test::Recent, not(Test::Flag(Flags::SEEN))]),
            SearchKey::Not(key) => not(self.read(key)?),
            SearchKey::Old => not(Test::Recent),
            SearchKey::On(day) => Test::Date(on(day)),
            SearchKey::Or(one, other) => {
                Test::Or(by_cost(vec![self.read(one)?, self.read(other)?]))
            }
            SearchKey::Recent => Test::Recent,
            SearchKey::Seen => Test::Flag(Flags::SEEN),
            SearchKey::SentBefore(day) => Test::Sent(before(day)),
            SearchKey::SentOn(day) => Test::Sent(on(day)),
            SearchKey::SentSince(day) => Test::Sent(since(day)),
            SearchKey::SequenceSet(set) => Test::Sequence(Ranges::named(set, self.view.count())),
            SearchKey::Since(day) => Test::Date(since(day)),
            SearchKey::Smaller(size) => Test::Smaller(u64::from(*size)),
            SearchKey::Subject(text) => Test::Envelope("Subject", needle(text)?),
            SearchKey::Text(text) => Test::Text(needle(text)?),
            SearchKey::To(text) => Test::Envelope("To", needle(text)?),
            SearchKey::Uid(set) => {
                let largest = self.view.uids.last().copied().unwrap_or(u32::MAX);
                Test::Uid(Ranges::named(set, largest))
            }
            SearchKey::Unanswered => not(Test::Flag(Flags::ANSWERED)),
            SearchKey::Undeleted => not(Test::Flag(Flags::DELETED)),
            SearchKey::Undraft => not(Test::Flag(Flags::DRAFT)),
            SearchKey::Unflagged => not(Test::Flag(Flags::FLAGGED)),
            SearchKey::Unkeyword(name) => not(self.keyword(name)),
            SearchKey::Unseen => not(Test::Flag(Flags::SEEN)),
        })
    }

    fn keyword(&self, name: &Atom<'_>) -> Test {
        let is_it = |known: &String| known.eq_ignore_ascii_case(name.inner());
        match self.mailbox.keywords().iter().position(is_it) {
            Some(at) => Test::Flag(Flags::of_keyword(u8::try_from(at).expect("at most 56"))),
            None => not(Test::All),
        }
    }
}

fn by_cost(mut tests: Vec<Test>) -> Vec<Test> {
    tests.sort_by_key(Test::cost);
    tests
}

fn not(test: Test) -> Test {
    Test::Not(Box::new(test))
}

fn needle(text: &AString<'_>) -> Result<Needle, NotUtf8> {
    Ok(Needle::new(&utf8(text)?))
}

fn utf8(text: &AString<'_>) -> Result<String, NotUtf8> {
    String::from_utf8(text.as_ref().to_vec()).map_err(|_| NotUtf8)
}

fn before(day: &Day) -> Range<NaiveDate> {
    NaiveDate::MIN..*day.as_ref()
}

fn on(day: &Day) -> Range<NaiveDate> {
    let day = *day.as_ref();
    day..day.succ_opt().unwrap_or(NaiveDate::MAX)
}

fn since(day: &Day) -> Range<NaiveDate> {
    *day.as_ref()..NaiveDate::MAX
}

#[cfg(test)]
mod tests {
    use imap_codec::CommandCodec;
    use imap_codec::decode::Decoder as _;
    use imap_codec::imap_types::command::CommandBody;
    use torpor_store::{Home, MailboxName};

    use super::*;

    /// The question that a SEARCH asks, as Debug shows it but for its needles.
    fn asked(keys: &str) -> String {
        let home = tempfile::tempdir().expect("a temporary folder");
        let home = Home::open(home.path()).expect("a home");
        let mailbox = home.open_mailbox(&MailboxName::inbox()).expect("an INBOX");
        let view = View { uids: vec![2, 5, 9], ..View::default() };
        let command = format!("a SEARCH {keys}\r\n");
        let (_, command) = CommandCodec::default().decode(command.as_bytes()).expect("a command");
        let CommandBody::Search { criteria, .. } = command.body else { panic!("a SEARCH") };
        let reader = Reader { mailbox: &mailbox, view: &view };
        shown(&reader.all(criteria.as_ref()).expect("UTF-8"))
    }

    fn shown(test: &Test) -> String {
        let all = |tests: &[Test]| tests.iter().map(shown).collect::<Vec<_>>().join(" ");
        match test {
            Test::And(tests) => format!("and({})", all(tests)),
            Test::Or(tests) => format!("or({})", all(tests)),
            Test::Not(test) => format!("not({})", shown(test)),
            Test::Body(_) => "body".into(),
            Test::Text(_) => "text".into(),
            Test::Envelope(name, _) => name.to_string(),
            Test::Header(name, _) => name.clone(),
            Test::Date(days) => format!("date({days:?})"),
            Test::Sequence(numbers) | Test::Uid(numbers) => numbers.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_cheapest_keys_are_asked_first() {
        let keys = "TEXT a SUBJECT b LARGER 5 NOT BODY c OR (TEXT d) SEEN 2";
        let order = "and(2 Larger(5) Subject text not(body) or(Flag(Flags(16)) and(text)))";
        assert_eq!(asked(keys), order);
    }

    #[test]
    fn days_are_half_open_and_sets_may_reach_beyond_the_end() {
        let days = "and(date(2026-11-03..2026-11-04) date(2026-11-03..+262142-12-31))";
        assert_eq!(asked("ON 3-Nov-2026 SINCE 3-Nov-2026"), days);
        assert_eq!(asked("2:* UID 6:*"), "and(2:3 6:9)");
        assert_eq!(asked("7"), "and(7)");
    }

    #[test]
    fn an_unknown_keyword_is_on_no_message() {
        assert_eq!(asked("KEYWORD k UNKEYWORD k"), "and(not(All) not(not(All)))");
    }
}
