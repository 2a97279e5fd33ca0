use super::*;

/// `name|adl|mailbox|host`, `~` for NIL.
fn shown(value: &str) -> Vec<String> {
    let text = |string: &NString| match &string.0 {
        Some(text) => String::from_utf8(text.as_ref().to_vec()).expect("ASCII in these tests"),
        None => "~".to_owned(),
    };
    addresses(value.as_bytes())
        .iter()
        .map(|a| [&a.name, &a.adl, &a.mailbox, &a.host].map(text).join("|"))
        .collect()
}

#[test]
fn the_forms_of_a_mailbox() {
    assert_eq!(shown("bare@example.org"), ["~|~|bare|example.org"]);
    assert_eq!(shown("<angle@example.org>"), ["~|~|angle|example.org"]);
    assert_eq!(shown("A Name <n@x>"), ["A Name|~|n|x"]);
    assert_eq!(shown("\"Q, \\\"N\\\"\" <n@x>"), ["Q, \"N\"|~|n|x"]);
    assert_eq!(shown("J. R. Name <n@x>"), ["J. R. Name|~|n|x"]);
    assert_eq!(shown("old@x (Old Style)"), ["Old Style|~|old|x"]);
    assert_eq!(shown("Name (comment) <n@x>"), ["Name|~|n|x"]);
    assert_eq!(shown("\"l p\"@x, lit@[::1]"), ["~|~|l p|x", "~|~|lit|[::1]"]);
    assert_eq!(shown("a . b @ x . y"), ["~|~|a.b|x.y"]);
    assert_eq!(shown("<@r,@s.t:n@x>"), ["~|@r,@s.t|n|x"]);
}

#[test]
fn groups_begin_and_end() {
    assert_eq!(
        shown("G h: a@x, B <b@y>;, c@z"),
        ["~|~|G h|~", "~|~|a|x", "B|~|b|y", "~|~|~|~", "~|~|c|z"]
    );
    assert_eq!(shown("none:;"), ["~|~|none|~", "~|~|~|~"]);
    assert_eq!(shown("open: a@x"), ["~|~|open|~", "~|~|a|x", "~|~|~|~"]);
}

#[test]
fn what_is_missing_is_never_nil() {
    assert_eq!(shown("nodomain"), ["~|~|nodomain|MISSING_DOMAIN"]);
    assert_eq!(shown("a b c"), ["a b c|~|MISSING_MAILBOX|MISSING_DOMAIN"]);
    assert_eq!(shown("<>"), ["~|~|MISSING_MAILBOX|MISSING_DOMAIN"]);
    assert_eq!(shown("@x"), ["~|~|MISSING_MAILBOX|x"]);
    assert_eq!(shown("x@"), ["~|~|x|MISSING_DOMAIN"]);
    assert_eq!(shown("Name <open@x"), ["Name|~|open|x"]);
}

#[test]
fn nothing_is_no_address() {
    for value in ["", " ", ",", ", ,", ";", "()", "(only a comment)"] {
        assert_eq!(shown(value), Vec::<String>::new(), "{value:?}");
    }
}

#[test]
fn a_long_list_is_cut_at_its_limit() {
    let list = "a@b,".repeat(2 * ADDRESSES_MAX);
    assert_eq!(addresses(list.as_bytes()).len(), ADDRESSES_MAX);
    let list = "a:;".repeat(2 * ADDRESSES_MAX);
    assert!(addresses(list.as_bytes()).len() <= ADDRESSES_MAX + 1);
}
