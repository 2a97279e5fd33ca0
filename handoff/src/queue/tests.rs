//! The queue against a model that keeps a list and searches it.

use super::*;

/// The model: everything in one list, looked through from end to end.
#[derive(Default)]
struct Model {
    waiting: Vec<Item>,
    granted: Vec<Item>,
    finish: std::collections::BTreeMap<(Class, u32), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    slot: u32,
    class: Class,
    user: u32,
    arrived_ms: u64,
    key_ms: u64,
    until_ms: Option<u64>,
}

impl Model {
    fn charged(&mut self, mut item: Item) -> Item {
        let finish = self.finish.entry((item.class, item.user)).or_default();
        item.key_ms = item.arrived_ms.max(*finish);
        *finish = item.key_ms + 100;
        item
    }

    fn push(&mut self, slot: u32, class: Class, user: u32, arrived_ms: u64) {
        let old = take(&mut self.granted, slot);
        let new = Item { slot, class, user, arrived_ms, key_ms: 0, until_ms: None };
        let item = match old {
            Some(old) if (old.class, old.user, old.arrived_ms) == (class, user, arrived_ms) => {
                Item { key_ms: old.key_ms, ..new }
            }
            _ => self.charged(new),
        };
        self.waiting.push(item);
    }

    fn promote(&mut self, slot: u32) {
        if self.waiting.iter().any(|item| item.slot == slot && item.class == Class::Change) {
            let item = take(&mut self.waiting, slot).unwrap();
            let item = self.charged(Item { class: Class::Input, ..item });
            self.waiting.push(item);
        }
    }

    fn rest(&mut self, slot: u32, until_ms: u64) {
        let item = take(&mut self.waiting, slot).or_else(|| take(&mut self.granted, slot)).unwrap();
        self.waiting.push(Item { until_ms: Some(until_ms), ..item });
    }

    fn pop(&mut self, now_ms: u64) -> Option<u32> {
        for item in &mut self.waiting {
            item.until_ms = item.until_ms.filter(|until_ms| *until_ms > now_ms);
        }
        let ready = self.waiting.iter().filter(|item| item.until_ms.is_none());
        let slot = ready.min_by_key(|item| (item.class, item.key_ms, item.slot))?.slot;
        let item = take(&mut self.waiting, slot).unwrap();
        self.granted.push(item);
        Some(slot)
    }

    fn end_rests(&mut self) {
        self.waiting.iter_mut().for_each(|item| item.until_ms = None);
    }

    fn remove(&mut self, slot: u32) {
        take(&mut self.waiting, slot);
        take(&mut self.granted, slot);
    }
}

fn take(items: &mut Vec<Item>, slot: u32) -> Option<Item> {
    let at = items.iter().position(|item| item.slot == slot)?;
    Some(items.remove(at))
}

#[test]
fn agrees_with_the_model() {
    for seed in 1..200 {
        let mut random = Random(seed);
        let (mut queue, mut model) = (Queue::new(24), Model::default());
        let mut now_ms = 0;
        for _ in 0..600 {
            now_ms += random.below(60);
            let slot = random.below(24) as u32;
            let known = queue.class(slot).is_some();
            match random.below(9) {
                0..=2 if !queue.contains(slot) => {
                    let class = if random.below(2) == 0 { Class::Input } else { Class::Change };
                    let old = model.granted.iter().find(|item| item.slot == slot);
                    let arrived_ms = old.map_or(now_ms, |item| item.arrived_ms);
                    let user = random.below(5) as u32;
                    queue.push(slot, class, user, arrived_ms);
                    model.push(slot, class, user, arrived_ms);
                }
                3 if known => {
                    queue.promote(slot);
                    model.promote(slot);
                }
                4 if known => {
                    let until_ms = now_ms + random.below(200);
                    queue.rest(slot, until_ms);
                    model.rest(slot, until_ms);
                }
                5 if random.below(4) == 0 => {
                    queue.remove(slot);
                    model.remove(slot);
                }
                5 if random.below(4) == 0 => {
                    queue.end_rests();
                    model.end_rests();
                }
                6 => assert_eq!(queue.pop(now_ms), model.pop(now_ms), "seed {seed}"),
                _ => {}
            }
            agree(&queue, &model);
        }
    }
}

fn agree(queue: &Queue, model: &Model) {
    let of = |class| model.waiting.iter().filter(|item| item.class == class).count() as u32;
    assert_eq!(queue.counts(), (of(Class::Input), of(Class::Change)));
    assert_eq!(queue.len() as usize, model.waiting.len());
    assert_eq!(queue.oldest_ms(), model.waiting.iter().map(|item| item.arrived_ms).min());
    assert_eq!(queue.next_rest_ms(), model.waiting.iter().filter_map(|item| item.until_ms).min());
    assert_eq!(queue.is_ready(), model.waiting.iter().any(|item| item.until_ms.is_none()));
}

#[test]
fn input_goes_first_and_the_oldest_of_it() {
    let mut queue = Queue::new(8);
    queue.push(1, Class::Change, 1, 10);
    queue.push(2, Class::Input, 2, 30);
    queue.push(3, Class::Input, 3, 20);
    queue.push(4, Class::Change, 4, 5);
    queue.promote(1);
    let order: Vec<u32> = std::iter::from_fn(|| queue.pop(40)).collect();
    assert_eq!(order, [1, 3, 2, 4]);
}

#[test]
fn a_user_with_ten_thousand_sleepers_starves_nobody() {
    let mut queue = Queue::new(10_100);
    for slot in 0..10_000 {
        queue.push(slot, Class::Change, 7, 1000);
    }
    // A hundred others, one every 10 ms after the flood.
    for other in 0..100 {
        queue.push(10_000 + other, Class::Change, 100 + other, 1000 + 10 * u64::from(other));
    }
    let mut flood = 0;
    let mut others = Vec::new();
    while others.len() < 100 {
        match queue.pop(3000) {
            Some(slot) if slot < 10_000 => flood += 1,
            other => others.push(other.unwrap()),
        }
    }
    assert_eq!(others, (10_000..10_100).collect::<Vec<u32>>());
    assert!(flood <= 11, "{flood} of the flood went first");
}

#[test]
fn a_retry_keeps_its_place() {
    let mut queue = Queue::new(4);
    for slot in 0..3 {
        queue.push(slot, Class::Input, 9, 0);
    }
    assert_eq!(queue.pop(0), Some(0));
    queue.push(0, Class::Input, 9, 0);
    queue.rest(0, 50);
    assert_eq!(queue.pop(50), Some(0), "it is not charged a second time");
}

#[test]
fn who_has_rested_is_known_until_it_comes_anew() {
    let mut queue = Queue::new(4);
    queue.push(0, Class::Input, 9, 5);
    assert!(!queue.has_rested(0));
    queue.rest(0, 50);
    queue.end_rests();
    assert_eq!(queue.pop(10), Some(0), "its rest was ended early");
    assert!(queue.has_rested(0));
    queue.push(0, Class::Input, 9, 5);
    assert!(queue.has_rested(0), "the same wake, again");
    queue.remove(0);
    queue.push(0, Class::Input, 9, 70);
    assert!(!queue.has_rested(0), "another wake");
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}
