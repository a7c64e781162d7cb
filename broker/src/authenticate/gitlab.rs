//! `gitlab-ci` (IDENTITY.md §3.2): one token per job, which lives as long as the job may.
//!
//! In a merge-request pipeline of a fork `project_id` names the fork and `job_project_id` where the job runs. `ref` looks
//! alike for a tag and a branch, so `origin.ref` is `ref_path`. `user_id` is who triggered, not who wrote.

use stint_policy::Attributes;

use crate::authenticate::Label;
use crate::authenticate::claims::Shape;
use crate::authenticate::preset::{Admits, Facts, Preset, REF_KINDS, VISIBILITIES};
use crate::authenticate::row::{Row, Words, fact, id, name, text};

pub(super) static PRESET: Preset = Preset {
    name: "gitlab-ci",
    record: Some("gitlab"),
    shared: |url| url == "https://gitlab.com",
    id: Some("{namespace_id}/{project_id}"),
    task: Some("{project_id}/{pipeline_id}/{job_id}"),
    initiator: Some("user_id"),
    claims: CLAIMS,
    check,
    refines: &["fork"],
    refine,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    id("namespace_id").required().is("tenant"),
    id("project_id").required().is("project"),
    name("project_path", "project_id").is("project_name"),
    text("project_visibility")
        .beside()
        .means("visibility", VISIBILITIES),
    id("job_project_id"),
    id("job_namespace_id"),
    id("user_id").is("actor"),
    text("user_access_level"),
    id("pipeline_id").required().is("run"),
    text("pipeline_source").means("trigger", TRIGGERS),
    id("job_id").required().is("job"),
    text("ref"),
    text("ref_type").means("ref_kind", REF_KINDS),
    text("ref_path").is("ref"),
    fact("ref_protected", Shape::StringBool).is("ref_protected"),
    text("environment").is("environment"),
    fact("environment_protected", Shape::StringBool).is("environment_protected"),
    text("deployment_tier").is("tier"),
    fact("runner_id", Shape::Integer),
    text("runner_environment").means("runner", RUNNERS),
    fact("sha", Shape::Id).is("commit"),
    text("ci_config_ref_uri").nullable().is("definition"),
    fact("ci_config_sha", Shape::Id)
        .nullable()
        .is("definition_commit"),
];

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    match (fork(facts), facts.rules.forks) {
        (Some(true), Admits::No) => Err(Label::Event),
        (Some(true), Admits::Yes) | (Some(false) | None, _) => Ok(()),
    }
}

fn refine(facts: &Facts<'_>, origin: &mut Attributes) {
    let fork = fork(facts);
    origin.extend(fork.map(|fork| ("fork".to_owned(), fork.into())));
    if fork == Some(true) {
        origin.insert("trigger".to_owned(), "pull_request_fork".into());
    }
}

/// Servers before 18.4 do not say where a job runs: then nothing is known of forks.
fn fork(facts: &Facts<'_>) -> Option<bool> {
    let runs_in = facts.text("job_project_id")?;
    Some(Some(runs_in) != facts.text("project_id"))
}

const TRIGGERS: Words = &[
    ("api", "api"),
    ("external_pull_request_event", "pull_request"),
    ("merge_request_event", "pull_request"),
    ("push", "push"),
    ("schedule", "schedule"),
    ("trigger", "api"),
    ("web", "manual"),
];

const RUNNERS: Words = &[("gitlab-hosted", "hosted"), ("self-hosted", "self")];
