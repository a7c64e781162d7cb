//! A sample that neither side steers (LEDGER.md §11): drawn by the root of the log and a word of the auditor, so
//! that anybody can draw it again, and nobody knew it before both were there.

use std::collections::BTreeSet;

use crate::Digest;

/// What a sample is drawn by: SHA-256 of `stint/sample/v1`, LF, the root's 32 bytes and the auditor's word.
#[must_use]
pub fn seed(root: &Digest, word: &str) -> Digest {
    Digest::of(
        &[
            b"stint/sample/v1\n",
            root.as_bytes().as_slice(),
            word.as_bytes(),
        ]
        .concat(),
    )
}

/// `n` different places of a population, counted from 0, in the order they are drawn; all of them if there are no
/// more than `n`.
///
/// Draw *i* is the first 8 bytes, big-endian, of SHA-256(`seed` ‖ u64be *i*), taken modulo the population. Draws at
/// or above the largest multiple of the population are rejected, or low places would come more often.
#[must_use]
pub fn draw(seed: &Digest, population: u64, n: u64) -> Vec<u64> {
    if population == 0 {
        return Vec::new();
    }
    let wanted = n.min(population);
    // 2^64 mod population: how many draws at the top have no full round of places.
    let ragged = (u64::MAX % population + 1) % population;
    let mut seen = BTreeSet::new();
    let mut places = Vec::new();
    for i in 0.. {
        if crate::tree::count(&places) == wanted {
            break;
        }
        let draw = number(seed, i);
        let place = draw % population;
        if draw <= u64::MAX - ragged && seen.insert(place) {
            places.push(place);
        }
    }
    places
}

fn number(seed: &Digest, i: u64) -> u64 {
    let hash = Digest::of(&[seed.as_bytes().as_slice(), &i.to_be_bytes()].concat());
    let (first, _) = hash.as_bytes().as_chunks::<8>();
    first.first().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use proptest::{prop_assert, prop_assert_eq};
    use serde::Deserialize;

    use super::{draw, number, seed};
    use crate::Digest;

    #[derive(Deserialize)]
    struct Vector {
        root: Digest,
        nonce: String,
        seed: Digest,
        population: u64,
        n: u64,
        places: Vec<u64>,
    }

    #[test]
    fn draws_as_the_vectors_say() {
        let text = include_str!("../../tests/vectors/sample.json");
        let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
        assert!(vectors.len() >= 6);
        for it in vectors {
            assert_eq!(seed(&it.root, &it.nonce), it.seed, "{}", it.nonce);
            assert_eq!(
                draw(&it.seed, it.population, it.n),
                it.places,
                "{}",
                it.nonce
            );
        }
    }

    #[test]
    fn a_small_population_is_drawn_whole() {
        let seed = Digest::of(b"any");
        let mut all = draw(&seed, 7, 100);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        assert!(draw(&seed, 0, 5).is_empty());
        assert!(draw(&seed, 5, 0).is_empty());
    }

    /// Of so large a population nearly every second draw is above its only multiple.
    #[test]
    fn draws_above_the_largest_multiple_are_rejected() {
        let seed: Digest = "rJZ7308d9VSHGpPv5Hgsmmjv13rxSc8gQ_Pi9qcKbyU"
            .parse()
            .unwrap();
        let expected = [
            9180273554904769347,
            2857265381909894420,
            2384670868766158232,
            2252607941847045393,
            4760966010462095304,
        ];
        assert_eq!(draw(&seed, (1 << 63) + 1, 5), expected);
        assert!(number(&seed, 0) > 1 << 63, "nothing was rejected");
    }

    proptest! {
        #[test]
        fn places_are_different_and_there(word in ".{0,20}", population in 1_u64..5_000, n in 0_u64..200) {
            let seed = seed(&Digest::of(b"root"), &word);
            let places = draw(&seed, population, n);
            prop_assert_eq!(crate::tree::count(&places), n.min(population));
            let distinct: std::collections::BTreeSet<_> = places.iter().collect();
            prop_assert_eq!(distinct.len(), places.len());
            prop_assert!(places.iter().all(|place| *place < population));
            // A longer sample begins with the shorter one.
            prop_assert!(draw(&seed, population, n + 10).starts_with(&places));
        }
    }
}
