use super::*;
use crate::image::Kind;
use crate::sys::map::Map;

fn chains(blocks: usize) -> Chains {
    let map = Map::memory("test", Image::map_bytes(blocks * BLOCK_BYTES)).expect("memory");
    Chains::new(Image::new(Kind::Blocks, map))
}

fn line(chains: &Chains, chain: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 16);
    assert!(chains.read_line(chain, &mut out));
    out
}

#[test]
fn a_chain_gives_back_each_part_at_every_length() {
    for length in 0..600 {
        let mut chains = chains(32);
        let chain = chains.open().expect("room");
        let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
        for piece in bytes.chunks(37) {
            assert!(chains.append_line(chain, piece));
        }
        assert!(chains.append_input(chain, b"DONE\r\n"));
        assert!(chains.append_input(chain, b"x"));
        assert!(chains.set_output(chain, b"ill here\r\n"));
        assert_eq!(line(&chains, chain), bytes);
        let mut out = Vec::with_capacity(64);
        assert!(chains.read_input(chain, &mut out));
        assert!(chains.read_output(chain, &mut out));
        assert_eq!(out, b"DONE\r\nxill here\r\n");
        assert!(chains.close(chain));
        assert_eq!(chains.used(), 0);
    }
}

#[test]
fn a_full_store_refuses_and_recovers() {
    let mut chains = chains(3);
    let chain = chains.open().expect("room");
    assert!(!chains.append_line(chain, &[7; 600]));
    assert!(chains.open().is_none());
    assert!(chains.close(chain));
    assert!(chains.has_room(300) && !chains.has_room(400));
    let chain = chains.open().expect("room again");
    assert!(chains.append_line(chain, &[7; 300]));
    assert_eq!(line(&chains, chain), [7; 300]);
}

#[test]
fn nothing_of_a_line_stays_behind() {
    let mut chains = chains(8);
    let chain = chains.open().expect("room");
    assert!(chains.append_line(chain, &[b's'; 500]));
    assert!(chains.close(chain));
    assert!(!chains.image.contains(&b's'));
}

/// Each bit of a chain's blocks in turn: either it says nothing, or the chain is not read.
#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let mut chains = chains(8);
    let other = chains.open().expect("room");
    assert!(chains.append_line(other, &[b'o'; 150]));
    let chain = chains.open().expect("room");
    assert!(chains.append_line(chain, &[b's'; 300]));
    for bit in 0..8 * BLOCK_BYTES * 8 {
        chains.image.edit(bit / 8, 1)[0] ^= 1 << (bit % 8);
        for (chain, byte, count) in [(other, b'o', 150), (chain, b's', 300)] {
            let mut out = Vec::with_capacity(1024);
            let sound = chains.read_line(chain, &mut out);
            assert!(!sound || out == vec![byte; count], "bit {bit}");
        }
        chains.image.edit(bit / 8, 1)[0] ^= 1 << (bit % 8);
    }
}

/// And whoever is killed on the way has given nothing back.
#[test]
fn what_a_storm_has_needed_is_given_back_when_nobody_has_any() {
    let mut chains = chains(4096);
    let stored = |chains: &Chains| chains.image.map().stored_bytes().expect("its size");
    let idle = stored(&chains);
    let text = |number: u32| format!("line {number} ").repeat(40).into_bytes();
    let open: Vec<u32> = (0..500)
        .map(|number| {
            let chain = chains.open().expect("room");
            assert!(chains.append_line(chain, &text(number)));
            chain
        })
        .collect();
    assert!(!chains.is_large(), "they are used");
    let epoch = chains.image.commit();
    chains.image.begin(epoch);
    open.iter().for_each(|chain| assert!(chains.close(*chain)));
    assert!(chains.is_large());
    chains.give_back();
    let mut heir = Image::open(Kind::Blocks, chains.image.into_map()).expect("ours");
    heir.roll_back(heir.committed());
    let mut chains = Chains::new(heir);
    chains.used = 4 * 500;
    for (number, chain) in (0..).zip(&open) {
        assert_eq!(line(&chains, *chain), text(number), "chain {number} was never closed");
    }
    open.iter().for_each(|chain| assert!(chains.close(*chain)));
    chains.used = 0;
    chains.give_back();
    let epoch = chains.image.commit();
    chains.image.begin(epoch);
    assert!(!chains.is_large() && stored(&chains) <= idle + 12 * 4096);
    assert_eq!(chains.open(), Some(0));
    assert!(chains.append_line(0, &text(7)));
    assert_eq!(line(&chains, 0), text(7));
}
