//! `gitlab-ci` (IDENTITY.md §3.2): one token per job, which lives as long as the job may.
//!
//! In a merge-request pipeline of a fork `project_id` names the fork and `job_project_id` where the job runs. `ref` looks
//! alike for a tag and a branch, so `origin.ref` is `ref_path`. `user_id` is who triggered, not who wrote.

use stint_policy::{Attributes, Seconds};

use crate::authenticate::claims::{Claim, Shape};
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::preset::{
    Facts, Forks, Lives, Presence, Preset, REF_KINDS, VISIBILITIES, translate,
};
use crate::authenticate::{Label, Reuse};

pub(super) static PRESET: Preset = Preset {
    name: "gitlab-ci",
    record: Some("gitlab"),
    url: None,
    shared: |url| url == "https://gitlab.com",
    algorithms: &[Algorithm::Rs256],
    typ: Presence::Required,
    jti: Presence::Required,
    id: Some("{namespace_id}/{project_id}"),
    task: Some("{project_id}/{pipeline_id}/{job_id}"),
    initiator: Some("user_id"),
    reuse: Reuse::SameKey,
    cap: Seconds::new(3600),
    lives: Lives::Token,
    events: &[],
    privileged_events: &[],
    claims,
    beside: || vec![Claim::text("project_visibility")],
    family: None,
    origin,
};

fn claims() -> Vec<Claim> {
    vec![
        Claim::id("namespace_id").required(),
        Claim::id("project_id").required(),
        Claim::name_of("project_id", "project_path"),
        Claim::id("job_project_id"),
        Claim::id("job_namespace_id"),
        Claim::id("user_id"),
        Claim::text("user_access_level"),
        Claim::id("pipeline_id").required(),
        Claim::text("pipeline_source"),
        Claim::id("job_id").required(),
        Claim::text("ref"),
        Claim::text("ref_type"),
        Claim::text("ref_path"),
        Claim::fact("ref_protected", Shape::StringBool),
        Claim::text("environment"),
        Claim::fact("environment_protected", Shape::StringBool),
        Claim::text("deployment_tier"),
        Claim::fact("runner_id", Shape::Integer),
        Claim::text("runner_environment"),
        Claim::fact("sha", Shape::Id),
        Claim::text("ci_config_ref_uri").nullable(),
        Claim::fact("ci_config_sha", Shape::Id).nullable(),
    ]
}

fn origin(facts: &Facts<'_>) -> Result<Attributes, Label> {
    let project = facts.text("project_id");
    // Servers before 18.4 do not say where a job runs: then nothing is known of forks.
    let fork = facts
        .text("job_project_id")
        .map(|runs_in| Some(runs_in) != project);
    if fork == Some(true) && facts.rules.forks == Forks::Refused {
        return Err(Label::Event);
    }
    let mut origin = facts.taken(&[
        ("tenant", "namespace_id"),
        ("project", "project_id"),
        ("project_name", "project_path"),
        ("ref", "ref_path"),
        ("ref_protected", "ref_protected"),
        ("commit", "sha"),
        ("environment", "environment"),
        ("environment_protected", "environment_protected"),
        ("tier", "deployment_tier"),
        ("definition", "ci_config_ref_uri"),
        ("definition_commit", "ci_config_sha"),
        ("run", "pipeline_id"),
        ("job", "job_id"),
        ("actor", "user_id"),
    ]);
    origin.extend(fork.map(|fork| ("fork".to_owned(), fork.into())));
    translate(
        &mut origin,
        "trigger",
        facts.text("pipeline_source"),
        &TRIGGERS,
    );
    if fork == Some(true) {
        origin.insert("trigger".to_owned(), "pull_request_fork".into());
    }
    translate(&mut origin, "ref_kind", facts.text("ref_type"), &REF_KINDS);
    translate(
        &mut origin,
        "visibility",
        facts.text("project_visibility"),
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

const TRIGGERS: [(&str, &str); 7] = [
    ("api", "api"),
    ("external_pull_request_event", "pull_request"),
    ("merge_request_event", "pull_request"),
    ("push", "push"),
    ("schedule", "schedule"),
    ("trigger", "api"),
    ("web", "manual"),
];

const RUNNERS: [(&str, &str); 2] = [("gitlab-hosted", "hosted"), ("self-hosted", "self")];
