//! `github-actions` (IDENTITY.md §3.1): the token proves a job, and any step of the job can mint one for any audience.
//!
//! `sub` is never matched: its form changes and admins re-shape it. Only where it carries ids are they compared with the
//! claims. `pull_request` says nothing of forks, so `fork` stays unknown.

use stint_policy::{Attributes, Seconds};

use crate::authenticate::claims::Shape;
use crate::authenticate::preset::{Facts, Lives, Preset, REF_KINDS, VISIBILITIES};
use crate::authenticate::row::{Row, Words, fact, id, name, text};
use crate::authenticate::{Label, Reuse};

pub(super) static PRESET: Preset = Preset {
    name: "github-actions",
    record: Some("github"),
    url: Some(URL),
    shared: |url| url == URL,
    id: Some("{repository_owner_id}/{repository_id}"),
    task: Some("{repository_id}/{run_id}/{run_attempt}/{check_run_id}"),
    initiator: Some("actor_id"),
    reuse: Reuse::Never,
    cap: Seconds::new(600),
    lives: Lives::Task,
    events: &[
        "push",
        "workflow_dispatch",
        "schedule",
        "release",
        "deployment",
        "merge_group",
        "repository_dispatch",
        "pull_request",
    ],
    privileged_events: &["pull_request_target", "workflow_run"],
    claims: CLAIMS,
    family: Some("repo_property_"),
    check,
    refine,
    ..Preset::USUAL
};

// A called workflow decides what the job does, so its rows come after those of the calling one.
const CLAIMS: &[Row] = &[
    id("repository_owner_id").required().is("tenant"),
    id("repository_id").required().is("project"),
    name("repository", "repository_id").is("project_name"),
    text("repository_visibility").means("visibility", VISIBILITIES),
    text("ref").is("ref"),
    text("ref_type").means("ref_kind", REF_KINDS),
    fact("ref_protected", Shape::StringBool).is("ref_protected"),
    fact("sha", Shape::Id).is("commit"),
    text("event_name").required().means("trigger", TRIGGERS),
    text("environment").is("environment"),
    text("workflow_ref").is("definition"),
    fact("workflow_sha", Shape::Id)
        .beside()
        .is("definition_commit"),
    text("job_workflow_ref").is("definition"),
    fact("job_workflow_sha", Shape::Id).is("definition_commit"),
    id("run_id").required().is("run"),
    fact("run_attempt", Shape::StringInteger).is("attempt"),
    id("check_run_id").is("job"),
    id("actor_id").is("actor"),
    text("runner_environment").means("runner", RUNNERS),
    text("sub").inner(),
];

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    if !facts.text("sub").is_none_or(|sub| agrees(sub, facts)) {
        return Err(Label::Claims);
    }
    let event = facts.text("event_name").unwrap_or_default();
    match facts.rules.events.contains(event) {
        true => Ok(()),
        false => Err(Label::Event),
    }
}

/// The pin of one workflow never stands beside the name of another.
fn refine(facts: &Facts<'_>, origin: &mut Attributes) {
    if facts.has("job_workflow_ref") != facts.has("job_workflow_sha") {
        origin.remove("definition_commit");
    }
}

/// Whether the ids in a `repo:OWNER@ID/REPO@ID:…` subject are those of the claims. Any other subject has none to compare:
/// `@` cannot occur in the names of owners and repositories.
fn agrees(sub: &str, facts: &Facts<'_>) -> bool {
    let Some(rest) = sub.strip_prefix("repo:") else {
        return true;
    };
    let names = rest.split(':').next().unwrap_or_default();
    let (owner, repository) = names.split_once('/').unwrap_or((names, ""));
    let same = |name: &str, claim| {
        name.split_once('@')
            .is_none_or(|(_, id)| facts.text(claim) == Some(id))
    };
    same(owner, "repository_owner_id") && same(repository, "repository_id")
}

const URL: &str = "https://token.actions.githubusercontent.com";

const TRIGGERS: Words = &[
    ("deployment", "deployment"),
    ("merge_group", "merge_queue"),
    ("pull_request", "pull_request"),
    ("push", "push"),
    ("release", "release"),
    ("repository_dispatch", "api"),
    ("schedule", "schedule"),
    ("workflow_dispatch", "manual"),
];

const RUNNERS: Words = &[("github-hosted", "hosted"), ("self-hosted", "self")];
