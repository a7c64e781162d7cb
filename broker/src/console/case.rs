//! A recorded decision as a test case: what was decided, for the owner of a policy to hold it to.

use stint_audit::What;
use stint_policy::Recorded;

use super::body::Opened;
use super::sheet::{Body, Part};
use crate::serve::App;

/// The decision as a file of `tests/`; and what the set in force says to it.
pub(super) fn part(app: &App, id: &str, opened: &Opened, recorded: &Recorded) -> Part {
    let outcome = match &opened.header.what {
        What::Granted(_) => "permit",
        What::Requested(_) => "hold",
        _ => "deny",
    };
    let name = format!("as decided in {id}");
    let policies = opened.texts(&["policies"]);
    let Some(text) = recorded.as_case(&name, outcome, &policies) else {
        let why = "A test case has no words for this ask: it came by a chain of actors, or with an input that TOML cannot say.";
        return Part::new("case", "As a test case", Body::Raw(why.to_owned()));
    };
    let report = app.broker.policies.in_force().test_draft(&text);
    let failures = report.results().iter().flat_map(|it| it.failures());
    let mut failures: Vec<String> = failures.cloned().collect();
    failures.extend(report.findings().iter().map(|it| it.text().to_owned()));
    let today = match failures.first() {
        None => "Today it passes.".to_owned(),
        Some(first) => format!(
            "Today it fails: {first}. Keep it if that is a mistake; change what it expects if not."
        ),
    };
    let file = format!("tests/{id}.toml");
    let part = Part::new("case", "As a test case", Body::File(file, text));
    part.note(format!(
        "Save it beside the policies: a set that decides otherwise is then not loaded. {today}"
    ))
}
