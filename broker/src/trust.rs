//! Whose word counts, on record: key sets of issuers that change, and what operators say (`acts`).
//!
//! A change is an entry first and takes effect then. After a start, the entries say what holds: rows say only how old it
//! is.

mod acts;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stint_audit::kind::{Admin, AdminOp, KeyAdded, KeyUse};
use stint_audit::{Digest, Entry};
use stint_policy::{Seconds, Timestamp};
use tokio::sync::mpsc;

use crate::authenticate::register::{Filing, KeyChange, KeyFetch, Recorded, RecordedKey};
use crate::issue::Broker;
use crate::ledger::{self, SetEntry};
use crate::store::{FetchRow, Write};

pub use acts::{Act, Done, Refused};

/// Records what issuers' keys do, in order, until nobody can say anything any more.
pub async fn keep(broker: Arc<Broker>, mut filings: mpsc::Receiver<Filing>) {
    while let Some(filing) = filings.recv().await {
        let ledger = &broker.ledger;
        let recorded = match filing {
            Filing::Fetched(fetch) => ledger.settle(vec![fetched(&fetch)]).await,
            Filing::Degraded(issuer) => ledger
                .record(admin(AdminOp::IssuerDegraded, &issuer), None, Vec::new())
                .await
                .map(drop),
            Filing::Changed(change, durable) => {
                let row = fetched(&change.fetch);
                let entry = added(&change);
                match ledger.record(entry, None, vec![row]).await {
                    Ok(_) => {
                        tell(&change);
                        // Whoever asked may be gone: the set is on record all the same.
                        durable.send(()).unwrap_or_default();
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = recorded {
            tracing::warn!(%error, "what an issuer's keys did could not be recorded");
        }
    }
}

/// The sets that may serve again after a start: for each issuer the newest entry, and only where a row says when that
/// very set was last fetched. `sets`: newest first.
#[must_use]
pub fn recorded(sets: &[SetEntry], rows: &[FetchRow]) -> Vec<Recorded> {
    rows.iter()
        .filter_map(|row| {
            let of_issuer = |set: &&SetEntry| set.body.get("issuer") == Some(&json!(row.issuer));
            let newest = sets.iter().find(of_issuer)?;
            let ours = newest.key.to_string() == row.key;
            let mut recorded = ours.then(|| parse(newest, row))??;
            recorded.changes = sets
                .iter()
                .filter(of_issuer)
                .map(|set| Timestamp::from_millis(ledger_time(set.ts)))
                .take_while(|at| recorded.fetch.at < at.plus(HOUR))
                .collect();
            Some(recorded)
        })
        .collect()
}

fn parse(set: &SetEntry, row: &FetchRow) -> Option<Recorded> {
    let keys = set.body.get("public")?.as_array()?;
    let key = |key: &Value| {
        Some(RecordedKey {
            jwk: key.get("jwk")?.as_object()?.clone(),
            since: Timestamp::from_millis(key.get("since")?.as_i64()?),
        })
    };
    Some(Recorded {
        fetch: KeyFetch {
            issuer: row.issuer.as_str().into(),
            key: *set.key.as_bytes(),
            at: Timestamp::from_millis(row.fetched),
        },
        keys: keys.iter().map(key).collect::<Option<_>>()?,
        source: set.body.get("source")?.as_str()?.to_owned(),
        changes: Vec::new(),
    })
}

fn ledger_time(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn fetched(fetch: &KeyFetch) -> Write {
    Write::Fetched(FetchRow {
        issuer: fetch.issuer.to_string(),
        key: Digest::from_bytes(fetch.key).to_string(),
        fetched: fetch.at.as_millis(),
    })
}

/// `key_added`, of a whole set: the newest replaces the one before. Public keys are in it, so that it can serve again.
fn added(change: &KeyChange) -> Entry {
    let list = |keys: &[[u8; 32]]| -> Vec<String> {
        keys.iter()
            .map(|key| Digest::from_bytes(*key).to_string())
            .collect()
    };
    let public: Vec<Value> = change
        .keys
        .iter()
        .map(|key| json!({ "jwk": key.jwk, "since": key.since.as_millis() }))
        .collect();
    let mut body = Map::new();
    body.insert("issuer".to_owned(), json!(&*change.fetch.issuer));
    body.insert("added".to_owned(), json!(list(&change.added)));
    body.insert("removed".to_owned(), json!(list(&change.removed)));
    body.insert("source".to_owned(), json!(change.source));
    let public = Value::Array(public);
    // A set too large for an entry is recorded by its thumbprints, and is fetched anew after a start.
    if public.to_string().len() <= MAX_PUBLIC {
        body.insert("public".to_owned(), public);
    }
    let what = KeyAdded {
        key: Digest::from_bytes(change.fetch.key),
        not_after: None,
        usage: KeyUse::Issuer,
        vkey: None,
    };
    ledger::note(what, None, body)
}

fn tell(change: &KeyChange) {
    tracing::info!(
        issuer = &*change.fetch.issuer,
        added = change.added.len(),
        removed = change.removed.len(),
        source = change.source,
        "an issuer's keys changed"
    );
}

fn admin(op: AdminOp, issuer: &str) -> Entry {
    let mut body = Map::new();
    body.insert("target".to_owned(), json!(issuer));
    let admin = Admin {
        n: None,
        of: None,
        op,
    };
    ledger::note(admin, None, body)
}

/// Beside it a body holds thumbprints and names, 16 KiB at most of the 64 an entry may have (LEDGER.md §2).
const MAX_PUBLIC: usize = 44 * 1024;

const HOUR: Seconds = Seconds::new(3600);
