//! What is written, to workers and to clients.

use torpor_engine::ring::Completion;
use torpor_engine::token::Token;

use super::SimRing;
use crate::net::{Owner, SWITCH, Thing};

impl SimRing {
    pub(super) fn send_conn(&mut self, token: Token, conn: u32, text: &[u8]) {
        let Some(Thing::Conn(at)) = self.conns[conn as usize].as_ref().map(|fd| fd.thing) else {
            panic!("a send on an empty place");
        };
        let mut net = self.net.borrow_mut();
        let peer = &mut net.conns[at];
        let result = if peer.closed { -libc::EPIPE } else { text.len() as i32 };
        if result > 0 {
            peer.heard.extend_from_slice(text);
            if text == b"+\n" {
                peer.pluses += 1;
                if peer.pluses == peer.pluses_due {
                    let client = peer.client.expect("a client is given");
                    assert_eq!(net.clients[client].owner, Owner::Worker, "given twice");
                    net.clients[client].owner = Owner::Engine;
                    net.say(|| format!("client {client} is given"));
                }
            }
        }
        drop(net);
        self.finish(Completion::plain(token, result, false));
    }

    pub(super) fn send_client(&mut self, token: Token, slot: u32, text: &[u8]) {
        let client = self.client_in(slot).expect("a send to an empty slot");
        let mut net = self.net.borrow_mut();
        let now_ms = net.now.mono_ms;
        let entry = &mut net.clients[client];
        assert_eq!(entry.owner, Owner::Engine, "written to a worker's client");
        let result = if entry.reset {
            -libc::EPIPE
        } else if entry.window == 0 {
            -libc::EAGAIN
        } else {
            let count = entry.window.min(text.len());
            entry.window -= count;
            count as i32
        };
        let written = result.max(0) as usize;
        let mut payload = text;
        let mut payload_written = written;
        if entry.multiplex && entry.switch < SWITCH.len() {
            let left = &SWITCH[entry.switch..];
            let (switch, rest) = text.split_at(left.len());
            assert_eq!(switch, left, "the channel is not selected");
            let switch_written = written.min(left.len());
            (payload, payload_written) = (rest, written - switch_written);
            entry.switch += switch_written;
        }
        // After half a switch the engine comes again with the rest, and all of the payload.
        let half = entry.is_torn();
        if half {
            entry.torn_ms.get_or_insert(now_ms);
        }
        if !half && (result >= 0 || result == -libc::EAGAIN) {
            net.told(client, payload, payload_written, payload_written == 0);
        }
        drop(net);
        self.finish(Completion::plain(token, result, false));
    }
}
