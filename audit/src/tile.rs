//! C2SP `tlog-tiles`: which tiles a size has, where they lie and what is in them (LEDGER.md §13). Paths and
//! bytes only; writing them, in what order and never over other bytes, is the exporter's.

mod edge;
mod plan;

use std::fmt;

use crate::Digest;
use crate::checkpoint::decimal;
use crate::tree;

pub use edge::{Edge, Full};
pub use plan::{Hashes, Plan};

/// Hashes in a full tile; a level's nodes are the roots of full tiles one level down.
pub const WIDTH: u64 = 256;

/// One tile of a log: a run of hashes, or at level 0 also of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// 0 for leaf hashes, at most 7: 256^8 exceeds every size.
    pub level: u8,
    /// Its place in the level.
    pub index: u64,
    /// How many hashes, 1 to [`WIDTH`]; fewer than that is a partial tile.
    pub width: u64,
}

impl Tile {
    /// All tiles of a log of `size` entries, level by level; at most one partial tile a level, the last.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        (0..8).flat_map(move |level| {
            let hashes = size >> (8 * u32::from(level));
            let full = (0..hashes / WIDTH).map(move |index| (index, WIDTH));
            let partial = Some((hashes / WIDTH, hashes % WIDTH)).filter(|(_, width)| *width > 0);
            full.chain(partial).map(move |(index, width)| Self {
                level,
                index,
                width,
            })
        })
    }

    /// The tile (`level`, `index`) of a log of `size` entries, as wide as it is there. `None` if it has none.
    #[must_use]
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(8 * u32::from(level))?;
        let before = index.checked_mul(WIDTH)?;
        let width = hashes.saturating_sub(before).min(WIDTH);
        (width > 0).then_some(Self {
            level,
            index,
            width,
        })
    }

    /// The sizes of a log at which this tile is exactly as wide as it is: from the first to before the second. `None`
    /// beyond what sizes can be. A full tile stays as it is.
    #[must_use]
    pub fn sizes(&self) -> Option<(u64, u64)> {
        let hashes = self.index.checked_mul(WIDTH)?.checked_add(self.width)?;
        let unit = 1_u64.checked_shl(8 * u32::from(self.level))?;
        let first = hashes.checked_mul(unit)?;
        match self.width {
            WIDTH => Some((first, u64::MAX)),
            _ => Some((first, first.checked_add(unit)?)),
        }
    }

    /// Reads `N[.p/W]` of a tile of `level`, in its one spelling.
    #[must_use]
    pub fn parse(level: u8, place: &str) -> Option<Self> {
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (index, decimal(width)?),
            None => (place, WIDTH),
        };
        let digits = index.split('/').map(|group| group.trim_start_matches('x'));
        let digits: String = digits.collect();
        let tile = Self {
            level,
            index: digits.parse().ok()?,
            width,
        };
        let fits = level < 8 && (1..=WIDTH).contains(&width);
        (fits && tile.place().to_string() == place).then_some(tile)
    }

    /// `tile/L/N[.p/W]`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.place())
    }

    /// `tile/entries/N[.p/W]`: the bundle of the entries under a tile of level 0.
    #[must_use]
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.place())
    }

    /// N in groups of three digits, all but the last with `x`, and the width of a partial tile.
    fn place(&self) -> Place {
        Place(*self)
    }
}

struct Place(Tile);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { index, width, .. } = self.0;
        let mut groups = vec![format!("{:03}", index % 1_000)];
        let mut rest = index / 1_000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1_000));
            rest /= 1_000;
        }
        groups.reverse();
        f.write_str(&groups.join("/"))?;
        if width < WIDTH {
            write!(f, ".p/{width}")?;
        }
        Ok(())
    }
}

/// The bytes of a tile: its hashes one after the other, 32 bytes each.
#[must_use]
pub fn hash_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes
        .iter()
        .flat_map(|hash| *hash.as_bytes())
        .collect::<Vec<_>>()
}

/// The hashes of a tile's bytes, 1 to [`WIDTH`] of 32 bytes. `None` for bytes that are no tile.
#[must_use]
pub fn hashes(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let fits = rest.is_empty() && (1..=WIDTH).contains(&tree::count(hashes));
    fits.then(|| hashes.iter().copied().map(Digest::from_bytes).collect())
}

/// The hash one level up that stands for a full tile: the root over its 256 hashes. `None` for a partial one.
#[must_use]
pub fn parent(hashes: &[Digest]) -> Option<Digest> {
    (tree::count(hashes) == WIDTH).then(|| tree::root(hashes))
}

/// An entry that cannot stand in a bundle: its length does not fit two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {0} bytes does not fit a tile, which allows 65,535")]
pub struct EntryTooLong(pub usize);

/// The bytes of an entry bundle: for each header its length (2 bytes, big-endian) and itself.
///
/// # Errors
/// [`EntryTooLong`]; headers of ours never are.
pub fn entry_bytes<T: AsRef<[u8]>>(headers: &[T]) -> Result<Vec<u8>, EntryTooLong> {
    let mut out = Vec::new();
    for header in headers {
        let header = header.as_ref();
        let Ok(length) = u16::try_from(header.len()) else {
            return Err(EntryTooLong(header.len()));
        };
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(header);
    }
    Ok(out)
}

/// The entries of a bundle. `None` if the bytes end within one.
#[must_use]
pub fn entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        bundle = rest;
    }
    bundle.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests;
