//! `github-actions` (IDENTITY.md §3.1): the token proves a job, and any step of the job can mint one for any audience.
//!
//! `sub` is never matched: its form changes and admins re-shape it. Only where it carries ids are they compared with the
//! claims. `pull_request` says nothing of forks, so `fork` stays unknown.

use stint_policy::{Attributes, Seconds};

use crate::authenticate::claims::{Claim, Shape};
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::preset::{
    Facts, Lives, Presence, Preset, REF_KINDS, VISIBILITIES, translate,
};
use crate::authenticate::{Label, Reuse};

pub(super) static PRESET: Preset = Preset {
    name: "github-actions",
    record: Some("github"),
    url: Some(URL),
    shared: |url| url == URL,
    algorithms: &[Algorithm::Rs256],
    typ: Presence::Required,
    jti: Presence::Required,
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
    claims,
    beside: Vec::new,
    family: Some("repo_property_"),
    origin,
};

fn claims() -> Vec<Claim> {
    vec![
        Claim::id("repository_id").required(),
        Claim::id("repository_owner_id").required(),
        Claim::name_of("repository_id", "repository"),
        Claim::text("repository_visibility"),
        Claim::text("ref"),
        Claim::text("ref_type"),
        Claim::fact("ref_protected", Shape::StringBool),
        Claim::fact("sha", Shape::Id),
        Claim::text("event_name").required(),
        Claim::text("environment"),
        Claim::text("workflow_ref"),
        Claim::text("job_workflow_ref"),
        Claim::fact("job_workflow_sha", Shape::Id),
        Claim::id("run_id").required(),
        Claim::fact("run_attempt", Shape::StringInteger),
        Claim::id("check_run_id"),
        Claim::id("actor_id"),
        Claim::text("runner_environment"),
    ]
}

fn origin(facts: &Facts<'_>) -> Result<Attributes, Label> {
    if !facts.sub.is_none_or(|sub| agrees(sub, facts)) {
        return Err(Label::Claims);
    }
    let event = facts.text("event_name").unwrap_or_default();
    if !facts.rules.events.contains(event) {
        return Err(Label::Event);
    }
    let mut origin = facts.taken(&[
        ("tenant", "repository_owner_id"),
        ("project", "repository_id"),
        ("project_name", "repository"),
        ("ref", "ref"),
        ("ref_protected", "ref_protected"),
        ("commit", "sha"),
        ("environment", "environment"),
        ("run", "run_id"),
        ("attempt", "run_attempt"),
        ("job", "check_run_id"),
        ("actor", "actor_id"),
    ]);
    // A called workflow decides what the job does; its pin stands beside it.
    origin.extend(match facts.text("job_workflow_ref") {
        Some(_) => facts.taken(&[
            ("definition", "job_workflow_ref"),
            ("definition_commit", "job_workflow_sha"),
        ]),
        None => facts.taken(&[("definition", "workflow_ref")]),
    });
    translate(&mut origin, "trigger", Some(event), &TRIGGERS);
    translate(&mut origin, "ref_kind", facts.text("ref_type"), &REF_KINDS);
    translate(
        &mut origin,
        "visibility",
        facts.text("repository_visibility"),
        &VISIBILITIES,
    );
    translate(
        &mut origin,
        "runner",
        facts.text("runner_environment"),
        &RUNNERS,
    );
    Ok(origin)
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

const TRIGGERS: [(&str, &str); 8] = [
    ("deployment", "deployment"),
    ("merge_group", "merge_queue"),
    ("pull_request", "pull_request"),
    ("push", "push"),
    ("release", "release"),
    ("repository_dispatch", "api"),
    ("schedule", "schedule"),
    ("workflow_dispatch", "manual"),
];

const RUNNERS: [(&str, &str); 2] = [("github-hosted", "hosted"), ("self-hosted", "self")];
