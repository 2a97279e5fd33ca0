//! Random commands of two clients on one mailbox, asleep now and then, against the model.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use torpor_handoff::line::unhibernate::Wakeup;

use crate::lab::{Client, Lab};
use crate::model::{Model, Set, flag_list};
use crate::sleep::{CONTINUE, Engine, Sleeper};

#[derive(Clone, Debug)]
enum Op {
    Append {
        flags: u8,
    },
    Copy {
        set: Set,
        remove: bool,
    },
    Deliver,
    Expunge {
        set: Option<Set>,
    },
    Fetch {
        set: Set,
        by_uid: bool,
    },
    Noop,
    Select,
    /// IDLE until the engine has the client; it wakes when it is to say something.
    Sleep,
    Store {
        set: Set,
        by_uid: bool,
        how: &'static str,
        flags: u8,
        silent: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let set = || {
        let number = prop_oneof![4 => (1u32..12).prop_map(Some), 1 => Just(None)];
        prop_oneof![
            3 => (number.clone(), number).prop_map(|(from, to)| (from, to)),
            1 => Just((Some(1), None)),
            1 => (1u32..8).prop_map(|number| (Some(number), Some(number))),
        ]
    };
    let how = prop_oneof![Just("+"), Just("-"), Just("")];
    prop_oneof![
        2 => (0u8..8).prop_map(|flags| Op::Append { flags }),
        2 => (set(), any::<bool>()).prop_map(|(set, remove)| Op::Copy { set, remove }),
        3 => Just(Op::Deliver),
        3 => proptest::option::of(set()).prop_map(|set| Op::Expunge { set }),
        3 => (set(), any::<bool>()).prop_map(|(set, by_uid)| Op::Fetch { set, by_uid }),
        2 => Just(Op::Noop),
        1 => Just(Op::Select),
        1 => Just(Op::Sleep),
        6 => (set(), any::<bool>(), how, 0u8..8, any::<bool>()).prop_map(
            |(set, by_uid, how, flags, silent)| Op::Store { set, by_uid, how, flags, silent }
        ),
    ]
}

/// Two sessions on one INBOX, and what they should say.
struct Pair {
    lab: Lab,
    engine: Engine,
    model: Model,
    clients: [Client; 2],
    sleepers: [Option<Sleeper>; 2],
}

impl Pair {
    fn new() -> Self {
        let lab = Lab::in_memory(Duration::from_millis(1));
        let engine = Engine::of(&lab);
        let clients = [lab.login(), lab.login()];
        let mut pair =
            Self { lab, engine, model: Model::default(), clients, sleepers: [None, None] };
        pair.clients[0].ok("CREATE B");
        for who in [0, 1] {
            pair.run(who, &Op::Select);
        }
        pair
    }

    fn run(&mut self, who: usize, op: &Op) {
        if matches!(op, Op::Deliver) {
            self.lab.deliver("INBOX", "x\n");
            return self.model.deliver();
        }
        self.wake(who);
        let word = |by_uid: bool| if by_uid { "UID " } else { "" };
        let (command, expected) = match op {
            Op::Deliver => unreachable!("done above"),
            Op::Sleep => return self.sleep(who),
            Op::Noop => {
                let mut told = self.model.sync(who, true);
                told.push("OK NOOP completed.".to_owned());
                ("NOOP".to_owned(), told)
            }
            Op::Select => ("SELECT INBOX".to_owned(), self.model.select(who)),
            Op::Append { flags } => {
                let command = format!("APPEND INBOX {} {{1+}}\r\nx", flag_list(*flags));
                (command, self.model.append(who, *flags))
            }
            Op::Copy { set, remove } => {
                let (verb, target) = if *remove { ("MOVE", "B") } else { ("COPY", "INBOX") };
                let command = format!("UID {verb} {} {target}", text(*set));
                (command, self.model.copy(who, *set, *remove))
            }
            Op::Expunge { set } => {
                let named = set.map(|set| format!("UID EXPUNGE {}", text(set)));
                let command = named.unwrap_or_else(|| "EXPUNGE".to_owned());
                (command, self.model.expunge(who, *set))
            }
            Op::Fetch { set, by_uid } => {
                let command = format!("{}FETCH {} (UID FLAGS)", word(*by_uid), text(*set));
                (command, self.model.fetch(who, *set, *by_uid))
            }
            Op::Store { set, by_uid, how, flags, silent } => {
                let silently = if *silent { ".SILENT" } else { "" };
                let (word, set_text, list) = (word(*by_uid), text(*set), flag_list(*flags));
                let command = format!("{word}STORE {set_text} {how}FLAGS{silently} {list}");
                (command, self.model.store(who, *set, *by_uid, (how, *flags, *silent)))
            }
        };
        let said = self.clients[who].say(&command);
        let mut said: Vec<String> = said.iter().map(|line| without_validity(line)).collect();
        if matches!(op, Op::Select) {
            said.retain(|line| expected.contains(line));
        }
        assert_eq!(said, expected, "client {who}: {command}");
    }

    fn sleep(&mut self, who: usize) {
        let told = self.model.sync(who, true);
        let client = &mut self.clients[who];
        client.send("i IDLE\r\n");
        let mut said = client.until("+ idling");
        said.pop();
        assert_eq!(said, told, "client {who}: IDLE");
        self.sleepers[who] = self.engine.take(None);
        client.end();
    }

    /// A sleeper says DONE: first it hears what it has slept through.
    fn wake(&mut self, who: usize) {
        let Some(sleeper) = self.sleepers[who].take() else { return };
        let client = &mut self.clients[who];
        let wakeup = Wakeup { client_input: b"DONE\r\n", ..CONTINUE };
        sleeper.wake(&self.lab, client, &wakeup);
        let mut expected = self.model.sync(who, true);
        expected.push("i OK Idle completed.".to_owned());
        assert_eq!(client.until("i "), expected, "client {who}: wake");
    }
}

fn text((from, to): Set) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    match from == to {
        true => number(from),
        false => format!("{}:{}", number(from), number(to)),
    }
}

/// The model knows no UIDVALIDITY.
fn without_validity(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if let Some(at) = words.iter().position(|word| ["[COPYUID", "[APPENDUID"].contains(word)) {
        words.remove(at + 1);
    }
    words.join(" ")
}

#[test]
fn two_clients_hear_what_the_model_says() {
    play_sequences();
}

/// The other half, on the other processor.
#[test]
fn two_more_clients_hear_what_the_model_says() {
    play_sequences();
}

/// 1,000 sequences of up to 24 commands; 50,000 in the nightly run.
fn play_sequences() {
    let nightly = std::env::var_os("TORPOR_NIGHTLY").is_some();
    let config = ProptestConfig {
        cases: if nightly { 50_000 } else { 1_000 },
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    };
    let sequence = proptest::collection::vec((0usize..2, op()), 1..24);
    let result = TestRunner::new(config).run(&sequence, |ops| {
        let mut pair = Pair::new();
        for (who, op) in &ops {
            pair.run(*who, op);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
