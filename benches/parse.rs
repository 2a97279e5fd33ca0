//! What the engine does for each client, piece by piece, without a kernel in between.
//!
//! ```text
//! cargo bench -p torpor-suite --bench parse -- [NAME]
//! ```

use std::hint::black_box;

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use torpor_engine::cold::{Cold, LINE_BYTES_MAX};
use torpor_engine::idle::judge;
use torpor_engine::limits::Limits;
use torpor_engine::memory::Memory;
use torpor_engine::slots::Slots;
use torpor_engine::wheel::{TICK_MS, Wheel};
use torpor_handoff::line::{HibernateLine, Wakeup, unhibernate};
use torpor_handoff::queue::{Class, Queue};
use torpor_load::stand_in::letter::{Facts, line};

criterion_group!(pieces, lines, clients, time);
criterion_main!(pieces);

fn lines(criterion: &mut Criterion) {
    criterion.bench_function("hibernate line: parse", |bencher| {
        bencher.iter(|| HibernateLine::parse(black_box(LINE.as_bytes())).expect("a good line"));
    });
    criterion.bench_function("request line: render", |bencher| {
        let wakeup = Wakeup {
            hibernation_started_us: 1_795_445_072_777_873,
            client_input: b"DONE\r\n",
            idle_continue: true,
            input_bytes: 6,
            ..Wakeup::default()
        };
        let room = unhibernate::rendered_bytes_max(LINE.len(), &wakeup);
        let mut out = Vec::with_capacity(room);
        bencher.iter(|| {
            out.clear();
            unhibernate::render(&mut out, black_box(LINE.as_bytes()), &wakeup);
            out.len()
        });
    });
    for (name, input) in [("DONE", "DONE\r\n"), ("DONE and IDLE", "DONE\r\na17 IDLE\r\n")] {
        criterion.bench_function(&format!("client input: judge {name}"), |bencher| {
            bencher.iter(|| judge(black_box(input.as_bytes())));
        });
    }
}

fn clients(criterion: &mut Criterion) {
    criterion.bench_function("slot: claim and release", |bencher| {
        let mut slots = full(CLIENTS);
        slots.release(CLIENTS / 2);
        bencher.iter(|| {
            let slot = slots.claim().expect("one is free");
            slots.release(black_box(slot));
        });
    });
    criterion.bench_function("cold store: pack, unpack and close", cold);
    criterion.bench_function("wake queue: push and pop behind 1,000", queue);
}

/// Of a thousand clients whose lines have nothing in common but their shape.
fn cold(bencher: &mut Bencher) {
    let mut random = fastrand::Rng::with_seed(7);
    let facts = |inode| Facts { inode, minor: 9, keepalive_secs: 120, notify: true };
    let lines: Vec<String> = (0..1000).map(|number| line(&mut random, facts(number))).collect();
    let limits = Limits { slots_max: 4, cold_blocks_max: 64, ..Limits::default() };
    let mut cold = Cold::new(&limits, None).expect("memory");
    let mut out = Vec::with_capacity(LINE_BYTES_MAX);
    // Somebody else of the same shape, so that the model is there.
    cold.store(lines[0].as_bytes()).expect("room");
    let (mut all, mut epoch) = (lines.iter().cycle(), 1);
    bencher.iter(|| {
        let line = all.next().expect("it goes round");
        let entry = cold.store(black_box(line.as_bytes())).expect("room");
        out.clear();
        assert!(cold.read_line(entry, &mut out));
        cold.close(entry);
        epoch += 1;
        cold.begin(epoch);
        out.len()
    });
}

fn queue(bencher: &mut Bencher) {
    let mut queue = Queue::new(CLIENTS);
    for slot in 0..1000 {
        queue.push(slot, Class::Change, slot, u64::from(slot));
    }
    let (mut slot, mut now_ms) = (1000, 1000);
    bencher.iter(|| {
        queue.push(slot, Class::Change, slot, now_ms);
        slot = queue.pop(now_ms).expect("somebody waits");
        now_ms += 1;
    });
}

fn time(criterion: &mut Criterion) {
    criterion.bench_function("deadline wheel: arm among 100,000", |bencher| {
        let mut slots = full(CLIENTS);
        let mut wheel = Wheel::new();
        for slot in 0..CLIENTS {
            wheel.arm(&mut slots, slot, u64::from(slot) % 120_000);
        }
        let mut step = 0;
        bencher.iter(|| {
            step += 1;
            let slot = (step * 7919 % u64::from(CLIENTS)) as u32;
            wheel.arm(&mut slots, slot, black_box(step * 31 % 120_000));
        });
    });
    criterion.bench_function("deadline wheel: expire and arm again", |bencher| {
        let mut slots = full(1);
        let mut wheel = Wheel::new();
        let mut now_ms = TICK_MS;
        bencher.iter(|| {
            wheel.arm(&mut slots, 0, now_ms);
            now_ms += TICK_MS;
            wheel.expire(&mut slots, now_ms, &mut 8).expect("its time has come")
        });
    });
}

/// A slab with every slot let.
fn full(count: u32) -> Slots {
    let limits = Limits { slots_max: count, ..Limits::default() };
    let memory = Memory::new(&limits, None).expect("memory");
    let mut slots = Slots::new(&limits, memory.records);
    for _ in 0..count {
        slots.claim().expect("one for each");
    }
    slots
}

const CLIENTS: u32 = 100_000;

/// As Dovecot 2.3.19.1 writes it.
const LINE: &str = "u00001\t%s(%u)<%{pid}><%{session}>: \tidle_notify_interval=120\
    \tpeer_dev_major=0\tpeer_dev_minor=9\tpeer_ino=151861\tsession=uHK3ofJg8IF/AAAB\
    \tsession_created=1795445071\tlip=127.0.0.1\tlport=20143\trip=127.0.0.1\trport=33264\
    \tuserdb_fields=uid=5000\x01tgid=5000\x01thome=/srv/mail/u00001\x01tauth_mech=PLAIN\
    \x01tauth_token=780b320eb92e3f4bec381d10bb91d6728a988269\tuid=5000\tgid=5000\tmailbox=INBOX\
    \ttag=a3\tstats=in=26 out=747 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 \
    body_count=0 body_bytes=0\tidle-cmd\tnotify_fd\
    \tstate=YmFzZQpCSU5CT1gAvNOUNg9QBGsNUQAAg+zDdQCPoJHYBgIBAwAA+fDizwkA";
