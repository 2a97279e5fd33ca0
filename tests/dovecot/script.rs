//! The scripts of the corpus: what a client sends, what happens meanwhile, what it waits for.
//!
//! A file under `scripts/` holds several. `== name: what it shows` begins one; every further line
//! is one step, and `#` begins a remark. Bytes are written with `\r \n \t \\ \xNN`, and `\|` marks
//! where a write ends and the next one begins.

use std::time::Duration;

/// One script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub name: String,
    /// Lines that hold one of these words are not compared. RECENT: which of two sessions is told
    /// of a recent message is chance (RFC 3501 section 2.3.2).
    pub loose: Vec<String>,
    /// Whether a changed flag comes with UID and MODSEQ is not compared.
    pub bare: bool,
    /// The value of `hibernate.keep_awake` that it is for; none: the default.
    pub keep_awake: Option<String>,
    /// Only which lines come is compared, not their order.
    pub unordered: bool,
    pub steps: Vec<Step>,
}

/// One step; `who` is 1 or 2, the first or the second client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `C: BYTES`: the client writes these pieces.
    Send { who: usize, pieces: Vec<Vec<u8>> },
    /// `S: PREFIX`: it reads lines through the first that starts so; ` or ` parts alternatives.
    Expect { who: usize, prefixes: Vec<String> },
    /// `asleep`: waits until the engine holds the user's session.
    Asleep,
    /// `still asleep`: no worker comes for the user within 300 ms.
    StillAsleep,
    /// `awake`: past the hibernation timeout the user's worker is still there.
    Awake,
    /// `deliver N`: N messages arrive at one moment.
    Deliver(u32),
    /// `other COMMAND`: another session of the same user, INBOX selected, does this.
    Other(String),
    /// `append N`: the other session appends N messages.
    Append(u32),
    /// `renumber NAME`: a mailbox gets another UIDVALIDITY, as if restored from elsewhere.
    Renumber(String),
    /// `pause MS`.
    Pause(Duration),
    /// `quiet`: reads what comes until nothing more does.
    Quiet,
    /// `half-close`: the first client sends no more.
    HalfClose,
    /// `reset`: the first client breaks its connection.
    Reset,
    /// `login`: the first client connects anew.
    Login,
    /// `closed`: the server closes the first client's connection.
    Closed,
}

/// Every script of the corpus.
pub fn corpus() -> Vec<Script> {
    let files = [
        include_str!("scripts/mail.txt"),
        include_str!("scripts/done.txt"),
        include_str!("scripts/bad.txt"),
        include_str!("scripts/state.txt"),
        include_str!("scripts/modseq.txt"),
        include_str!("scripts/gone.txt"),
        include_str!("scripts/quota.txt"),
        include_str!("scripts/end.txt"),
    ];
    let scripts: Vec<Script> = files.iter().flat_map(|text| parse(text)).collect();
    let mut names: Vec<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), scripts.len(), "every script has a name of its own");
    scripts
}

fn parse(text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            let name = title.split(':').next().unwrap_or(title).to_owned();
            scripts.push(Script { name, ..Script::default() });
            continue;
        }
        let script = scripts.last_mut().unwrap_or_else(|| panic!("before the first ==: {line}"));
        match line.split_once(' ') {
            Some(("loose", word)) => script.loose.push(word.to_owned()),
            Some(("keep_awake", value)) => script.keep_awake = Some(value.to_owned()),
            None if line == "unordered" => script.unordered = true,
            None if line == "bare" => script.bare = true,
            _ => script.steps.extend(steps(line)),
        }
    }
    scripts
}

fn steps(line: &str) -> Vec<Step> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let send = |who, text: &str| Step::Send { who, pieces: pieces(text) };
    let expect = |who, text: &str| Step::Expect {
        who,
        prefixes: text.split(" or ").map(str::to_owned).collect(),
    };
    let number = || rest.parse::<u32>().unwrap_or_else(|_| panic!("a number: {line}"));
    match verb {
        "C:" => vec![send(1, rest)],
        "C2:" => vec![send(2, rest)],
        "S:" => vec![expect(1, rest)],
        "S2:" => vec![expect(2, rest)],
        // The three that nearly every script needs.
        "inbox" => vec![send(1, "i SELECT INBOX\\r\\n"), expect(1, "i OK")],
        "idle" => vec![send(1, &format!("{rest} IDLE\\r\\n")), expect(1, "+ ")],
        "done" => vec![send(1, "DONE\\r\\n"), expect(1, &format!("{rest} OK"))],
        "asleep" => vec![Step::Asleep],
        "still" if rest == "asleep" => vec![Step::StillAsleep],
        "awake" => vec![Step::Awake],
        "deliver" => vec![Step::Deliver(number())],
        "other" => {
            let command = String::from_utf8(pieces(rest).concat()).expect("a command is text");
            vec![Step::Other(command)]
        }
        "append" => vec![Step::Append(number())],
        "renumber" => vec![Step::Renumber(rest.to_owned())],
        "pause" => vec![Step::Pause(Duration::from_millis(number().into()))],
        "quiet" => vec![Step::Quiet],
        "half-close" => vec![Step::HalfClose],
        "reset" => vec![Step::Reset],
        "login" => vec![Step::Login],
        "closed" => vec![Step::Closed],
        _ => panic!("no such step: {line}"),
    }
}

fn pieces(text: &str) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    let mut chars = text.bytes();
    while let Some(byte) = chars.next() {
        let last = pieces.last_mut().expect("there is always one");
        if byte != b'\\' {
            last.push(byte);
            continue;
        }
        match chars.next() {
            Some(b'r') => last.push(b'\r'),
            Some(b'n') => last.push(b'\n'),
            Some(b't') => last.push(b'\t'),
            Some(b'\\') => last.push(b'\\'),
            Some(b'|') => pieces.push(Vec::new()),
            Some(b'x') => {
                let digits = [chars.next(), chars.next()].map(|digit| digit.unwrap_or(b' '));
                let digits = std::str::from_utf8(&digits).expect("two digits after \\x");
                last.push(u8::from_str_radix(digits, 16).expect("two digits after \\x"));
            }
            // `\*N` and a byte is that byte N times, N in four digits.
            Some(b'*') => {
                let digits: Vec<u8> = chars.by_ref().take(4).collect();
                let count = std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok());
                let byte = chars.next().expect("a byte after \\*NNNN");
                let count: usize = count.expect("four digits after \\*");
                last.extend(std::iter::repeat_n(byte, count));
            }
            other => panic!("no such escape: {other:?} in {text}"),
        }
    }
    pieces
}

#[test]
fn the_corpus_parses_and_is_large_enough() {
    let scripts = corpus();
    assert!(scripts.len() >= 40, "{} scripts", scripts.len());
    assert_eq!(pieces("D\\|O\\r\\n\\x00\\*0003A"), [b"D".to_vec(), b"O\r\n\0AAA".to_vec()]);
}
