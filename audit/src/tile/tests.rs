use super::{Tile, WIDTH, entries, entry_bytes, hash_bytes, hashes, parent};
use crate::Digest;
use crate::tree::{leaf_hash, root};

fn tile(level: u8, index: u64, width: u64) -> Tile {
    Tile {
        level,
        index,
        width,
    }
}

#[test]
fn paths_are_those_of_the_spec() {
    assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
    assert_eq!(tile(1, 0, 17).path(), "tile/1/000.p/17");
    assert_eq!(tile(0, 1_000, 256).entries_path(), "tile/entries/x001/000");
    assert_eq!(tile(0, 999, 1).entries_path(), "tile/entries/999.p/1");
}

#[test]
fn a_size_has_the_tiles_of_the_spec() {
    let tiles: Vec<_> = Tile::all(70_000).collect();
    assert_eq!(tiles.len(), 273 + 1 + 1 + 1 + 1);
    for tile in [
        tile(0, 272, 256),
        tile(0, 273, 112),
        tile(1, 0, 256),
        tile(1, 1, 17),
        tile(2, 0, 1),
    ] {
        assert!(tiles.contains(&tile), "{tile:?}");
    }
    assert_eq!(Tile::all(0).count(), 0);
    assert_eq!(
        Tile::all(256).collect::<Vec<_>>(),
        [tile(0, 0, 256), tile(1, 0, 1)]
    );
}

/// Another author's paths: `tile/8/L/N` there, as Go's checksum database has them.
#[test]
fn a_foreign_library_finds_our_tiles() {
    for tile in Tile::all(70_000) {
        let width = tile.width.try_into().unwrap();
        let foreign = tlog_tiles::Tile::new(8, tile.level, tile.index, width, false);
        let path = foreign.path().replacen("tile/8/", "tile/", 1);
        assert_eq!(path, tile.path());
    }
}

#[test]
fn a_full_tile_is_one_hash_above() {
    let leaves: Vec<Digest> = (0..WIDTH).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    assert_eq!(parent(&leaves), Some(root(&leaves)));
    assert_eq!(parent(&leaves[1..]), None);
    assert_eq!(hash_bytes(&leaves).len(), 8_192);
    assert_eq!(hash_bytes(&leaves)[32..64], leaves[1].as_bytes()[..]);
}

#[test]
fn entry_bundles_are_lengths_and_bytes() {
    let bundle = entry_bytes(&["one", "two", "three"]).unwrap();
    let text = include_str!("../../../tests/vectors/merkle.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let want = vectors["tessera"]["entries_tile_3_hex"].as_str().unwrap();
    assert_eq!(data_encoding::HEXLOWER.encode(&bundle), want);
    let back: Vec<&[u8]> = vec![b"one", b"two", b"three"];
    assert_eq!(entries(&bundle), Some(back));
    assert_eq!(entries(&bundle[..bundle.len() - 1]), None);
    assert_eq!(entries(&[0]), None);
    assert!(entry_bytes(&[vec![0; 65_536]]).is_err());
}

#[test]
fn a_path_is_read_in_its_one_spelling() {
    for tile in Tile::all(70_000).chain([tile(0, 1_234_067, 256), tile(3, 999_999, 255)]) {
        let path = tile.path();
        let (_, place) = path.split_at("tile/0/".len());
        assert_eq!(Tile::parse(tile.level, place), Some(tile), "{path}");
    }
    for bad in [
        "",
        "0",
        "00",
        "0000",
        "x000",
        "x000/000",
        "x001",
        "001/000",
        "000/",
        "/000",
        "000.p/0",
        "000.p/256",
        "000.p/257",
        "000.p/01",
        "000.p/",
        "000.p",
        "000.p/1/",
        "000.p/1.p/1",
        "-01",
        "+01",
        "xx01",
        "x0x1/000",
        "x001/x000",
        "00a",
        "x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(Tile::parse(0, bad), None, "{bad}");
    }
    assert_eq!(Tile::parse(8, "000"), None);
}

#[test]
fn a_tile_knows_the_sizes_it_belongs_to() {
    for size in [1, 255, 256, 257, 65_535, 65_536, 70_000] {
        for tile in Tile::all(size) {
            let (first, end) = tile.sizes().unwrap();
            assert!((first..end).contains(&size), "{tile:?} at {size}");
            assert_eq!(Tile::at(tile.level, tile.index, size), Some(tile));
            let before = Tile::at(tile.level, tile.index, first - 1);
            assert_ne!(before, Some(tile), "{tile:?} before {first}");
        }
    }
    assert_eq!(Tile::at(0, 1, 256), None);
    assert_eq!(tile(7, u64::MAX, 1).sizes(), None);
}

#[test]
fn bytes_of_a_tile_are_whole_hashes() {
    let one = [Digest::of(b"")];
    assert_eq!(hashes(&hash_bytes(&one)), Some(one.to_vec()));
    assert_eq!(hashes(&[]), None);
    assert_eq!(hashes(&[0; 33]), None);
    assert_eq!(hashes(&[0; 257 * 32]), None);
}
