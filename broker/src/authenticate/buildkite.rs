//! `buildkite` (IDENTITY.md §3.8): a token of a job, for as long as the agent asked.
//!
//! The ids of organisation and pipeline are in it only if the step asks for them (`--claim`); without them it is refused,
//! for slugs are given again. `sub` changes with `--subject-claim` and holds the branch's text: it is not read.
//! `build_branch` is a name, and whether it is protected is not said.

use stint_policy::{Attributes, Seconds};

use crate::authenticate::Reuse;
use crate::authenticate::claims::Shape;
use crate::authenticate::preset::{Facts, Lives, Presence, Preset};
use crate::authenticate::row::{Row, Words, fact, id, name, text, uuid};

pub(super) static PRESET: Preset = Preset {
    name: "buildkite",
    record: Some("buildkite"),
    url: Some(URL),
    shared: |url| url == URL,
    typed: Presence::Optional,
    has_jti: Presence::Optional,
    id: Some("{organization_id}/{pipeline_id}"),
    task: Some("{job_id}"),
    reuse: Reuse::Never,
    cap: Seconds::new(600),
    lives: Lives::Task,
    claims: CLAIMS,
    refines: &["ref", "ref_kind"],
    refine,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    uuid("organization_id").required().is("tenant"),
    uuid("pipeline_id").required().is("project"),
    name("organization_slug", "organization_id"),
    name("pipeline_slug", "pipeline_id").is("project_name"),
    fact("build_number", Shape::Integer).is("run"),
    text("build_branch").nullable(),
    text("build_tag").nullable(),
    fact("build_commit", Shape::Id).nullable().is("commit"),
    text("build_source").nullable().means("trigger", TRIGGERS),
    text("step_key").nullable(),
    uuid("job_id").required().is("job"),
    id("agent_id"),
    text("runner_environment")
        .nullable()
        .beside()
        .means("runner", RUNNERS),
];

/// A build of a tag has a branch too.
fn refine(facts: &Facts<'_>, origin: &mut Attributes) {
    let (kind, git_ref) = match (facts.text("build_tag"), facts.text("build_branch")) {
        (Some(tag), _) => ("tag", format!("refs/tags/{tag}")),
        (None, Some(branch)) => ("branch", format!("refs/heads/{branch}")),
        (None, None) => return,
    };
    origin.insert("ref_kind".to_owned(), kind.into());
    origin.insert("ref".to_owned(), git_ref.into());
}

const URL: &str = "https://agent.buildkite.com";

/// A webhook may be of a push or of a pull request: the token does not say.
const TRIGGERS: Words = &[
    ("api", "api"),
    ("schedule", "schedule"),
    ("trigger_job", "api"),
    ("ui", "manual"),
];

const RUNNERS: Words = &[("buildkite-hosted", "hosted"), ("self-hosted", "self")];
