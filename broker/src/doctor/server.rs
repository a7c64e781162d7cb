//! A PostgreSQL server under the ledger, as a broker would find it: reach, settings, rights, schema, head and clock.

use std::error::Error as _;

use stint_policy::Timestamp;

use super::{Finding, running, store};
use crate::config::Config;
use crate::store::look::{ServerLook, look_at_server};
use crate::store::{Error, Location};

pub(super) async fn look(config: &Config, now: Timestamp) -> Vec<Finding> {
    let server = match config.store.location() {
        Ok(Location::Server(server)) => server,
        Ok(Location::File(_)) => return Vec::new(),
        Err(error) => {
            let fix = "[store] password names a file that only the broker's user can read";
            return vec![Finding::failed("store", error.to_string(), fix)];
        }
    };
    let seen = match look_at_server(&server, &config.ledger.origin).await {
        Ok(seen) => seen,
        Err(error) => return vec![unreached(&error)],
    };
    let mut findings = judge(&server.shown(), &seen);
    findings.extend(clocks(&seen, now));
    let asked = running::checks(&config.ops.socket).await;
    let is_running = asked.iter().any(|finding| finding.check == "ledger");
    if is_running {
        findings.extend(asked);
    } else if seen.schema.0 > 0 {
        findings.extend(store::head(seen.head, config, now));
    }
    findings
}

/// What the server said, or the way there.
fn unreached(error: &Error) -> Finding {
    let code = match error {
        Error::Database { source, .. } => source.as_database_error().and_then(|error| error.code()),
        _ => None,
    };
    let fix = match code.as_deref() {
        Some("28P01" | "28000") => {
            "look at the user in [store] url, at [store] password and at the server's pg_hba.conf"
        }
        Some("3D000") => "make the database, or mend [store] url: docs/postgres.md",
        Some("42501") => "as the owner of the tables: psql -f postgres.sql (docs/postgres.md)",
        _ => {
            "look at [store] url, at the network and at the server's log; docs/postgres.md has TLS"
        }
    };
    let cause = error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"));
    Finding::failed("store", format!("{error}{cause}"), fix)
}

fn judge(place: &str, seen: &ServerLook) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &seen.refused {
        Some(refused) => {
            let fix = "the broker does not serve on this server: docs/postgres.md says what it needs, and why";
            findings.push(Finding::failed("store", refused.to_string(), fix));
        }
        None => {
            let wire = if seen.tls { "TLS" } else { "no TLS" };
            let text = format!(
                "PostgreSQL {} at {place}, {wire}, synchronous_commit {}, timeline {}",
                seen.version, seen.synchronous_commit, seen.timeline
            );
            findings.push(Finding::ok("store", text));
        }
    }
    if seen.standbys.is_empty() {
        let text =
            "synchronous_standby_names is empty: a lost primary takes its last commits with it";
        let fix = "name a synchronous standby, or accept that a fail-over may need `stintd restore --accept-loss`";
        findings.push(Finding::warning("store", text, fix));
    }
    if seen.may_rewrite {
        let text = "the role of [store] url may rewrite what was recorded";
        let fix =
            "serve as a role that owns no table, with the rights of postgres.sql: docs/postgres.md";
        findings.push(Finding::warning("store", text, fix));
    }
    findings.extend(schema(seen.schema));
    findings
}

fn schema((applied, known): (i64, i64)) -> Option<Finding> {
    match applied.cmp(&known) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => {
            let text = format!("schema {applied}, this program needs {known}");
            Some(Finding::failed(
                "store",
                text,
                "back the database up, then: stintd migrate",
            ))
        }
        std::cmp::Ordering::Greater => {
            let text = format!("schema {applied} is newer than this program's {known}");
            let fix = "install the version that migrated it";
            Some(Finding::failed("store", text, fix))
        }
    }
}

/// LEDGER.md §8: grants stop where the two clocks are too far apart.
fn clocks(seen: &ServerLook, now: Timestamp) -> Option<Finding> {
    let apart = seen.now.saturating_sub(now.as_millis());
    if apart.abs() <= store::SKEW_MS {
        return None;
    }
    let text = format!("the server's clock is {apart} ms from this one");
    Some(Finding::failed(
        "clock",
        text,
        "set both clocks; check their time service",
    ))
}
