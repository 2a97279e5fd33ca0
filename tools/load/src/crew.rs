//! A crew: the process that plays a share of the clients, on one ring.
//!
//! It reads its [`Brief`] and then [`Order`]s from standard input, and writes [`Word`]s to standard
//! output. The end of its input ends it.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::floor::Floor;
use crate::play::Troupe;
use crate::post::Postman;
use crate::seat::Seat;
use crate::wire::{Brief, Order, Word};

/// Serves as a crew until the input ends. Exit code 1: the input made no sense.
pub fn serve() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor load, crew {}: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let Brief { plan, share, began_us } = serde_json::from_str(&line)?;
    raise_open_files()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let age = now.saturating_sub(Duration::from_micros(began_us));
    let floor = Rc::new(Floor::new(plan, share, age));
    let orders = read_orders()?;
    let mut ring = tokio_uring::uring_builder();
    // Room for an answer to everybody at once.
    ring.setup_cqsize(COMPLETIONS_MAX);
    let mut runtime = tokio_uring::builder();
    runtime.entries(SUBMISSIONS_MAX).uring_builder(&ring);
    runtime.start(obey(floor, orders))
}

async fn obey(floor: Rc<Floor>, mut orders: UnboundedReceiver<Order>) -> io::Result<()> {
    let seats = (0..floor.share.count + floor.share.newcomers)
        .map(|number| Seat::new(number, Rc::clone(&floor)));
    let seats: Rc<[_]> = seats.collect();
    let route = floor.plan.route.clone();
    let postman = route.map(|route| Postman::start(route, floor.mailed.clone())).transpose()?;
    let mut troupe = Troupe::new(Rc::clone(&floor), Rc::clone(&seats), postman);
    tokio_uring::spawn(look_after(Rc::clone(&floor), seats));
    tokio_uring::spawn(tell_progress(Rc::clone(&floor)));
    while let Some(order) = orders.recv().await {
        match order {
            Order::Prepare(act) => {
                troupe.prepare(act).await;
                say(&Word::Prepared)?;
            }
            Order::Go => {
                troupe.play().await;
                let ledger = floor.turn_page();
                ledger.balance().map_err(io::Error::other)?;
                say(&Word::Progress(floor.counts()))?;
                say(&Word::Played(Box::new(ledger)))?;
            }
        }
    }
    Ok(())
}

/// Ends what is overdue.
async fn look_after(floor: Rc<Floor>, seats: Rc<[Rc<Seat>]>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for (number, why) in floor.mailed.failures() {
            seats[number as usize].look_after(Some(&why));
        }
        seats.iter().for_each(|seat| seat.look_after(None));
    }
}

async fn tell_progress(floor: Rc<Floor>) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        if say(&Word::Progress(floor.counts())).is_err() {
            // Nobody listens any more; the end of the input follows.
            return;
        }
    }
}

fn say(word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Standard input from a thread, since it blocks. A line that is no order ends it.
fn read_orders() -> io::Result<UnboundedReceiver<Order>> {
    let (sender, orders) = unbounded_channel();
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let Some(order) = order else { return };
            if sender.send(order).is_err() {
                return;
            }
        }
    })?;
    Ok(orders)
}

/// A descriptor for each client.
fn raise_open_files() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

const SUBMISSIONS_MAX: u32 = 4096;
const COMPLETIONS_MAX: u32 = 32_768;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const TELL_EVERY: Duration = Duration::from_millis(200);
