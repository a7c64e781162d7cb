//! Handing the ledger out: as bundles that verify by themselves, or as rows for other programs. Each export is an entry,
//! made before anything leaves.

mod moment;

use std::collections::BTreeSet;
use std::fs::File;

use serde_json::{Map, json};
use stint_audit::Entry;
use stint_audit::bundle::VERIFY_HTML;
use stint_audit::kind::{Admin, AdminOp};

use crate::issue::Broker;
use crate::ledger::{self, ExportError, Order, Whose};
use crate::sinks::feed::{Disclosed, Feed};
use crate::sinks::format::Format;

pub(crate) use moment::Place;

/// What somebody wants to have.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The first entry.
    pub from: Option<Place>,
    /// One past the last.
    pub to: Option<Place>,
    /// Kinds of entries whose bodies go along; absent: all.
    pub kinds: Option<BTreeSet<String>>,
    /// Sizes of checkpoints that somebody keeps.
    pub since: Vec<u64>,
    /// Identities that are disclosed by name.
    pub opened: Vec<String>,
}

/// Rows of a range, to be read page by page.
#[derive(Debug)]
pub struct Rows {
    feed: Feed,
    next: u64,
    to: u64,
}

impl Broker {
    /// A bundle, for the operator `uid`.
    ///
    /// # Errors
    /// [`ExportError`]; an export that cannot be recorded does not happen.
    pub async fn export(&self, uid: u32, wanted: Wanted) -> Result<File, ExportError> {
        let (from, to) = self.range(&wanted).await?;
        self.record_export(uid, (from, to), &wanted, "bundle")
            .await?;
        let order = Order {
            from,
            to,
            kinds: wanted.kinds,
            since: wanted.since,
            opened: wanted.opened,
            receipts: false,
            files: self.trust_files(),
        };
        self.ledger.bundle(order, self.millis()).await
    }

    /// A bundle of the one entry that `id` names, and its own id: a seq, an id or the unique beginning of one, a serial,
    /// a `jti`, the hash of what was signed.
    ///
    /// # Errors
    /// [`ExportError::Unknown`] if there is no such entry, or more than one.
    pub async fn prove(&self, uid: u32, id: &str) -> Result<(String, File), ExportError> {
        let none = || ExportError::Unknown(format!("no one entry of the ledger is `{id}`"));
        let found = match id.parse() {
            Ok(seq) if seq < self.ledger.published().size => Some(self.ledger.prove(seq).await?),
            // All digits can be a serial as well.
            Ok(_) => self.ledger.find_credential(id).await?,
            Err(_) => match self.ledger.find(id, Whose::Any).await? {
                Some(found) => Some(found),
                None => self.ledger.find_credential(id).await?,
            },
        };
        let header = found.ok_or_else(none)?.header;
        let range = (header.seq, Some(header.seq + 1));
        self.record_export(uid, range, &Wanted::default(), "proof")
            .await?;
        let order = Order {
            from: header.seq,
            to: range.1,
            receipts: true,
            files: self.trust_files(),
            ..Order::default()
        };
        Ok((header.id, self.ledger.bundle(order, self.millis()).await?))
    }

    /// The rows of a range in another format.
    ///
    /// # Errors
    /// As [`Self::export`].
    pub async fn rows(
        &self,
        uid: u32,
        wanted: Wanted,
        (format, word): (Format, &str),
    ) -> Result<Rows, ExportError> {
        let (from, to) = self.range(&wanted).await?;
        self.record_export(uid, (from, to), &wanted, word).await?;
        let size = self.ledger.published().size;
        let to = to.unwrap_or(size);
        if from >= to || to > size {
            return Err(ExportError::Range { from, to, size });
        }
        let bodies = match wanted.kinds {
            None => vec!["*".to_owned()],
            Some(kinds) => kinds.into_iter().collect(),
        };
        let feed = Feed::new(&self.store, &self.ledger, (format, Disclosed::new(bodies)));
        Ok(Rows {
            feed,
            next: from,
            to,
        })
    }

    async fn range(&self, wanted: &Wanted) -> Result<(u64, Option<u64>), ExportError> {
        let from = match wanted.from {
            None => self.ledger.floor(),
            Some(place) => self.seq_of(place).await?,
        };
        let to = match wanted.to {
            None => None,
            Some(place) => Some(self.seq_of(place).await?),
        };
        // Before it is recorded: what is no range is no export.
        let size = self.ledger.published().size;
        let end = to.unwrap_or(size);
        if from >= end || end > size {
            return Err(ExportError::Range {
                from,
                to: end,
                size,
            });
        }
        self.ledger.has(from, end)?;
        Ok((from, to))
    }

    /// Who took what, before it leaves.
    async fn record_export(
        &self,
        uid: u32,
        (from, to): (u64, Option<u64>),
        wanted: &Wanted,
        what: &str,
    ) -> Result<(), ledger::Error> {
        let id = format!("local:{uid}");
        let actor = self.ledger.subject(&id);
        let mut target = json!({ "as": what, "from": from });
        if let Some(members) = target.as_object_mut() {
            members.extend(to.map(|to| ("to".to_owned(), json!(to))));
            let kinds = wanted.kinds.as_ref();
            members.extend(kinds.map(|kinds| ("kinds".to_owned(), json!(kinds))));
        }
        let mut body = Map::new();
        let who = json!({ "id": id, "open": actor.open.to_string() });
        body.insert("actor".to_owned(), who);
        body.insert("target".to_owned(), target);
        let exported = Admin {
            n: to.map(|to| to - from),
            of: Some(from),
            op: AdminOp::Exported,
        };
        let entry = Entry {
            by: Some(actor.pseudonym),
            ..ledger::note(exported, None, body)
        };
        self.ledger.record(entry, None, Vec::new()).await.map(drop)
    }

    /// What helps whoever has the bundle and nothing else. None of it is evidence.
    fn trust_files(&self) -> Vec<(String, Vec<u8>)> {
        let jwks = self.ca.jwks().to_string();
        vec![
            ("trust/ca.pem".to_owned(), self.ca.trust_bundle_pem().into()),
            ("trust/jwks.json".to_owned(), jwks.into_bytes()),
            (VERIFY_HTML.to_owned(), PAGE.to_vec()),
        ]
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(0)
    }
}

impl Rows {
    /// The next lines, LF behind each; nothing at the end.
    ///
    /// # Errors
    /// What is stored cannot be read, or is not what was hashed.
    pub async fn page(&mut self) -> Result<Option<Vec<u8>>, crate::sinks::feed::FeedError> {
        if self.next >= self.to {
            return Ok(None);
        }
        let most = usize::try_from(self.to - self.next).unwrap_or(usize::MAX);
        let events = self.feed.page(self.next, most.min(MOST)).await?;
        let mut lines = Vec::new();
        for event in &events {
            lines.extend_from_slice(&event.line);
            lines.push(b'\n');
        }
        self.next += u64::try_from(events.len()).unwrap_or(u64::MAX);
        Ok(Some(lines))
    }
}

/// The verifier for browsers, one page without a network.
const PAGE: &[u8] = include_bytes!("../../clients/javascript/verify.html");
/// Rows of one page.
const MOST: usize = 512;
