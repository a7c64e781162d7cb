//! `stintd doctor --full`: the whole ledger, read once from its first entry to its last.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Finding, running};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::ledger::Scrubbed;
use crate::upkeep::hand::Hand;

/// By the broker that has it, or, where none runs, with all checks of a start before.
pub(super) async fn look(config: &Config) -> Finding {
    let asked = running::ask_patiently(&config.ops.socket, "/v1/ledger/scrub", &json!({})).await;
    match asked {
        Ok((200, seen)) => {
            let number = |name: &str| seen.get(name).and_then(Value::as_u64).unwrap_or(0);
            told(Scrubbed {
                entries: number("entries"),
                bodies: number("bodies"),
                erased: number("erased"),
                mended: number("mended"),
            })
        }
        Ok((_, problem)) => {
            let detail = problem.get("detail").and_then(Value::as_str);
            damaged(detail.unwrap_or("the broker did not say what").to_owned())
        }
        Err(_nobody) => by_hand(config).await,
    }
}

async fn by_hand(config: &Config) -> Finding {
    let hand = match Hand::open(config, Arc::new(SystemClock)).await {
        Ok(hand) => hand,
        Err(error) => {
            return damaged(error.to_string());
        }
    };
    let seen = hand.ledger.scrub().await;
    hand.close().await;
    match seen {
        Ok(seen) => told(seen),
        Err(error) => damaged(error.to_string()),
    }
}

fn told(seen: Scrubbed) -> Finding {
    let Scrubbed {
        entries,
        bodies,
        erased,
        mended,
    } = seen;
    let text = format!("{entries} entries, each hashed; {bodies} bodies, {erased} erased");
    match mended {
        0 => Finding::ok("whole", text),
        rows => {
            let text = format!("{text}; {rows} rows of index and tiles were made again");
            Finding::warning(
                "whole",
                text,
                "find out who took them away: nobody has to write there",
            )
        }
    }
}

fn damaged(why: String) -> Finding {
    let fix = "keep the store and the pin as they are, and read docs/backup.md";
    Finding::failed("whole", why, fix)
}
