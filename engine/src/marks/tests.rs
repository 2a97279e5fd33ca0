use super::*;

/// An event with these records, each of a kind and a handle of `ino` and a generation.
fn event(mask: u64, records: &[(u8, u32)]) -> Vec<u8> {
    let mut tail = Vec::new();
    for (kind, inode) in records {
        let record = [&[*kind, 0][..], &28u16.to_ne_bytes()].concat();
        let words = [7, 8, 8, 1, *inode, 99].map(u32::to_ne_bytes).concat();
        tail.extend([record, words].concat());
    }
    let mut bytes = (24 + tail.len() as u32).to_ne_bytes().to_vec();
    bytes.extend([libc::FANOTIFY_METADATA_VERSION, 0]);
    bytes.extend(24u16.to_ne_bytes());
    bytes.extend(mask.to_ne_bytes());
    bytes.extend([(-1i32).to_ne_bytes(), 4711i32.to_ne_bytes()].concat());
    bytes.extend(tail);
    bytes
}

fn ext4(inode: u32) -> i32 {
    number(7, 1, &[inode.to_ne_bytes(), 99u32.to_ne_bytes()].concat())
}

fn numbers(bytes: &[u8]) -> Vec<i32> {
    events(bytes).map(|event| event.wd).collect()
}

#[test]
fn an_event_tells_of_the_directory_and_of_the_file() {
    let create = event(libc::FAN_CREATE, &[(libc::FAN_EVENT_INFO_TYPE_DFID, 12)]);
    let modify = event(
        libc::FAN_MODIFY,
        &[(libc::FAN_EVENT_INFO_TYPE_DFID, 12), (libc::FAN_EVENT_INFO_TYPE_FID, 13)],
    );
    let of_a_process = event(libc::FAN_DELETE, &[(libc::FAN_EVENT_INFO_TYPE_PIDFD, 5)]);
    let all = [create, of_a_process, modify].concat();
    assert_eq!(numbers(&all), [ext4(12), ext4(12), ext4(13)]);
    let masks: Vec<u32> = events(&all).map(|event| event.mask).collect();
    assert_eq!(masks, [EventMask::CREATE, EventMask::MODIFY, EventMask::MODIFY].map(|m| m.bits()));
}

#[test]
fn lost_and_torn_events_count_as_everything() {
    let lost = event(libc::FAN_Q_OVERFLOW, &[]);
    let create = event(libc::FAN_CREATE, &[(libc::FAN_EVENT_INFO_TYPE_DFID, 12)]);
    assert_eq!(numbers(&[&lost[..], &create].concat()), [MARKS_LOST, ext4(12)]);
    assert!(events(&lost).all(|event| event.is_overflow()));
    for end in 1..create.len() {
        assert_eq!(numbers(&create[..end]), [MARKS_LOST], "cut at {end}");
    }
    let mut torn = create.clone();
    torn[26] = 27; // the record's length
    assert_eq!(numbers(&torn), [MARKS_LOST], "a handle that leaves its record");
    torn[26] = 0;
    assert_eq!(numbers(&torn), [MARKS_LOST], "a record without end");
    let mut later = create;
    later[4] += 1;
    assert_eq!(numbers(&later), [MARKS_LOST], "of another version of the kernel's");
}

#[test]
fn neighbours_on_a_disk_have_neighbouring_numbers() {
    assert_eq!(ext4(1000) - ext4(900), 100);
    let tmpfs = |inode: u32| number(7, 1, &[5, inode, 0].map(u32::to_ne_bytes).concat());
    assert_eq!(tmpfs(1000) - tmpfs(900), 100);
    assert_ne!(ext4(900), number(8, 1, &[900, 99].map(u32::to_ne_bytes).concat()));
    let strange = |last: u8| number(7, 0x70, &[1, 2, 3, 4, 5, last]);
    assert_ne!(strange(1), strange(2), "every byte counts where the form is unknown");
    assert!([ext4(0), ext4(u32::MAX), strange(1)].into_iter().all(crate::watch::is_marked));
}
