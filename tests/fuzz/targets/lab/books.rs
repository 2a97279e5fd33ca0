//! The ring's books: what is in flight, and where each descriptor sits.

use torpor_engine::ring::{Op, Passed};
use torpor_engine::token::Token;

use super::{Lab, Place};

impl Lab {
    pub(super) fn ring(&mut self, op: Op) {
        match op {
            Op::Accept { token } | Op::ReadWatch { token } => self.fly(None, token),
            Op::ReadDoorbell { token } | Op::ReadItems { token } => self.fly(None, token),
            Op::AddItem { token, .. } => self.items.push(token),
            Op::DeleteItem { slot } => self.items.retain(|item| item.index() != slot),
            Op::SeatConn { passed, conn } => self.seat(passed, Place::Conn(conn)),
            Op::SeatClient { passed, slot } => self.seat(passed, Place::Client(slot)),
            Op::HoldConn { .. } => {}
            Op::ReleaseClient { slot } => drop(self.vault.remove(&Place::Client(slot))),
            Op::ReleaseConn { conn } => drop(self.vault.remove(&Place::Conn(conn))),
            Op::ClaimConn { conn } => self.claim(Place::Conn(conn)),
            Op::ClaimClient { slot } => self.claim(Place::Client(slot)),
            Op::Drop { passed } => self.leave(passed),
            Op::RecvConn { token, conn } => self.fly(Some(Place::Conn(conn)), token),
            Op::RecvClient { token, slot } => self.fly(Some(Place::Client(slot)), token),
            Op::PollNotify { token, slot } => self.fly(Some(Place::Notify(slot)), token),
            Op::SendConn { token, conn, text } => {
                self.fly(Some(Place::Conn(conn)), token);
                self.said.extend_from_slice(text.of(&self.out.bytes));
                self.owed.push_back((token, text.count as i32));
            }
            Op::SendClient { token, slot, text } => {
                self.fly(Some(Place::Client(slot)), token);
                self.told.extend_from_slice(text.of(&self.out.bytes));
                self.owed.push_back((token, text.count as i32));
            }
            Op::CloseConn { conn } => self.let_go(Place::Conn(conn)),
            Op::CloseClient { slot } => self.let_go(Place::Client(slot)),
            Op::Cancel { token, target } => {
                let found = self.flying.contains(&target);
                self.fly(None, token);
                if found {
                    self.owed.push_back((target, -libc::ECANCELED));
                }
                self.owed.push_back((token, if found { 0 } else { -libc::ENOENT }));
            }
        }
    }

    fn fly(&mut self, place: Option<Place>, token: Token) {
        assert!(!self.flying.contains(&token), "{token:?} is in flight already");
        self.flying.push(token);
        if let Some(place) = place {
            let held = self.places.get_mut(&place);
            held.unwrap_or_else(|| panic!("{place:?} is empty")).push(token);
        }
    }

    pub(super) fn seat(&mut self, passed: Passed, place: Place) {
        self.leave(passed);
        assert!(self.places.insert(place, Vec::new()).is_none(), "{place:?} is taken");
    }

    pub(super) fn claim(&mut self, place: Place) {
        assert!(self.vault.remove(&place), "{place:?}: nobody was here");
        assert!(self.places.insert(place, Vec::new()).is_none(), "{place:?} is taken");
    }

    pub(super) fn leave(&mut self, passed: Passed) {
        let kind = self.lobby.remove(&passed.lobby);
        assert_eq!(kind, Some(passed.kind), "in the lobby once");
    }

    pub(super) fn let_go(&mut self, place: Place) {
        let is_left = |item: &Token| place == Place::Client(item.index());
        assert!(!self.items.iter().any(is_left), "{place:?} leaves an item behind");
        let held = self.places.remove(&place);
        assert_eq!(held, Some(Vec::new()), "{place:?} is let go");
    }
}
