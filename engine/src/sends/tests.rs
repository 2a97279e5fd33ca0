use super::*;

#[test]
fn what_a_storm_has_needed_is_given_back() {
    let map = Map::memory("test", Image::map_bytes(Sends::bytes(1000))).expect("memory");
    let mut sends = Sends::new(1000, map);
    let send = |slot| Send::new(slot, SendKind::Keepalive, 7, 0, b"* OK Still here\r\n");
    let stored = |image: &Image| image.map().stored_bytes().expect("its size");
    let idle = stored(&sends.image);
    let mut epoch = 1;
    for storm in 0..3 {
        let places: Vec<u32> =
            (0..1000).map(|slot| sends.insert(send(slot)).expect("room")).collect();
        sends.seal();
        epoch += 1;
        sends.begin(epoch);
        // The order in which they end is no order.
        for at in 0..1000 {
            sends.give_back();
            assert_eq!(sends.remove(places[at * 7 % 1000]).slot(), (at * 7 % 1000) as u32);
        }
        epoch += 1;
        sends.begin(epoch);
        assert!(sends.is_large() && stored(&sends.image) > idle + 40 * PAGE_BYTES as u64);
        sends.give_back();
        assert!(!sends.is_large());
        let kept = stored(&sends.image) - idle;
        assert!(kept <= 8 * PAGE_BYTES as u64, "{kept} bytes after storm {storm}");
        assert_eq!(sends.insert(send(5)), Some(0), "low places first");
        assert_eq!(sends.remove(0).slot(), 5);
    }
}
