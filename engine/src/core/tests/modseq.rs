//! Sessions that Dovecot's worker restores otherwise than they were: CONDSTORE and QRESYNC.

use super::*;

/// A state in which INBOX is selected and these features are on, as Dovecot 2.3.19.1 writes it.
const CONDSTORE: &str =
    "YmFzZQpCSU5CT1gAUVFRUVFRUVFRUVFRUVFRUQCPoJHYBgQDAgAA+fDiAQEBAUZDT05EU1RPUkUA";
const QRESYNC: &str = "YmFzZQpCSU5CT1gAUVFRUVFRUVFRUVFRUVFRUQCPoJHYBgQDAgAA+fDiAQEBAUZDT05\
EU1RPUkUARlFSRVNZTkMA";

fn line_with(state: &str) -> String {
    format!("u1\tpfx\tidle_notify_interval=0\ttag=a3\tidle-cmd\tstate={state}\n")
}

#[test]
fn who_would_not_be_restored_as_it_was_stays_with_its_worker() {
    use crate::limits::KeepAwake::{self, Condstore, Nobody, Qresync};
    assert_eq!(KeepAwake::default(), Qresync);
    let cases = [
        (Nobody, "YmFzZQo=", b'+'),
        (Nobody, CONDSTORE, b'+'),
        (Nobody, QRESYNC, b'+'),
        (Qresync, CONDSTORE, b'+'),
        (Qresync, QRESYNC, b'-'),
        (Condstore, "YmFzZQo=", b'+'),
        (Condstore, CONDSTORE, b'-'),
        (Condstore, QRESYNC, b'-'),
    ];
    for (keep_awake, state, answer) in cases {
        let mut bench = Bench::new();
        bench.core.knobs.keep_awake = keep_awake;
        let (recv, send) = bench.connect();
        bench.complete(send, 30, false);
        bench.receive(recv, b"VERSION\timap-hibernate\t1\t0\n", None, false);
        bench.receive(recv, line_with(state).as_bytes(), Some(PassedKind::Tcp), false);
        let said = bench.op(|op| match op {
            Op::SendConn { text, .. } => Some(text.of(&bench.out.bytes)[0]),
            _ => None,
        });
        assert_eq!(said, answer, "{keep_awake:?} {state}");
        let refused = u64::from(answer == b'-');
        let counters = bench.core.counters();
        assert_eq!((counters.refused, counters.refused_kept_awake), (refused, refused));
        assert_eq!(matches!(bench.said()[..], [Said::KeptAwake(_)]), answer == b'-');
    }
}

#[test]
fn a_worker_gets_condstore_before_the_mailbox() {
    let mut bench = Bench::new();
    let (_, recv) = bench.hibernate(line_with(CONDSTORE).as_bytes(), None);
    bench.receive(recv, b"DONE\r\n", None, true);
    let moved = "YmFzZQpGQ09ORFNUT1JFAEJJTkJPWABRUVFRUVFRUVFRUVFRUVFRAI+gkdgGBAMCAAD58OIBAQEB";
    let line = bench.join(recv);
    assert!(line.contains(&format!("\tstate={moved}\t")), "{line}");
}
