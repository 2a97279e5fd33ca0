//! How one thread wakes another: what is to be found is put in place, *then* the bell is rung; who
//! hears it silences it, and *then* looks.
//!
//! With both orders every value is found by a look that is still to come, or its ring ends the
//! next wait. One ring may follow many values (`Handoff::flush`). The order is written here, and
//! the tests try it in thousands of schedules.

use nix::sys::eventfd::EventFd;

/// Something to wait for, that stays rung until it is silenced.
pub(crate) trait Bell {
    fn ring(&self);
    fn silence(&self);
}

impl Bell for EventFd {
    fn ring(&self) {
        // Only a full counter can fail, and a bell that rings already need not be rung.
        let _ = self.write(1);
    }

    fn silence(&self) {
        // Silent already, if somebody else was faster.
        let _ = self.read();
    }
}

/// Puts something in place, then rings.
pub(crate) fn announce<T>(bell: &impl Bell, put: impl FnOnce() -> T) -> T {
    let result = put();
    bell.ring();
    result
}

/// Silences the bell, then looks.
pub(crate) fn answer<T>(bell: &impl Bell, look: impl FnOnce() -> T) -> T {
    bell.silence();
    look()
}

#[cfg(test)]
mod tests {
    use shuttle::sync::mpsc::{Receiver, TryRecvError, sync_channel};
    use shuttle::sync::{Arc, Condvar, Mutex};
    use shuttle::thread;

    use super::*;

    /// An eventfd, as far as waiting for it goes.
    #[derive(Default)]
    struct Model {
        is_rung: Mutex<bool>,
        rings: Condvar,
    }

    impl Model {
        fn wait(&self) {
            let mut is_rung = self.is_rung.lock().unwrap();
            while !*is_rung {
                is_rung = self.rings.wait(is_rung).unwrap();
            }
        }
    }

    impl Bell for Model {
        fn ring(&self) {
            *self.is_rung.lock().unwrap() = true;
            self.rings.notify_one();
        }

        fn silence(&self) {
            *self.is_rung.lock().unwrap() = false;
        }
    }

    /// Takes all there is; false when there will be no more.
    fn look(values: &Receiver<u32>, found: &mut Vec<u32>) -> bool {
        loop {
            match values.try_recv() {
                Ok(value) => found.push(value),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Three values and the end go to a thread that looks only when it is rung for.
    fn three(put_first: bool, silence_first: bool) {
        let bell = Arc::new(Model::default());
        let (send, values) = sync_channel(3);
        let theirs = Arc::clone(&bell);
        let desk = thread::spawn(move || {
            let (mut found, mut is_open) = (Vec::new(), true);
            while is_open {
                theirs.wait();
                is_open = match silence_first {
                    true => answer(&*theirs, || look(&values, &mut found)),
                    false => {
                        let is_open = look(&values, &mut found);
                        theirs.silence();
                        is_open
                    }
                };
            }
            found
        });
        for value in 0..3 {
            if put_first {
                announce(&*bell, || send.try_send(value)).expect("there is room");
            } else {
                bell.ring();
                send.try_send(value).expect("there is room");
            }
        }
        announce(&*bell, || drop(send));
        assert_eq!(desk.join().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn no_schedule_loses_a_wake() {
        shuttle::check_random(|| three(true, true), SCHEDULES);
        shuttle::check_pct(|| three(true, true), SCHEDULES, 3);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn to_look_before_silencing_would_lose_one() {
        shuttle::check_random(|| three(true, false), SCHEDULES);
    }

    /// The end is announced in order, so that no value is lost, but one is late.
    #[test]
    #[should_panic(expected = "late")]
    fn to_ring_before_putting_would_leave_one_behind() {
        shuttle::check_random(
            || {
                let bell = Arc::new(Model::default());
                let (send, values) = sync_channel(1);
                let theirs = Arc::clone(&bell);
                let desk = thread::spawn(move || {
                    theirs.wait();
                    let mut found = Vec::new();
                    answer(&*theirs, || look(&values, &mut found));
                    assert_eq!(found, [1], "late");
                });
                bell.ring();
                let _ = send.try_send(1);
                desk.join().unwrap();
            },
            SCHEDULES,
        );
    }

    const SCHEDULES: usize = 2000;
}
