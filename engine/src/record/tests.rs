use super::*;

#[test]
fn input_and_flags_do_not_disturb_each_other() {
    let mut record = Record::new(7);
    record.set(Flag::Recv);
    record.set_input(b"DONE\r");
    record.set(Flag::Unix);
    assert_eq!(record.input(), b"DONE\r");
    assert!(record.has(Flag::Recv) && record.has(Flag::Unix) && !record.has(Flag::Send));
    record.set_input(b"D");
    record.clear(Flag::Recv);
    assert_eq!(record.input(), b"D");
    assert!(record.is_joined());
}

#[test]
fn every_goodbye_survives_and_the_first_one_stays() {
    let all = [
        Goodbye::Closed(0),
        Goodbye::Closed(104),
        Goodbye::WriteFailed(32),
        Goodbye::Kicked,
        Goodbye::Shutdown,
        Goodbye::Waited,
        Goodbye::Lost,
        Goodbye::Damaged,
    ];
    for why in all {
        let mut record = Record::new(1);
        record.doom(why);
        record.doom(Goodbye::Closed(9));
        assert_eq!(record.goodbye(), why);
        let silent = matches!(why, Goodbye::Closed(_) | Goodbye::WriteFailed(_) | Goodbye::Lost);
        assert_eq!(record.take_bye(), !silent);
        assert!(!record.take_bye());
    }
}
