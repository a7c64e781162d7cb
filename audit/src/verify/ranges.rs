//! Sets of seqs as half-open ranges, merged as they come, in bounded memory whatever a bundle holds.

use std::collections::BTreeMap;

/// Most ranges of one set; each takes about 32 bytes.
const MAX_RANGES: usize = 1 << 20;

/// A set of seqs, at most [`MAX_RANGES`] ranges of them.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// End by start. INVARIANT: non-empty, and no two touch.
    ends: BTreeMap<u64, u64>,
    full: bool,
}

impl Ranges {
    /// Adds [`start`, `end`), which is not empty.
    pub(super) fn add(&mut self, [mut start, mut end]: [u64; 2]) {
        while let Some((&a, &b)) = self.ends.range(..=end).next_back()
            && b >= start
        {
            self.ends.remove(&a);
            start = start.min(a);
            end = end.max(b);
        }
        if self.ends.len() < MAX_RANGES {
            self.ends.insert(start, end);
        } else {
            self.full = true;
        }
    }

    /// Whether a range was left out, because the set was full.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// How many seqs of this set `other` holds too, and the first that it does not.
    pub(super) fn within(&self, other: &Self) -> (u64, Option<u64>) {
        let (mut both, mut first) = (0, None);
        for (&start, &end) in &self.ends {
            let before = other.ends.range(..=start).next_back();
            let inside = other.ends.range(start + 1..end);
            let mut next = start;
            for (&a, &b) in before.into_iter().chain(inside) {
                if a > next {
                    first.get_or_insert(next);
                }
                let (a, b) = (a.max(next), b.min(end));
                both += b.saturating_sub(a);
                next = next.max(b);
            }
            if next < end {
                first.get_or_insert(next);
            }
        }
        (both, first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;

    use super::{MAX_RANGES, Ranges};

    fn ranges(seqs: &[bool]) -> Ranges {
        let mut ranges = Ranges::default();
        for (seq, _) in (0..).zip(seqs).filter(|(_, there)| **there) {
            ranges.add([seq, seq + 1]);
        }
        ranges
    }

    #[test]
    fn what_touches_becomes_one() {
        let mut ranges = Ranges::default();
        for range in [[5, 6], [1, 3], [9, 12], [3, 5], [0, 2], [10, 11]] {
            ranges.add(range);
        }
        assert_eq!(
            ranges.ends.into_iter().collect::<Vec<_>>(),
            [(0, 6), (9, 12)]
        );
    }

    #[test]
    fn a_full_set_says_so_and_grows_no_more() {
        let mut ranges = Ranges::default();
        for n in 0..=u64::try_from(MAX_RANGES).unwrap() {
            assert!(!ranges.is_full());
            ranges.add([2 * n, 2 * n + 1]);
        }
        assert!(ranges.is_full());
        assert_eq!(ranges.ends.len(), MAX_RANGES);
    }

    proptest! {
        #[test]
        fn counts_as_one_would_by_hand(seqs in any::<[(bool, bool); 24]>()) {
            let (here, there): (Vec<_>, Vec<_>) = seqs.into_iter().unzip();
            let both = seqs.iter().filter(|(a, b)| *a && *b).count();
            let first = seqs.iter().position(|(a, b)| *a && !*b);
            let expected = (u64::try_from(both).unwrap(), first.map(|at| u64::try_from(at).unwrap()));
            prop_assert_eq!(ranges(&here).within(&ranges(&there)), expected);
        }
    }
}
