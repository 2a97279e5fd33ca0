use super::*;

fn image(bytes: usize) -> Image {
    let map = Map::memory("test", Image::map_bytes(bytes)).expect("memory");
    Image::new(Kind::Records, map)
}

fn heir(image: Image) -> Image {
    let mut image = Image::open(Kind::Records, image.map).expect("ours");
    image.roll_back(image.committed());
    image
}

#[test]
fn what_was_not_committed_never_happened() {
    let mut image = image(1000);
    image.edit(10, 5).copy_from_slice(b"first");
    let next = image.commit();
    image.begin(next);
    image.edit(10, 5).copy_from_slice(b"other");
    image.edit(60, 8).copy_from_slice(b"straddle");
    image.edit(10, 5).copy_from_slice(b"third");
    assert_eq!(image.written(), 2, "a line is kept once");
    for _ in 0..3 {
        // The heir is killed too, before its first commit.
        image = heir(image);
        assert_eq!((&image[10..15], &image[60..68]), (&b"first"[..], &[0; 8][..]));
        image.edit(400, 5).copy_from_slice(b"never");
        image.edit(10, 5).copy_from_slice(b"never");
    }
    let mut image = heir(image);
    image.edit(10, 5).copy_from_slice(b"again");
    image.commit();
    let image = heir(image);
    assert_eq!((&image[10..15], &image[400..405]), (&b"again"[..], &[0; 5][..]));
}

/// Killed between the commit and `begin`: the journal speaks of what is committed.
#[test]
fn a_commit_holds_from_its_one_store_on() {
    let mut image = image(64);
    image.edit(0, 1)[0] = 7;
    image.commit();
    assert_eq!(heir(image)[0], 7);
}

/// The journal of a step that writes everything is larger than the data.
#[test]
fn what_a_large_step_has_needed_is_given_back() {
    let bytes = 64 * 4096;
    let mut image = image(bytes);
    image.edit(0, bytes).fill(1);
    let next = image.commit();
    let stored = |image: &Image| image.map.stored_bytes().expect("its size") as usize;
    assert!(stored(&image) > 2 * bytes);
    image.begin(next);
    assert!(stored(&image) <= bytes + KEPT_BYTES + 4 * 4096, "{} bytes", stored(&image));
    image.edit(0, bytes).fill(2);
    let image = heir(image);
    assert!(image[..bytes].iter().all(|byte| *byte == 1), "what was taken back is there");
}

#[test]
fn what_is_not_ours_is_refused() {
    let head_of = |change: fn(&mut Head)| {
        let mut image = image(64);
        let bytes = &mut image.map[..size_of::<Head>()];
        change(Head::mut_from_bytes(bytes).expect("a head"));
        Image::open(Kind::Records, image.map).err()
    };
    assert_eq!(head_of(|_| {}), None);
    assert_eq!(head_of(|head| head.magic[0] = 0), Some(Foreign::Magic(Kind::Records)));
    assert_eq!(head_of(|head| head.kind = 3), Some(Foreign::Magic(Kind::Records)));
    assert_eq!(head_of(|head| head.format += 1), Some(Foreign::Format(Kind::Records, 2)));
    assert_eq!(head_of(|head| head.format = 0), Some(Foreign::Format(Kind::Records, 0)));
    assert_eq!(head_of(|head| head.bytes += 64), Some(Foreign::Size(Kind::Records)));
    let tiny = Map::memory("test", 100).expect("memory");
    assert_eq!(Image::open(Kind::Sends, tiny).err(), Some(Foreign::Size(Kind::Sends)));
}
