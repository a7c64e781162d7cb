//! What operators say to a running broker, over its socket.

use serde::{Deserialize, Serialize};

/// What to freeze, or to free again: exactly one of `all` and `issuer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The evidence of one issuer: `NAME` of `[issuer.NAME]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Why, 500 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// Whom to shut out, to let in again, or to take the passkeys of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// The SPIFFE ID of a workload or a person, as entries have it.
    pub id: String,
    /// Why, 500 characters at most.
    pub reason: String,
}

/// Lets new keys of an issuer count again, after too many changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// `NAME` of `[issuer.NAME]`.
    pub issuer: String,
    /// Why, 500 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// Sends a test notice to a target now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NoticeTest {
    /// `NAME` of `[notify.NAME]`.
    pub name: String,
}

/// How a test notice went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NoticeTested {
    /// Whether the receiver took it.
    pub sent: bool,
    /// What kept it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// How far it came: `prepare`, `reach` or `accept` is what failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// Where to write a backup: a new folder on the broker's machine, an absolute path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The folder.
    pub dir: String,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The log.
    pub log: String,
    /// Its entries in the copy, which were hashed again.
    pub size: u64,
    /// Its root there, base64url.
    pub root: String,
}

/// Whose bodies are to go, or which. At least one of the three lists names something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Half-open ranges of entries, `[from, to]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seqs: Vec<[u64; 2]>,
    /// Grants, `gr_…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// SPIFFE IDs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// `request`, `order` or `retention`.
    pub basis: String,
    /// The number it was asked for under, 100 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// What was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The entry that says so.
    pub seq: u64,
    /// Bodies.
    pub n: u64,
    /// Half-open ranges of entries.
    pub ranges: Vec<[u64; 2]>,
}

/// Entries below a place go into an archive, and then from the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// The first entry that stays: a multiple of 65,536.
    pub below: u64,
    /// A file that is not there yet, from the root.
    pub archive: String,
}

/// What was pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The log.
    pub log: String,
    /// The entry that says so.
    pub seq: u64,
    /// The first entry from which on all are there.
    pub below: u64,
    /// SHA-256 of the archive, base64url.
    pub archive: String,
    /// Entries below that stay, because they bind.
    pub kept: u64,
    /// Whether the rows are gone. On a server its owner deletes them.
    pub swept: bool,
}

/// What such a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether anything changed; it may have been so already.
    pub changed: bool,
    /// The entry that says so, if anything changed.
    pub seq: Option<u64>,
}

/// What a whole pass over the ledger saw. Nothing is otherwise than it was signed, or there is a problem instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Entries, each of them hashed.
    pub entries: u64,
    /// Bodies that are there, each of them hashed.
    pub bodies: u64,
    /// Bodies that are gone, as an entry says.
    pub erased: u64,
    /// Rows that were made again from the entries.
    pub mended: u64,
}
