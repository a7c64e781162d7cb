//! Entries and their proofs, found by what is known of them. What the index says is a hint: an entry that is found is
//! proven under the head we signed, or nobody gets it.

use stint_audit::entry::Header;
use stint_audit::receipt::Proof;
use stint_audit::tile::Tile;
use stint_audit::tree::{leaf_hash, verify_consistency, verify_inclusion};
use stint_audit::{Checkpoint, Digest, What};

use super::Ledger;
use super::tiles::TileError;
use crate::store::trail::{BatchRow, signed};

/// An entry, proven.
#[derive(Debug, Clone)]
pub struct ProvenEntry {
    /// Its header.
    pub header: Header,
    /// The receipt: the exact header, its path, and the newest checkpoint.
    pub proof: Proof,
}

/// Whose entries are looked for.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Those about this pseudonym.
    Own(&'a Digest),
    /// All.
    Any,
}

impl Ledger {
    /// PATH of entry `seq` in the tree of `size`, at most the published one.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn inclusion(&self, seq: u64, size: u64) -> Result<Vec<Digest>, TileError> {
        self.within(size)?;
        self.tiles.inclusion(seq, size).await
    }

    /// PROOF that the tree of `size` extends the one of `first`; empty if they are equal.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn consistency(&self, first: u64, size: u64) -> Result<Vec<Digest>, TileError> {
        self.within(size)?;
        self.tiles.consistency(first, size).await
    }

    /// The same between two heads that are believed; a proof that does not hold is no proof.
    ///
    /// # Errors
    /// [`TileError::Conflict`] if it does not hold.
    pub async fn consistency_of(
        &self,
        first: &Checkpoint,
        second: &Checkpoint,
    ) -> Result<Vec<Digest>, TileError> {
        let proof = self.consistency(first.size, second.size).await?;
        let (old, new) = ((first.size, &first.root), (second.size, &second.root));
        match verify_consistency(old, new, &proof) {
            true => Ok(proof),
            false => Err(TileError::Conflict(format!("the tree of {}", second.size))),
        }
    }

    fn within(&self, size: u64) -> Result<(), TileError> {
        let published = self.published().size;
        match size <= published {
            true => Ok(()),
            false => Err(TileError::Range(published)),
        }
    }

    /// The hashes of a tile, if the log was published when the tile was exactly that wide; else nothing.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn tile(&self, tile: &Tile) -> Result<Option<Vec<Digest>>, TileError> {
        match self.was_published(tile).await? {
            true => {
                self.tiles.grow(self.published().size).await?;
                self.tiles.tile(tile).await.map(Some)
            }
            false => Ok(None),
        }
    }

    /// Whether a size was published at which `tile` is exactly that wide. Every commit was.
    async fn was_published(&self, tile: &Tile) -> Result<bool, TileError> {
        let size = self.published().size;
        let Some((first, end)) = tile.sizes() else {
            return Ok(false);
        };
        if first > size {
            return Ok(false);
        }
        Ok(size < end || self.store.was_of_size(first, end).await?)
    }

    /// The headers under a tile of level 0: their exact bytes, each of its leaf.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn entries_of(&self, tile: &Tile) -> Result<Option<Vec<Vec<u8>>>, TileError> {
        if !self.was_published(tile).await? {
            return Ok(None);
        }
        let from = tile.index * stint_audit::tile::WIDTH;
        self.headers(from, from + tile.width).await.map(Some)
    }

    /// The headers of `[from, to)`, all of them, each of its leaf.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn headers(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, TileError> {
        self.within(to)?;
        self.has(from, to)?;
        let mut headers = Vec::new();
        let mut next = from;
        while next < to {
            let began = next;
            let batches = self
                .store
                .batches(signed(next), signed(to), BATCHES)
                .await?;
            let entries = batches.iter().flat_map(BatchRow::entries);
            let leaves = batches.iter().flat_map(BatchRow::leaves);
            for ((seq, header), leaf) in entries.zip(leaves) {
                if seq != next || seq >= to {
                    continue;
                }
                if leaf_hash(header) != leaf {
                    return Err(TileError::Conflict(format!("entry {seq}")));
                }
                headers.push(header.to_vec());
                next += 1;
            }
            if next == began {
                return Err(TileError::Missing(next));
            }
        }
        Ok(headers)
    }

    /// The receipt of entry `seq` under the newest checkpoint. A stored tile that makes it fail is evidence: the log is
    /// diverged from then on.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn prove(&self, seq: u64) -> Result<ProvenEntry, TileError> {
        let published = self.published();
        self.prove_under(seq, &published.checkpoint).await
    }

    /// The same under a checkpoint that witnesses have cosigned, where there are any and they answer soon.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn receipt(&self, seq: u64) -> Result<ProvenEntry, TileError> {
        let witnessed = self.witnessed(seq.saturating_add(1)).await;
        self.prove_under(seq, &witnessed.checkpoint).await
    }

    async fn prove_under(&self, seq: u64, note: &str) -> Result<ProvenEntry, TileError> {
        let wrong = |_error| TileError::Conflict("the published checkpoint".to_owned());
        let (checkpoint, _) = Checkpoint::parse_note(note).map_err(wrong)?;
        let size = checkpoint.size;
        if seq >= size {
            return Err(TileError::Range(size));
        }
        let mut found = self.proven(seq, &checkpoint).await;
        if let Err(TileError::Missing(_)) = &found {
            // Or another replica cut the log just now.
            self.learn_cut().await?;
            found = self.proven(seq, &checkpoint).await;
        }
        if let Err(error @ (TileError::Conflict(_) | TileError::Missing(_))) = &found {
            self.accuse(error.to_string());
        }
        let (header, extra, path) = found?;
        let proof = Proof {
            extra: Some(extra),
            index: seq,
            path,
            checkpoint: note.to_string(),
        };
        Ok(ProvenEntry { header, proof })
    }

    async fn proven(
        &self,
        seq: u64,
        checkpoint: &Checkpoint,
    ) -> Result<(Header, Vec<u8>, Vec<Digest>), TileError> {
        let entry = || TileError::Conflict(format!("entry {seq}"));
        let size = checkpoint.size;
        let bytes = self.headers(seq, seq + 1).await?.pop().ok_or_else(entry)?;
        let path = self.tiles.inclusion(seq, size).await?;
        if !verify_inclusion(&leaf_hash(&bytes), seq, size, &path, &checkpoint.root) {
            self.tiles.suspect_inclusion(seq, size).await?;
            return Err(entry());
        }
        let header = Header::parse(&bytes).map_err(|_form| entry())?;
        Ok((header, bytes, path))
    }

    /// The one entry whose id is, or begins with, `id`. Nothing if there is none, several, or it is not theirs.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn find(&self, id: &str, whose: Whose<'_>) -> Result<Option<ProvenEntry>, TileError> {
        // The newest first: what the index takes up meanwhile is then seen twice, not never.
        let newest = self.unindexed(|it| is_of(it, id) && is_theirs(it, whose));
        let mut seqs = newest.await?;
        for prefix in spellings(id) {
            seqs.extend(match whose {
                Whose::Any => self.store.seqs_of_id(&prefix).await?,
                Whose::Own(subj) => {
                    self.store
                        .seqs_of_own_id(&prefix, &subj.to_string())
                        .await?
                }
            });
        }
        let proven = self.prove_found(seqs).await?;
        Ok(proven.filter(|it| is_of(&it.header, id) && is_theirs(&it.header, whose)))
    }

    /// The one grant of this serial, `jti` or hash of the signed bytes.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn find_credential(&self, unique: &str) -> Result<Option<ProvenEntry>, TileError> {
        // A serial or `jti` is a row of the grant's own commit; the hash is the index's, which comes later.
        let newest = self.unindexed(|it| is_over(it, unique));
        let mut seqs = newest.await?;
        seqs.extend(self.store.seqs_of_credential(unique).await?);
        self.prove_found(seqs).await
    }

    /// The one place that was found. A row may name one that there is not.
    async fn prove_found(&self, mut seqs: Vec<u64>) -> Result<Option<ProvenEntry>, TileError> {
        seqs.sort_unstable();
        seqs.dedup();
        let [seq] = seqs.as_slice() else {
            return Ok(None);
        };
        match self.prove(*seq).await {
            Ok(proven) => Ok(Some(proven)),
            Err(TileError::Pruned { .. } | TileError::Range(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Entries that are too new for the index.
    async fn unindexed(&self, is_wanted: impl Fn(&Header) -> bool) -> Result<Vec<u64>, TileError> {
        let size = self.published().size;
        let from = self
            .store
            .derived()
            .await?
            .max(size.saturating_sub(NEWEST))
            .min(size);
        let headers = self.headers(from, size).await?;
        let parsed = headers.iter().filter_map(|bytes| Header::parse(bytes).ok());
        let wanted = parsed.filter(is_wanted);
        Ok(wanted.map(|header| header.seq).collect())
    }
}

/// A decision's `dec_` id has the characters of the entry that records it, whatever that is (LEDGER.md §3).
fn spellings(id: &str) -> Vec<String> {
    match id.strip_prefix("dec_") {
        Some(rest) => ["dec_", "gr_", "req_"]
            .map(|kind| format!("{kind}{rest}"))
            .to_vec(),
        None => vec![id.to_owned()],
    }
}

fn is_of(header: &Header, id: &str) -> bool {
    spellings(id)
        .iter()
        .any(|id| header.id.starts_with(id.as_str()))
}

fn is_over(header: &Header, tbs: &str) -> bool {
    matches!(&header.what, What::Granted(it) if it.tbs.to_string() == tbs)
}

fn is_theirs(header: &Header, whose: Whose<'_>) -> bool {
    match whose {
        Whose::Any => true,
        Whose::Own(subj) => header.subj.as_ref() == Some(subj),
    }
}

/// Batches read at once.
const BATCHES: i64 = 16;
/// The index is behind by a second; this many entries are looked through besides.
const NEWEST: u64 = 4_096;
