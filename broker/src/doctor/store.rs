//! The store, the head and the pin: by the broker that has them, or as they lie there.

use stint_audit::Checkpoint;
use stint_policy::Timestamp;

use super::{Finding, running};
use crate::config::Config;
use crate::doctor::server;
use crate::store::Error;
use crate::store::engine::sqlite::{OLDEST, number};
use crate::store::look::{Look, look as look_at};
use crate::store::place::{self, PlaceError};

pub(super) async fn look(config: &Config, now: Timestamp) -> Vec<Finding> {
    let Some(path) = config.store.url.path() else {
        return server::look(config, now).await;
    };
    let shown = path.display();
    let mut findings = Vec::new();
    if let Err(error) = place::check(path) {
        findings.push(Finding::failed(
            "store",
            error.to_string(),
            "move [store] url to a local disk",
        ));
    }
    if !path.exists() {
        let text = format!("there is no {shown}");
        findings.push(Finding::failed(
            "store",
            text,
            "stintd init DIR begins one; a lost one is restored from a backup",
        ));
        return findings;
    }
    match look_at(path, &config.ledger.origin).await {
        Ok(seen) => {
            findings.extend(judge(&seen));
            findings.extend(head(seen.head, config, now));
        }
        Err(Error::Place(PlaceError::Busy(_))) => {
            findings.extend(running::checks(&config.ops.socket).await);
        }
        Err(error) => findings.push(Finding::failed(
            "store",
            error.to_string(),
            "run this as the broker's user",
        )),
    }
    findings
}

fn judge(seen: &Look) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Look {
        journal,
        schema,
        engine,
        ..
    } = seen;
    if number(engine) < OLDEST {
        let text = format!("SQLite {engine} can corrupt a database of this kind");
        findings.push(Finding::failed(
            "store",
            text,
            "install a build with SQLite 3.51.3 or later",
        ));
    }
    if journal != "wal" {
        let text = format!("journal mode {journal}");
        findings.push(Finding::warning(
            "store",
            text,
            "stintd serve sets it to wal and reads it back",
        ));
    }
    let (applied, known) = schema;
    if applied > known {
        let text = format!("schema {applied} is newer than this program's {known}");
        findings.push(Finding::failed(
            "store",
            text,
            "install the version that last served this store",
        ));
    } else if applied < known {
        let text = format!("schema {applied} will become {known} at the next start");
        findings.push(Finding::warning(
            "store",
            text,
            "back the store up before that",
        ));
    }
    if findings.is_empty() {
        let text = format!("SQLite {engine}, {journal}, schema {applied}");
        findings.push(Finding::ok("store", text));
    }
    findings
}

/// The head against the pin, and its time against the clock. All else is checked at every start.
pub(super) fn head(seen: Option<(i64, i64)>, config: &Config, now: Timestamp) -> Vec<Finding> {
    let Some((size, last)) = seen else {
        let text = format!("{} has not begun in this store", config.ledger.origin);
        return vec![Finding::failed(
            "ledger",
            text,
            "stintd init DIR begins one",
        )];
    };
    let mut findings = vec![against_pin(size, config)];
    if last > now.as_millis().saturating_add(SKEW_MS) {
        let text = "this clock is behind the last entry of the ledger";
        findings.push(Finding::failed(
            "clock",
            text,
            "set the clock; check its time service",
        ));
    }
    findings
}

fn against_pin(size: i64, config: &Config) -> Finding {
    let pin = &config.ledger.pin;
    let shown = pin.display();
    let note = match std::fs::read_to_string(pin) {
        Ok(note) => note,
        Err(error) => {
            let text = format!("the pin {shown}: {error}; a rolled back store would not show");
            return Finding::warning("ledger", text, "it is written while the broker serves");
        }
    };
    let Ok((checkpoint, _)) = Checkpoint::parse_note(&note) else {
        let text = format!("the pin {shown} is no checkpoint");
        return Finding::failed(
            "ledger",
            text,
            "find out who wrote it, before the broker is started",
        );
    };
    match u64::try_from(size) {
        Ok(size) if size >= checkpoint.size => {
            let text = format!("{size} entries, the pin knows {}", checkpoint.size);
            Finding::ok("ledger", text)
        }
        Ok(_) | Err(_) => {
            let text = format!("head {size} is behind the pin's {}", checkpoint.size);
            Finding::failed(
                "ledger",
                text,
                "the store was rolled back: restore the newest, and keep both",
            )
        }
    }
}

/// LEDGER.md §8: how far clocks may be apart.
pub(super) const SKEW_MS: i64 = 5_000;
