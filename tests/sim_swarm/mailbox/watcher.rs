//! The simulated watcher: adoptions, part by part.

use torpor_engine::drive::Watcher;
use torpor_engine::watch::{Adopted, Adoption, WATCHES_PER_NOTIFY_MAX, WatchOrder};

use super::Notify;
use crate::alloc;
use crate::faults::Fault;
use crate::world::{File, Shared, SimFd};

/// Does what the engine orders, some time later.
pub struct SimWatcher {
    world: Shared,
    jobs: Vec<Job>,
    replies: Vec<(Adopted, Option<SimFd>)>,
}

struct Job {
    order: WatchOrder,
    /// `None` once it is closed.
    fd: Option<SimFd>,
    due_ms: u64,
    /// The watches, once they are on the shared instance.
    wds: Option<[i32; WATCHES_PER_NOTIFY_MAX]>,
    /// What the last look at the old descriptor has shown.
    changed: bool,
}

impl SimWatcher {
    pub fn new(world: &Shared) -> Self {
        Self { world: world.clone(), jobs: Vec::new(), replies: Vec::new() }
    }

    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.replies.is_empty()
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.jobs.iter().map(|job| job.due_ms).min()
    }

    pub fn run(&mut self) {
        let mut at = 0;
        while at < self.jobs.len() {
            let now_ms = self.world.borrow().mono_ms;
            if self.jobs[at].due_ms > now_ms {
                at += 1;
                continue;
            }
            if let Some(reply) = self.work(at) {
                self.replies.push(reply);
                self.world.borrow_mut().kernel.ring_bell();
            }
        }
    }

    /// Does the next part of a job that is due; the reply, if that was its last.
    fn work(&mut self, at: usize) -> Option<(Adopted, Option<SimFd>)> {
        let WatchOrder::Adopt { slot, generation, since_us, .. } = self.jobs[at].order else {
            self.jobs.swap_remove(at);
            return None;
        };
        let Some(File::Notify(notify)) = self.jobs[at].fd.as_ref().map(SimFd::file) else {
            let Job { wds, changed, .. } = self.jobs.swap_remove(at);
            let outcome = Adoption::Shared { wds: wds.expect("adopted"), polled: false, changed };
            return Some((Adopted { slot, generation, outcome }, None));
        };
        let mut world = self.world.borrow_mut();
        let Notify { mailbox, pipe, version, session, .. } = world.notifies[notify as usize];
        if self.jobs[at].wds.is_some() {
            self.jobs[at].changed = world.last_look(notify, since_us);
            drop(world);
            drop(self.jobs[at].fd.take());
            self.dawdle(at, mailbox);
            return None;
        }
        if pipe || world.fault(Fault::NotAdopted, 4) {
            let seen = &mut world.sessions[session as usize].seen;
            *seen = (*seen).max(version);
            drop(world);
            let fd = self.jobs.swap_remove(at).fd;
            return Some((Adopted { slot, generation, outcome: Adoption::Kept }, fd));
        }
        self.jobs[at].wds = Some(world.adopt_watches(mailbox));
        drop(world);
        self.dawdle(at, mailbox);
        None
    }

    /// Between two parts of an adoption time goes by, and mail may come.
    fn dawdle(&mut self, at: usize, mailbox: usize) {
        let mut world = self.world.borrow_mut();
        let slow = world.fault(Fault::WatcherSlow, 2);
        self.jobs[at].due_ms = world.mono_ms + if slow { world.random.ms(1, 300) } else { 0 };
        if world.fault(Fault::ChangeInAdoption, 8) {
            world.change(mailbox);
        }
    }
}

impl Watcher for SimWatcher {
    type Descriptor = SimFd;

    fn order(&mut self, order: WatchOrder, notify: Option<SimFd>) {
        alloc::pause();
        let mut world = self.world.borrow_mut();
        world.tell(|| format!("  watcher: {order:?}"));
        if let WatchOrder::Release { wd } = order {
            world.release_watch(wd);
            return;
        }
        let slow = world.fault(Fault::WatcherSlow, 2);
        let due_ms = world.mono_ms + if slow { world.random.ms(1, 300) } else { 0 };
        let fd = notify.expect("a descriptor comes with the order");
        self.jobs.push(Job { order, fd: Some(fd), due_ms, wds: None, changed: false });
    }

    fn adopted(&mut self) -> Option<(Adopted, Option<SimFd>)> {
        if self.replies.is_empty() { None } else { Some(self.replies.remove(0)) }
    }
}
