//! The window's habits, and its bounds under seeded calls.

use super::*;

#[test]
fn the_window_grows_when_used_and_halves_when_refused() {
    let mut window = Window::new(64, 1);
    let mut now_ms = 0;
    let round = |window: &mut Window, now_ms: &mut u64| {
        let size = window.open(*now_ms);
        (0..size).for_each(|_| window.sent(*now_ms));
        *now_ms += 5;
        (0..size).for_each(|_| window.taken(*now_ms));
        window.size()
    };
    let sizes: Vec<u32> = (0..12).map(|_| round(&mut window, &mut now_ms)).collect();
    assert!(sizes[0] > 4 && sizes[11] == 64, "{sizes:?}");
    // One at a time proves nothing about 64, so a small window stays small.
    let mut small = Window::new(64, 1);
    for now_ms in 0..100 {
        small.sent(now_ms);
        small.taken(now_ms);
    }
    assert_eq!(small.size(), 4);
    // A round of refusals counts once, the next round again.
    for expected in [32, 16, 8] {
        (0..8).for_each(|_| window.sent(now_ms));
        now_ms += 30;
        (0..8).for_each(|_| window.refused(now_ms));
        assert_eq!(window.size(), expected);
    }
    (0..10).for_each(|_| {
        window.sent(now_ms);
        now_ms += 30;
        window.refused(now_ms);
    });
    assert_eq!((window.size(), window.open(now_ms)), (1, 1));
}

#[test]
fn while_imap_master_is_away_one_probe_goes_at_a_time() {
    let mut window = Window::new(64, 2);
    (0..4).for_each(|_| window.sent(0));
    (0..4).for_each(|_| window.absent(1));
    assert!(window.is_away());
    // Sixty seconds of absence, asked every millisecond.
    let mut sent = Vec::new();
    for now_ms in 1..60_000 {
        if window.in_flight() < window.open(now_ms) {
            window.sent(now_ms);
            assert_eq!(window.open(now_ms), 0, "a second one went out beside the probe");
            window.absent(now_ms + 1);
            sent.push(now_ms);
        }
    }
    assert!(sent[0] >= 25 && sent[0] <= 52, "{}", sent[0]);
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 1002));
    assert!((60..150).contains(&sent.len()), "{} probes", sent.len());
    let now_ms = window.resumes_ms().unwrap();
    window.sent(now_ms);
    window.taken(now_ms + 5);
    assert_eq!((window.is_away(), window.open(now_ms + 5)), (false, 2));
}

#[test]
fn one_that_hangs_does_not_hold_up_the_others() {
    let mut window = Window::new(8, 3);
    for step in 0..4 {
        window.sent(step * 30);
        window.refused(step * 30 + 29);
    }
    window.sent(120);
    assert_eq!(window.open(121), 1);
    assert_eq!(window.resumes_ms(), Some(1120));
    assert_eq!(window.open(1120), 2);
    // Nor does a probe that hangs.
    window.absent(1120);
    let now_ms = window.resumes_ms().unwrap();
    window.sent(now_ms);
    assert_eq!((window.open(now_ms + 999), window.open(now_ms + 1000)), (0, 2));
}

#[test]
fn the_window_never_leaves_its_bounds() {
    for seed in 1..300 {
        let mut random = Random(seed);
        let size_max = 1 + random.below(40) as u32;
        let mut window = Window::new(size_max, seed);
        let mut now_ms = random.below(3);
        for _ in 0..2000 {
            now_ms += random.below(40);
            while window.in_flight() < window.open(now_ms) && random.below(3) > 0 {
                window.sent(now_ms);
            }
            if window.in_flight() > 0 {
                match random.below(6) {
                    0..=2 => window.taken(now_ms),
                    3 => window.refused(now_ms),
                    4 => window.absent(now_ms),
                    _ => {}
                }
            }
            assert!(window.size() >= 1 && window.size() <= size_max);
            assert!(window.in_flight() <= size_max && window.open(now_ms) <= size_max);
            // Whoever waits is told when to ask again, or has something in flight to wait for.
            if window.open(now_ms) == 0 {
                assert!(window.resumes_ms().is_some_and(|resumes_ms| resumes_ms > now_ms));
            }
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}
