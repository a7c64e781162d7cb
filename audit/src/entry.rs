//! An entry is a header (small, nothing personal, the leaf of the tree) and a body (salted, disclosed one by
//! one, erasable), tied by the body's hash (LEDGER.md §3, §4).
//!
//! [`Header`] writes and parses the exact bytes. Its top level is closed, and one function ([`Header::check`])
//! holds writer and reader to the same form.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Digest;
use crate::canonical::{self, CanonicalError, LintError, MAX_BODY, MAX_DEPTH};
use crate::kind::{Erased, Need, What};
use crate::record;

/// The version of the header's form.
pub const VERSION: u64 = 1;

/// A draft of one entry; the chain adds `seq`, `prev`, `ts`, `node` and the hash of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `gr_ dec_ req_ vote_ task_` by kind, else `ent_`, and 16 bytes as 26 lower-case Crockford base32
    /// characters; unique.
    pub id: String,
    /// Pseudonym of whom the entry is about.
    pub subj: Option<Digest>,
    /// Pseudonym of who acted, where it is somebody else.
    pub by: Option<Digest>,
    /// Pseudonym of the first identity the caller acts for.
    pub behalf: Option<Digest>,
    /// The policy set in force.
    pub pol: Option<Digest>,
    /// The kind and its facts.
    pub what: What,
    /// All that may be personal or private.
    pub body: Body,
}

/// An entry whose body has its bytes: what they are does not change any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The entry.
    pub entry: Entry,
    /// The exact bytes of its body.
    pub body: Vec<u8>,
}

impl Entry {
    /// Gives the body its bytes.
    ///
    /// # Errors
    /// As [`Body::bytes`].
    pub fn seal(self) -> Result<Sealed, FormError> {
        let body = self.body.bytes()?;
        Ok(Sealed { entry: self, body })
    }
}

/// The private half of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// 16 bytes from the OS, new for each body: the header's hash of it says nothing once the body is gone.
    pub salt: [u8; 16],
    /// The members of LEDGER.md §5 for the kind; no floats, no null.
    pub what: Map<String, Value>,
}

impl Body {
    /// The exact bytes, `{"salt":…,"what":{…}}`.
    ///
    /// # Errors
    /// When a value has no canonical spelling, or the whole is longer than [`MAX_BODY`].
    pub fn bytes(&self) -> Result<Vec<u8>, FormError> {
        let mut out = Vec::with_capacity(2_048); // a grant's body is about 1.5 KB
        out.extend_from_slice(br#"{"salt":""#);
        out.extend_from_slice(BASE64URL_NOPAD.encode(&self.salt).as_bytes());
        out.extend_from_slice(br#"","what":"#);
        canonical::write_object(&mut out, &self.what, MAX_DEPTH - 1)?;
        out.push(b'}');
        if out.len() > MAX_BODY {
            return Err(FormError::Body(MAX_BODY));
        }
        Ok(out)
    }

    /// Parses the exact bytes of a body: the lint, then a 22-character salt and an object, nothing else.
    ///
    /// # Errors
    /// Which of the two fails.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            salt: String,
            what: Map<String, Value>,
        }

        let value = canonical::lint(bytes, MAX_BODY, MAX_DEPTH)?;
        let wire: Wire = record::one(value).map_err(FormError::Shape)?;
        let salt = BASE64URL_NOPAD.decode(wire.salt.as_bytes()).ok();
        let salt = salt.and_then(|salt| salt.try_into().ok());
        Ok(Self {
            salt: salt.ok_or(FormError::Salt)?,
            what: wire.what,
        })
    }
}

/// The public half of an entry; its bytes are the leaf of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The origin of the log: an entry cannot be transplanted.
    pub log: Arc<str>,
    /// 0, 1, 2 … without gaps.
    pub seq: u64,
    /// The leaf hash of the entry before; zeros for the first.
    pub prev: Digest,
    /// Commit time, milliseconds; never falls.
    pub ts: u64,
    /// The replica that wrote it.
    pub node: Arc<str>,
    /// Unique id, prefixed by kind.
    pub id: String,
    /// Pseudonym of whom the entry is about.
    pub subj: Option<Digest>,
    /// Pseudonym of who acted, where it is somebody else.
    pub by: Option<Digest>,
    /// Pseudonym of the first identity the caller acts for.
    pub behalf: Option<Digest>,
    /// The policy set in force.
    pub pol: Option<Digest>,
    /// SHA-256 of the body's bytes.
    pub body: Digest,
    /// The kind and its facts.
    pub what: What,
}

/// An entry or its bytes that do not have the form of LEDGER.md §3 to §5.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// The bytes are not canonical.
    #[error(transparent)]
    Lint(#[from] LintError),
    /// A body's value has no canonical spelling.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A member is unknown, missing or of another type.
    #[error("not of its form")]
    Shape(#[source] serde_json::Error),
    /// The header could not be written.
    #[error("the header cannot be written")]
    Write(#[source] serde_json::Error),
    /// The header has a `v` this version does not know.
    #[error("version {0} of the header is not known")]
    Version(u64),
    /// A header member that its kind must carry.
    #[error("a `{kind}` entry carries `{member}`")]
    Missing {
        /// The kind.
        kind: String,
        /// The member.
        member: &'static str,
    },
    /// A header member that its kind must not carry.
    #[error("a `{kind}` entry does not carry `{member}`")]
    Unexpected {
        /// The kind.
        kind: String,
        /// The member.
        member: &'static str,
    },
    /// An id without its prefix, or not 16 bytes in 26 characters.
    #[error("`{id}` is not `{prefix}` and 26 characters of 0-9 and a-z without i, l, o, u")]
    Id {
        /// The text found.
        id: String,
        /// The prefix expected.
        prefix: &'static str,
    },
    /// A replica's name is not `[a-z0-9-]{1,16}`.
    #[error("`{0}` is not a replica's name, [a-z0-9-]{{1,16}}")]
    Node(String),
    /// A kind this version reads but does not write.
    #[error("kind `{0}` is not known")]
    Kind(String),
    /// Ranges that are empty, out of order, more than 100, not `n` seqs in all, or of entries to come.
    #[error("erased ranges are not ascending, of `n` entries before this one, in 1 to 100 parts")]
    Ranges,
    /// `genesis` stands at seq 0 and nowhere else.
    #[error("`genesis` stands at seq 0 and only there")]
    Genesis,
    /// A salt that is not 22 characters of 16 bytes.
    #[error("the salt is not 16 bytes")]
    Salt,
    /// A body longer than allowed; the limit in bytes.
    #[error("the body is longer than {0} bytes")]
    Body(usize),
}

impl Header {
    /// The exact bytes, checked.
    ///
    /// # Errors
    /// When the header does not have the form of its kind, or has no canonical bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, FormError> {
        self.check()?;
        if let What::Foreign(_) = self.what {
            return Err(FormError::Kind(self.what.kind().to_owned()));
        }
        let mut out = Vec::with_capacity(768); // a grant's header is about 0.5 KB
        serde_json::to_writer(&mut out, self).map_err(FormError::Write)?;
        canonical::plain(&out)?;
        Ok(out)
    }

    /// Parses the exact bytes of a header: the lint, the closed top level, the form of its kind.
    ///
    /// # Errors
    /// Which of these fails; [`FormError::Version`] before the form is looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        Self::from_value(canonical::lint_header(bytes)?)
    }

    /// Reads a header from its linted value.
    pub(crate) fn from_value(value: Value) -> Result<Self, FormError> {
        if let Some(v) = value.get("v").and_then(Value::as_u64)
            && v != VERSION
        {
            return Err(FormError::Version(v));
        }
        let wire: Wire = record::one(value).map_err(FormError::Shape)?;
        let header = Self {
            log: wire.log.into(),
            seq: wire.seq,
            prev: wire.prev,
            ts: wire.ts,
            node: wire.node.into(),
            id: wire.id,
            subj: wire.subj,
            by: wire.by,
            behalf: wire.behalf,
            pol: wire.pol,
            body: wire.body,
            what: What::parse(wire.kind, wire.what).map_err(FormError::Shape)?,
        };
        header.check()?;
        Ok(header)
    }

    /// Holds members, ids and the place of `genesis` to the form of the kind.
    fn check(&self) -> Result<(), FormError> {
        check_node(&self.node)?;
        if matches!(self.what, What::Genesis(_)) != (self.seq == 0) {
            return Err(FormError::Genesis);
        }
        let Some((prefix, needs)) = self.what.form() else {
            return Ok(());
        };
        check_id(prefix, &self.id)?;
        for (prefix, id) in self.what.ids().into_iter().flatten() {
            check_id(prefix, id)?;
        }
        let there = [self.subj, self.by, self.behalf, self.pol].map(|member| member.is_some());
        let members = ["subj", "by", "behalf", "pol"].into_iter();
        for ((member, need), there) in members.zip(needs).zip(there) {
            let kind = || self.what.kind().to_owned();
            match (need, there) {
                (Need::Must, false) => {
                    return Err(FormError::Missing {
                        kind: kind(),
                        member,
                    });
                }
                (Need::Never, true) => {
                    return Err(FormError::Unexpected {
                        kind: kind(),
                        member,
                    });
                }
                (Need::Must | Need::Never | Need::May, _) => {}
            }
        }
        match &self.what {
            What::Erased(erased) => self.check_ranges(erased),
            _ => Ok(()),
        }
    }

    /// Only what is there can be erased: a range over entries to come would excuse all that is withheld later.
    fn check_ranges(&self, erased: &Erased) -> Result<(), FormError> {
        let flat: Vec<u64> = erased.ranges.iter().flatten().copied().collect();
        let ascend = flat.len() <= 200 && flat.is_sorted_by(|a, b| a < b);
        let past = flat.last().is_some_and(|end| *end <= self.seq);
        // INVARIANT: ascending and in the past, so no difference is negative and no sum overflows.
        if ascend && past && erased.ranges.iter().map(|[a, b]| b - a).sum::<u64>() == erased.n {
            Ok(())
        } else {
            Err(FormError::Ranges)
        }
    }
}

/// Members in canonical order; an absent one is left out.
impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(behalf) = &self.behalf {
            map.serialize_entry("behalf", behalf)?;
        }
        map.serialize_entry("body", &self.body)?;
        if let Some(by) = &self.by {
            map.serialize_entry("by", by)?;
        }
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("kind", self.what.kind())?;
        map.serialize_entry("log", &*self.log)?;
        map.serialize_entry("node", &*self.node)?;
        if let Some(pol) = &self.pol {
            map.serialize_entry("pol", pol)?;
        }
        map.serialize_entry("prev", &self.prev)?;
        map.serialize_entry("seq", &self.seq)?;
        if let Some(subj) = &self.subj {
            map.serialize_entry("subj", subj)?;
        }
        map.serialize_entry("ts", &self.ts)?;
        map.serialize_entry("v", &VERSION)?;
        map.serialize_entry("what", &self.what)?;
        map.end()
    }
}

/// The closed top level of a header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    behalf: Option<Digest>,
    body: Digest,
    by: Option<Digest>,
    id: String,
    kind: String,
    log: String,
    node: String,
    pol: Option<Digest>,
    prev: Digest,
    seq: u64,
    subj: Option<Digest>,
    ts: u64,
    #[serde(rename = "v")]
    _v: u64,
    what: Map<String, Value>,
}

fn check_id(prefix: &'static str, id: &str) -> Result<(), FormError> {
    let digit = |b: u8| {
        b.is_ascii_digit() || b.is_ascii_lowercase() && !matches!(b, b'i' | b'l' | b'o' | b'u')
    };
    let good = id.strip_prefix(prefix).is_some_and(|rest| {
        // 26 digits have two bits more than 16 bytes: the first is at most 7.
        rest.len() == 26 && rest.bytes().all(digit) && rest.starts_with(|c| c <= '7')
    });
    if good {
        return Ok(());
    }
    let id = id.to_owned();
    Err(FormError::Id { id, prefix })
}

fn check_node(node: &str) -> Result<(), FormError> {
    let word = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-';
    if (1..=16).contains(&node.len()) && node.bytes().all(word) {
        Ok(())
    } else {
        Err(FormError::Node(node.to_owned()))
    }
}

#[cfg(test)]
mod tests;
