use super::*;

/// Kind, body and children of each part, indented by depth.
fn shown(text: &str) -> String {
    let tree = Tree::parse(text.as_bytes());
    let mut out = String::new();
    show(&tree, text, 0, 0, &mut out);
    out
}

fn show(tree: &Tree, text: &str, index: usize, depth: usize, out: &mut String) {
    let part = &tree.0[index];
    let body = &text[part.body.0.at..part.body.1.at];
    out.push_str(&format!("{}{:?}", " ".repeat(depth), part.kind));
    if part.children.is_empty() {
        out.push_str(&format!(" {body:?}"));
    }
    out.push('\n');
    for child in &part.children {
        show(tree, text, *child, depth + 1, out);
    }
}

fn multipart(boundary: &str, rest: &str) -> String {
    format!("Content-Type: multipart/mixed; boundary={boundary}\n\n{rest}")
}

#[test]
fn a_message_without_mime_is_one_leaf() {
    assert_eq!(shown("A: b\n\nbody\n"), "Leaf \"body\\n\"\n");
    assert_eq!(shown("A: b\n"), "Leaf \"\"\n");
    assert_eq!(shown("\nbody"), "Leaf \"body\"\n");
    assert_eq!(shown(""), "Leaf \"\"\n");
}

#[test]
fn the_line_end_before_a_boundary_belongs_to_it() {
    let text = multipart("b", "pre\n--b\n\none\r\n--b\nA: b\n\ntwo\n\n--b--\nepilogue\n--b\nx");
    assert_eq!(shown(&text), "Multipart\n Leaf \"one\"\n Leaf \"two\\n\"\n");
}

#[test]
fn parts_may_be_empty_and_headers_may_lack_their_end() {
    let text = multipart("b", "--b\n--b\n\n--b\nA: b\n--b\nA: b\n\n--b--");
    assert_eq!(shown(&text), "Multipart\n Leaf \"\"\n Leaf \"\"\n Leaf \"\"\n Leaf \"\"\n");
}

#[test]
fn an_outer_boundary_ends_inner_parts() {
    let inner = multipart("in", "--in\n\ninner\n--out\n\nouter\n--in\n--out--\n");
    let text = multipart("out", &format!("--out\n{inner}"));
    assert_eq!(shown(&text), "Multipart\n Multipart\n  Leaf \"inner\"\n Leaf \"outer\\n--in\"\n");
}

#[test]
fn the_longest_boundary_wins_and_then_the_innermost() {
    let inner = multipart("abc", "--abc\n\n1\n--abc--\n--ab\n\n2\n--abnormal\n\n3\n--ab--\n");
    let text = multipart("ab", &format!("--ab\n{inner}"));
    let parts = "Multipart\n Multipart\n  Leaf \"1\"\n Leaf \"2\"\n Leaf \"3\"\n";
    assert_eq!(shown(&text), parts);
    let inner = multipart("s", "--s\n\n1\n--s--\n--s\n\n2\n--s--\n");
    let text = multipart("s", &format!("--s\n{inner}"));
    assert_eq!(shown(&text), "Multipart\n Multipart\n  Leaf \"1\"\n Leaf \"2\"\n");
}

#[test]
fn a_message_holds_a_message() {
    let text = "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n\nx\n";
    assert_eq!(shown(text), "Message\n Message\n  Leaf \"x\\n\"\n");
    let text = "Content-Type: multipart/digest; boundary=d\n\n--d\n\nA: b\n\nx\n--d\n\n\n--d--";
    assert_eq!(shown(text), "Multipart\n Message\n  Leaf \"x\"\n Message\n  Leaf \"\"\n");
}

#[test]
fn without_a_boundary_a_multipart_has_no_parts() {
    for head in ["multipart/mixed", "multipart/mixed; boundary=\"\""] {
        let text = format!("Content-Type: {head}\n\n--\n\nx\n----\n");
        assert_eq!(shown(&text), "Multipart \"--\\n\\nx\\n----\\n\"\n");
    }
}

#[test]
fn places_count_bytes_wire_bytes_and_lines() {
    let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\r\n\na\r\nb\nc\n--b--\n";
    let tree = Tree::parse(text.as_bytes());
    let (begin, end) = tree.0[1].body;
    assert_eq!(&text[begin.at..end.at], "a\r\nb\nc");
    assert_eq!((end.wire - begin.wire, end.line - begin.line), (7, 2));
    let end = tree.0[0].body.1;
    assert_eq!((end.at, end.wire, end.line), (text.len(), text.len() as u64 + 6, 8));
}

#[test]
fn what_is_too_deep_is_opaque() {
    let text = "Content-Type: message/rfc822\n\n".repeat(10 * DEPTH_MAX);
    let tree = Tree::parse(text.as_bytes());
    assert_eq!(tree.0.len(), DEPTH_MAX);
    assert_eq!(tree.0[DEPTH_MAX - 1].kind, Kind::Opaque);
    assert_eq!(tree.0[DEPTH_MAX - 1].body.1.at, text.len());
}

#[test]
fn the_last_of_too_many_parts_takes_the_rest() {
    let text = multipart("b", &"--b\n\nx\n".repeat(3 * PARTS_MAX)) + "--b--\nepilogue";
    let tree = Tree::parse(text.as_bytes());
    assert_eq!(tree.0.len(), PARTS_MAX);
    let last = &tree.0[PARTS_MAX - 1];
    assert_eq!(&text[last.body.1.at..], "\n--b--\nepilogue");
}

#[test]
fn every_prefix_of_a_message_has_a_tree_within_it() {
    let inner =
        multipart("in", "--in\r\nA: b\r\n\r\n1\n--in--\n--out\nContent-Type: message/rfc822");
    let text = multipart("out", &format!("--out\n{inner}\n\nA: b\n\nx\n--out--\n"));
    for end in 0..=text.len() {
        for part in Tree::parse(&text.as_bytes()[..end]).0 {
            let places = [part.header.0, part.header.1, part.body.0, part.body.1];
            assert!(places.is_sorted_by_key(|place| place.at), "{end}: {places:?}");
            assert!(part.body.1.at <= end);
        }
    }
}
