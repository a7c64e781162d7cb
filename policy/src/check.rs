//! The operators' own cases, `tests/*.toml` (POLICY.md §7): caller and ask to outcome. They run at every load, so a set
//! that does not do what its authors said never takes force.

mod spec;

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::decision::Verdict;
use crate::explain::DecisionReceipt;
use crate::lint::Finding;
use crate::query::Query;
use crate::rule::Place;
use crate::set::PolicySet;
use crate::time::Timestamp;
use spec::{Case, Expect, Suite};

/// What all cases of a set came to.
#[derive(Debug, Default)]
pub struct TestReport {
    results: Vec<CaseResult>,
    findings: Vec<Finding>,
    decided: BTreeSet<String>,
}

/// One case for one caller.
#[derive(Debug)]
pub struct CaseResult {
    place: Place,
    name: String,
    caller: String,
    failures: Vec<String>,
    receipt: DecisionReceipt,
}

impl TestReport {
    /// How many ran, each caller of a case for itself.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.results.len()
    }

    /// Whether all files could be read and all cases passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.is_empty() && self.results.iter().all(|result| result.failures.is_empty())
    }

    /// All of them, by file and line.
    #[must_use]
    pub fn results(&self) -> &[CaseResult] {
        &self.results
    }

    /// Whether a policy decided in some case.
    #[must_use]
    pub fn covers(&self, policy: &str) -> bool {
        self.decided.contains(policy)
    }

    /// P18: what could not be read, and what failed.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let failed = self.results.iter().flat_map(|result| {
            let said = |failure: &String| {
                format!("case \"{}\" for {}: {failure}", result.name, result.caller)
            };
            result
                .failures
                .iter()
                .map(move |failure| Finding::error("P18", result.place.clone(), said(failure)))
        });
        self.findings.iter().cloned().chain(failed).collect()
    }
}

impl CaseResult {
    /// The case's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller's name in its file.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// Expected and got, one line each; empty if it passed.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The decision, explained.
    #[must_use]
    pub fn receipt(&self) -> &DecisionReceipt {
        &self.receipt
    }
}

impl PolicySet {
    /// Runs every case of `tests/*.toml`.
    #[must_use]
    pub fn test(&self) -> TestReport {
        let mut report = TestReport::default();
        for (path, text) in self.test_files() {
            report.file(self, path, &text);
        }
        report.results.sort_by(|a, b| a.place.cmp(&b.place));
        report
    }

    /// Runs the cases of one test file that is not of this set: to try what an ask would come to. Nothing is granted.
    #[must_use]
    pub fn test_draft(&self, text: &str) -> TestReport {
        let mut report = TestReport::default();
        report.file(self, "draft", text);
        report
    }

    /// Every case of `tests/*.toml`, each as a file of its own: something to begin a draft with.
    #[must_use]
    pub fn drafts(&self) -> Vec<Drafted> {
        let mut drafts = Vec::new();
        for (path, text) in self.test_files() {
            let Ok(suite) = Suite::read(&text) else {
                continue;
            };
            let drafted = suite.cases().filter_map(|name| {
                Some(Drafted {
                    file: path.to_owned(),
                    line: Place::at(path, &text, suite.offset(&text, name)).line,
                    name: name.to_owned(),
                    text: suite.alone(name)?,
                })
            });
            drafts.extend(drafted);
        }
        drafts.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        drafts
    }

    fn test_files(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        let tests = |(path, _): &(&str, &[u8])| path.starts_with("tests/");
        let files = self.files().iter().filter(tests);
        files.map(|(path, bytes)| (path, String::from_utf8_lossy(bytes)))
    }
}

/// A case as a test file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drafted {
    /// The file it stands in.
    pub file: String,
    /// Its line there, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// TOML.
    pub text: String,
}

impl TestReport {
    fn file(&mut self, set: &PolicySet, path: &str, text: &str) {
        let suite = match Suite::read(text) {
            Ok(suite) => suite,
            Err((offset, said)) => {
                let place = Place::at(path, text, offset);
                self.findings.push(Finding::error("P18", place, said));
                return;
            }
        };
        for name in suite.cases() {
            let place = Place::at(path, text, suite.offset(text, name));
            match suite.case(set, name) {
                Ok(cases) => cases
                    .iter()
                    .for_each(|case| self.run(set, name, &place, case)),
                Err(said) => {
                    let said = format!("case \"{name}\": {said}");
                    self.findings.push(Finding::error("P18", place, said));
                }
            }
        }
    }

    fn run(&mut self, set: &PolicySet, name: &str, place: &Place, case: &Case) {
        let receipt = case.with_query(|query: &Query<'_>| set.explain(query));
        self.decided
            .extend(receipt.verdict().policies().iter().cloned());
        self.results.push(CaseResult {
            place: place.clone(),
            name: name.to_owned(),
            caller: case.caller.clone(),
            failures: compare(&case.expect, &receipt, case.now),
            receipt,
        });
    }
}

/// Where what is expected differs; what is not named is not compared.
fn compare(expect: &Expect, receipt: &DecisionReceipt, now: Timestamp) -> Vec<String> {
    let (verdict, view) = (receipt.verdict(), receipt.for_caller());
    let mut failures = Vec::new();
    let mut same = |what: &str, expected: Option<Json>, got: Json| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            failures.push(format!("{what}: expected {expected}, got {got}"));
        }
    };
    let json = |value: &dyn Fn() -> serde_json::Result<Json>| value().unwrap_or(Json::Null);
    let texts = |texts: &[String]| {
        texts
            .iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Json>()
    };
    same(
        "outcome",
        expect.outcome.clone().map(Json::from),
        Json::from(verdict.as_str()),
    );
    same(
        "why",
        expect.why.clone().map(Json::from),
        Json::from(view.why),
    );
    same(
        "by",
        expect.by.as_deref().map(texts),
        texts(verdict.policies()),
    );
    same(
        "needs",
        expect.needs.clone(),
        json(&|| serde_json::to_value(&view.needs)),
    );
    let have = match verdict {
        Verdict::Hold(quorum) => Json::from(quorum.have()),
        Verdict::Deny(_) | Verdict::Permit(_) => Json::Null,
    };
    same("have", expect.have.map(Json::from), have);
    let limits = match verdict {
        Verdict::Permit(limits) => Some(limits),
        Verdict::Deny(_) | Verdict::Hold(_) => None,
    };
    let ttl = limits.map(|limits| limits.not_after().seconds_since(now));
    same(
        "ttl",
        expect.ttl.map(|ttl| Json::from(ttl.as_u32())),
        Json::from(ttl),
    );
    let shortened = limits.map(|limits| texts(limits.shortened_by()));
    same(
        "shortened_by",
        expect.shortened_by.as_deref().map(texts),
        shortened.unwrap_or(Json::Null),
    );
    let missed = receipt.missed();
    same(
        "closest",
        expect.closest.clone().map(Json::from),
        Json::from(missed.map(|missed| missed.policy.as_str())),
    );
    let fails: Vec<String> = missed
        .into_iter()
        .flat_map(|missed| missed.fails.iter().map(|fail| fail.name.clone()))
        .collect();
    same("fails", expect.fails.as_deref().map(texts), texts(&fails));
    same(
        "next",
        expect.next.clone().map(Json::from),
        Json::from(view.next_action.kind),
    );
    failures
}

#[cfg(test)]
mod tests {
    use crate::set::{PolicySet, sample};

    #[test]
    fn each_case_is_a_file_that_comes_to_the_same() {
        let set = PolicySet::from_files(sample()).unwrap();
        let drafts = set.drafts();
        assert!(drafts.len() > 6, "{drafts:#?}");
        for draft in drafts {
            let report = set.test_draft(&draft.text);
            assert!(
                report.ran() > 0 && report.passed(),
                "{}\n{:#?}",
                draft.text,
                report.findings()
            );
        }
    }

    #[test]
    fn a_draft_that_cannot_be_read_says_where() {
        let set = PolicySet::from_files(sample()).unwrap();
        let report = set.test_draft("now = 2027-03-01T10:00:00Z\n[caller\n");
        let findings = report.findings();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings.first().map(crate::Finding::line), Some(2));
    }
}
