//! `tests/vectors/verdicts.json`: bundles and the verdicts on them, for every implementation. No policy engine.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Options, verify};
use crate::bundle::Files;
use crate::checkpoint::Checkpoint;
use crate::trust::{Policy, Trust};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Name to text.
    files: std::collections::BTreeMap<String, String>,
    /// Pinned verifier keys.
    #[serde(default)]
    keys: Vec<String>,
    /// A C2SP tlog-policy.
    #[serde(default)]
    policy: Option<String>,
    /// The three lines of a checkpoint.
    #[serde(default)]
    since: Option<String>,
    now: u64,
    /// Milliseconds.
    #[serde(default)]
    max_age: Option<u64>,
    #[serde(default)]
    credential: Option<crate::Digest>,
    #[serde(default)]
    all: bool,
    report: Map<String, Value>,
}

impl Case {
    fn judge(&self) -> Map<String, Value> {
        let files: Files = self
            .files
            .iter()
            .map(|(name, text)| (name.clone(), text.clone().into_bytes()))
            .collect();
        let mut trust = Trust::from_keys(&self.keys.join("\n")).unwrap();
        let policy = self.policy.as_ref();
        trust.policy = policy.map(|text| Policy::parse(text.as_bytes()).unwrap());
        let options = Options {
            now: self.now,
            since: self.since.as_ref().map(|it| Checkpoint::parse(it).unwrap()),
            max_age: self.max_age,
            credential: self.credential,
            all: self.all,
        };
        let report = serde_json::to_value(verify(&files, &trust, &options)).unwrap();
        let mut report = report.as_object().unwrap().clone();
        report.insert("schema".into(), "stint.verification/v1".into());
        report
    }
}

#[test]
fn every_bundle_gets_its_verdicts() {
    let text = include_str!("../../../tests/vectors/verdicts.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= 12);
    for case in &cases {
        assert_eq!(case.judge(), case.report, "{}", case.name);
    }
}
