//! The engine was killed: what of its ring is left for an heir.

use super::*;

impl SimRing {
    /// What the vault holds stays in its place, and everything else is closed.
    pub fn heir(mut self) -> Self {
        self.world.borrow_mut().kill_ring(&self.taken);
        let world = self.world.clone();
        let mut heir = Self::new(&world);
        let both = [(&mut self.clients, &mut heir.clients), (&mut self.conns, &mut heir.conns)];
        for (old, new) in both {
            for (old, new) in old.iter_mut().zip(new).filter(|(old, _)| old.held) {
                *new = Place { fd: old.fd.take(), held: true, ..Place::default() };
            }
        }
        heir
    }
}
