use super::*;

/// INBOX with three messages of which all are recent, as Dovecot 2.3.19.1 writes it.
fn mailbox() -> Vec<u8> {
    let mut block = b"BINBOX\0".to_vec();
    block.extend([0x51; GUID_BYTES]);
    block.extend([0, 0x8F, 0xA0, 0x91, 0xD8, 0x06, 4, 3, 2, 0, 0, 0xF9, 0xF0, 0xE2, 0x01]);
    block.extend([1, 1, 1]);
    block
}

fn blob(blocks: &[&[u8]]) -> Vec<u8> {
    [BASE, &blocks.concat()].concat()
}

fn pushed(state: &[u8]) -> Vec<u8> {
    let mut out = b"\tstate=".to_vec();
    push_state(&mut out, state);
    out.split_off(7)
}

#[test]
fn condstore_goes_in_front_of_the_mailbox_and_qresync_stays() {
    let mailbox = mailbox();
    let recent = [&mailbox[..mailbox.len() - 2], &[2]].concat();
    let came = STANDARD.encode(blob(&[&recent, CONDSTORE]));
    let good = STANDARD.encode(blob(&[CONDSTORE, &recent]));
    assert_eq!(pushed(came.as_bytes()), good.as_bytes(), "one recent message, no range");
    for behind in [&b""[..], QRESYNC, b"FUTF8=ACCEPT\0", b"1\x01\x02I", b"I", b"II", b"IIII"] {
        let came = STANDARD.encode(blob(&[&mailbox, CONDSTORE, behind]));
        let good = STANDARD.encode(blob(&[CONDSTORE, &mailbox, behind]));
        assert_eq!(pushed(came.as_bytes()), good.as_bytes(), "{behind:?}");
        // In the good order there is nothing left to do.
        assert_eq!(pushed(good.as_bytes()), good.as_bytes());
    }
}

#[test]
fn modseqs_are_read_where_a_mailbox_is_selected() {
    let mailbox = mailbox();
    let cases: [(&[&[u8]], Modseq); 6] = [
        (&[&mailbox], Modseq::Off),
        (&[&mailbox, b"I"], Modseq::Off),
        (&[&mailbox, CONDSTORE], Modseq::Condstore),
        (&[&mailbox, CONDSTORE, QRESYNC], Modseq::Qresync),
        (&[CONDSTORE, QRESYNC], Modseq::Off),
        (&[&mailbox, b"FUTF8=ACCEPT\0"], Modseq::Off),
    ];
    for (blocks, expected) in cases {
        let state = STANDARD.encode(blob(blocks));
        assert_eq!(modseq(state.as_bytes(), &mut Vec::new()), expected, "{blocks:?}");
    }
    assert!(Modseq::Qresync > Modseq::Condstore && Modseq::Condstore > Modseq::Off);
}

/// A name may hold the text of a feature, and a state may be cut anywhere or be anybody else's.
#[test]
fn what_is_not_understood_is_left_as_it_came() {
    let named = [&b"BFCONDSTORE\0"[..], &mailbox()[7..]].concat();
    let whole = blob(&[&named, CONDSTORE, QRESYNC]);
    assert_eq!(modseq(STANDARD.encode(&whole).as_bytes(), &mut Vec::new()), Modseq::Qresync);
    let shortest = whole.len() - QRESYNC.len();
    for cut in 0..shortest {
        let state = STANDARD.encode(&whole[..cut]);
        assert_eq!(modseq(state.as_bytes(), &mut Vec::new()), Modseq::Off, "{cut}");
        assert_eq!(pushed(state.as_bytes()), state.as_bytes(), "{cut}");
    }
    for state in [&b""[..], b"YmFzZQo=", b"not base64!", b"AAAA"] {
        assert_eq!(pushed(state), state);
        assert_eq!(modseq(state, &mut Vec::new()), Modseq::Off);
    }
    let endless = blob(&[&mailbox()[..25], &[0xFF; 40], CONDSTORE]);
    assert_eq!(modseq(STANDARD.encode(endless).as_bytes(), &mut Vec::new()), Modseq::Off);
}
