use super::*;

fn parsed(value: &str) -> (String, Vec<String>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII in these tests");
    let found = ContentType::parse(value.as_bytes()).expect("type/subtype");
    let pairs = found.parameters.iter().map(|(name, value)| text(name) + "|" + &text(value));
    (format!("{}/{}", text(&found.kind), text(&found.subtype)), pairs.collect())
}

#[test]
fn a_type_keeps_its_case_and_the_order_of_its_parameters() {
    let (kind, pairs) = parsed("TEXT/Plain (c); B=\"x; \\\"y\\\"\" ; a = z (d)");
    assert_eq!(kind, "TEXT/Plain");
    assert_eq!(pairs, ["B|x; \"y\"", "a|z"]);
}

#[test]
fn broken_parameters_are_left_out_and_the_next_one_is_found() {
    assert_eq!(parsed("a/b;; c ; =d; e; f=g").1, ["f|g"]);
    assert_eq!(parsed("a/b x y; f=g;").1, ["f|g"]);
    assert_eq!(parsed("a/b; boundary==_x/y?; f=\"open").1, ["boundary|=_x/y?", "f|open"]);
}

#[test]
fn what_has_no_type_and_subtype_is_none() {
    for value in ["", "text", "text/", "/plain", "not a type", "\"text\"/plain", ";a=b"] {
        assert_eq!(ContentType::parse(value.as_bytes()), None, "{value:?}");
    }
}

#[test]
fn split_parameters_are_put_together_but_not_decoded() {
    let value = "a/b; n*1=two; z=1; N*0*=utf-8''o%20; f*=utf-8''x; n*2*=%C3; plain*0=p; plain*1=q";
    assert_eq!(parsed(value).1, ["z|1", "f*|utf-8''x", "n*|utf-8''o%20two%C3", "plain|pq"]);
    assert_eq!(parsed("a/b; n*0=one; n*1*=%20").1, ["n*|one%20"], "one piece is enough");
}

#[test]
fn dispositions_and_languages() {
    let (kind, pairs) = disposition(b"attachment; filename=a.b");
    assert_eq!((kind, pairs.len()), (b"attachment".to_vec(), 1));
    assert_eq!(disposition(b";filename=x").1.len(), 1);
    assert_eq!(languages(b"en, de (German)"), [b"en".to_vec(), b"de".to_vec()]);
}

#[test]
fn parameters_have_a_limit() {
    let value = format!("a/b{}", ";c=d".repeat(3 * PARAMETERS_MAX));
    assert_eq!(parsed(&value).1.len(), PARAMETERS_MAX);
}
