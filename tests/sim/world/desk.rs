//! The simulated desk: it keeps the counters, and hands out the orders of operators.

use torpor_engine::command::{Answer, Command};
use torpor_engine::drive::Desk;
use torpor_engine::report::{Counters, Report};

use crate::counting;
use crate::net::Shared;

pub struct SimDesk {
    pub net: Shared,
    pub counters: Counters,
    pub stopped: bool,
}

impl Desk for SimDesk {
    fn report(&mut self, report: &Report, text: &[u8]) {
        counting::pause();
        self.net.borrow().say(|| {
            format!("{:?} {:?}", report.event, report.text.of(text).escape_ascii().to_string())
        });
    }

    fn answer(&mut self, answer: &Answer, _text: &[u8]) {
        counting::pause();
        self.net.borrow_mut().answers += 1;
        assert!(answer.ticket > 0);
    }

    fn counters(&mut self, counters: &Counters) {
        counting::pause();
        self.counters = *counters;
    }

    fn command(&mut self) -> Option<Command> {
        let command = self.net.borrow_mut().commands.pop_front();
        if let Some(command) = &command {
            self.net.borrow().say(|| format!("{command:?}"));
        }
        command
    }
}
