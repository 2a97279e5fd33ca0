//! A watcher that ends, does not answer, or tells what cannot be.

use std::time::Instant;

use nix::sys::socket::{MsgFlags, recv, send};
use std::os::fd::AsRawFd;

use super::*;
use crate::watcher::wire::{Order, Said};

/// Plays the watcher.
struct Odd(OwnedFd);

impl Odd {
    fn serve(rig: &Rig) -> Self {
        let (near, far) = connection();
        rig.watcher.connections().take(near);
        let odd = Self(far);
        assert_eq!(odd.next(), Order::Begin { filesystems: Vec::new() });
        odd
    }

    /// The next order. Descriptors that come with it are closed.
    fn next(&self) -> Order {
        let mut bytes = [0; 4096];
        assert!(readable(&self.0, 5000), "an order is missing");
        let count = recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::empty()).unwrap();
        Order::from_bytes(&bytes[..count]).unwrap()
    }

    fn say(&self, said: Said) {
        self.utter(&said.to_bytes());
    }

    fn utter(&self, bytes: &[u8]) {
        send(self.0.as_raw_fd(), bytes, MsgFlags::empty()).unwrap();
    }

    fn is_dismissed(&self) -> bool {
        readable(&self.0, 5000)
            && recv(self.0.as_raw_fd(), &mut [0; 64], MsgFlags::empty()) == Ok(0)
    }
}

#[test]
fn the_next_watcher_does_what_a_killed_one_has_not() {
    if !privileged() {
        return;
    }
    let mut rig = Rig::alone(&std::env::temp_dir(), Ways::default(), None);
    let worker = rig.worker(&["new"], MAIL);
    // One is killed before it hears of the adoption, one over it.
    drop(Odd::serve(&rig));
    rig.order(&worker, later());
    drop(worker);
    let odd = Odd::serve(&rig);
    let Order::Adopt { serial, .. } = odd.next() else { panic!("no adoption") };
    drop(odd);
    rig.serve();
    let (outcome, kept) = rig.reply();
    let Adoption::Shared { wds, changed, .. } = outcome else {
        panic!("serial {serial}: {kept:?}")
    };
    assert!(!changed && kept.is_none());
    fs::write(rig.home.join("new/1"), b"x").unwrap();
    assert_eq!(rig.events().iter().map(|event| event.wd).collect::<Vec<_>>(), [wds[0]]);
    // Watches do not end with who has made them, and who comes next may let go of them.
    rig.serve();
    fs::write(rig.home.join("new/2"), b"x").unwrap();
    assert_eq!(rig.events().iter().map(|event| event.wd).collect::<Vec<_>>(), [wds[0]]);
    let odd = Odd::serve(&rig);
    rig.release(&wds[..1]);
    assert_eq!(odd.next(), Order::Release { wd: wds[0] });
    drop(odd);
    rig.serve();
    assert!(readable(&rig.shared, 5000), "a release that was heard and not done is done");
    rig.end();
}

#[test]
fn without_a_watcher_descriptors_are_kept_soon() {
    let mut rig = Rig::alone(&std::env::temp_dir(), Ways::default(), None);
    let worker = rig.worker(&["new"], MAIL);
    let since = Instant::now();
    assert_eq!(rig.adopt(&worker, later()).0, Adoption::Kept);
    assert!(since.elapsed() < Duration::from_secs(2));
    rig.end();
}

/// It is stopped, or its disk does not answer.
#[test]
fn silence_costs_the_adoption_under_way_and_a_late_reply_leaves_nothing() {
    let mut rig = Rig::alone(&std::env::temp_dir(), Ways::default(), None);
    let odd = Odd::serve(&rig);
    let worker = rig.worker(&["new"], MAIL);
    rig.order(&worker, later());
    let Order::Adopt { serial, .. } = odd.next() else { panic!("no adoption") };
    assert!(readable(&rig.bell, 10_000), "somebody else answers");
    let (outcome, kept) = rig.reply();
    assert_eq!(outcome, Adoption::Kept);
    assert_eq!(fdinfo::marks(kept.unwrap(), 4096).unwrap().len(), 1, "it still works");
    odd.say(Said::Shared { serial, wds: [7, -1, -1, -1], changed: false, polled: 0 });
    assert_eq!(odd.next(), Order::Release { wd: 7 });
    assert!(rig.watcher.adopted().is_none(), "answered once");
    rig.end();
}

#[test]
fn a_watcher_that_lies_is_dismissed_and_harms_nobody() {
    let mut rig = Rig::alone(&std::env::temp_dir(), Ways::default(), None);
    let worker = rig.worker(&["new"], MAIL);
    rig.order(&worker, later());
    let shared = |serial| Said::Shared { serial, wds: [7, -1, -1, -1], changed: false, polled: 1 };
    let lies: [&dyn Fn(&Odd); 4] = [
        &|odd| odd.say(shared(99)),
        &|odd| odd.say(Said::Kept { serial: 0 }),
        &|odd| odd.utter(b"\x05"),
        &|odd| odd.utter(&[0xff; 40]),
    ];
    for lie in lies {
        let odd = Odd::serve(&rig);
        let Order::Adopt { serial: 1, .. } = odd.next() else { panic!("no adoption") };
        lie(&odd);
        assert!(odd.is_dismissed());
        assert!(rig.watcher.adopted().is_none());
    }
    let odd = Odd::serve(&rig);
    assert!(matches!(odd.next(), Order::Adopt { serial: 1, .. }));
    odd.say(shared(1));
    assert!(matches!(rig.reply(), (Adoption::Shared { .. }, None)));
    // What it has looked at nobody looks at any more.
    drop(odd);
    assert!(readable(&rig.bell, 5000));
    let changed = WatchEvent { wd: 7, mask: AddWatchFlags::IN_MODIFY.bits() };
    assert_eq!(rig.watcher.watched(), Some(changed));
    rig.end();
}

/// More than the engine has room for, and it hears no more of it.
#[test]
fn an_engine_that_ends_amid_news_does_not_wait_for_room() {
    let rig = Rig::alone(&std::env::temp_dir(), Ways::default(), None);
    let odd = Odd::serve(&rig);
    // So few more that they fill less than a quarter of the socket: one that has been full counts
    // as full until then, and the last of them would wait in here.
    for wd in 0..4130 {
        odd.say(Said::News(WatchEvent { wd, mask: AddWatchFlags::IN_MODIFY.bits() }));
    }
    // The thread to the watcher has taken as many as there is room for.
    thread::sleep(Duration::from_millis(50));
    let (ended, has_ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        rig.end();
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(Duration::from_secs(10)).expect("it ends");
}
