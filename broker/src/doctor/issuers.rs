//! Issuers, looked at with the broker's own fetcher.

use std::collections::BTreeMap;

use stint_policy::Timestamp;
use tokio::task::JoinSet;

use super::{Finding, Verdict};
use crate::authenticate::examine::{Examined, Step};
use crate::config::{Issuer, Secret};

/// What `stintd issuer test` found.
#[derive(Debug)]
pub struct Tested {
    /// Discovery and keys.
    pub issuer: Vec<Finding>,
    /// The token, if there was one, check by check.
    pub token: Vec<Finding>,
}

/// Reaches the issuer, and judges a token as the broker would. `now`: this machine's clock.
pub async fn test(issuer: &Issuer, token: Option<&Secret<String>>, now: Timestamp) -> Tested {
    let examined = issuer.entry.examine().await;
    let steps = match token {
        Some(token) if examined.is_well() => issuer.entry.examine_token(&examined, token, now),
        Some(_) | None => Vec::new(),
    };
    let mut found = findings(&examined.steps, "");
    let off = clock(&[examined.date], now);
    found.extend(off.filter(|it| it.verdict != Verdict::Ok));
    Tested {
        issuer: found,
        token: findings(&steps, ""),
    }
}

/// All of them at once, and what their clocks say of ours.
pub(super) async fn all(issuers: BTreeMap<String, Issuer>, now: Timestamp) -> Vec<Finding> {
    let mut looks = JoinSet::new();
    for (name, issuer) in issuers {
        looks.spawn(async move { (name, issuer.entry.examine().await) });
    }
    let mut looked: Vec<(String, Examined)> = looks.join_all().await;
    looked.sort_by(|a, b| a.0.cmp(&b.0));
    let mut found = Vec::new();
    for (name, examined) in &looked {
        found.extend(findings(&examined.steps, &format!("issuer {name} ")));
    }
    let dates: Vec<_> = looked.iter().map(|(_, examined)| examined.date).collect();
    match clock(&dates, now) {
        Some(finding) => found.push(finding),
        None => found.push(Finding::ok("clock", "no issuer's clock to compare with")),
    }
    found
}

fn findings(steps: &[Step], prefix: &str) -> Vec<Finding> {
    let finding = |step: &Step| {
        let check = format!("{prefix}{}", step.name);
        match &step.outcome {
            Ok(text) => Finding::ok(&check, text.clone()),
            Err(trouble) => Finding::failed(&check, trouble.text.clone(), trouble.help.clone()),
        }
    };
    steps.iter().map(finding).collect()
}

/// Our clock beside theirs, by the one that is nearest: one issuer's clock may be wrong itself.
fn clock(dates: &[Option<i64>], now: Timestamp) -> Option<Finding> {
    let apart = |date: &i64| (now.as_secs() - date).abs();
    let nearest = dates.iter().flatten().map(apart).min()?;
    let fix = "set the clock; check its time service";
    let text = format!("{nearest} s from the nearest issuer's");
    Some(match nearest {
        0..=NEAR => Finding::ok("clock", text),
        ..=LEEWAY => Finding::warning("clock", text, fix),
        _ => Finding::failed("clock", format!("{text}: good tokens are refused"), fix),
    })
}

/// LEDGER.md §8, in seconds; a `Date` is as old as its answer.
const NEAR: i64 = 5;
/// [`crate::authenticate::LEEWAY`].
const LEEWAY: i64 = 30;
