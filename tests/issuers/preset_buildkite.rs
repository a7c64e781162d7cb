//! `buildkite`: a job's token with the ids that its step asked for.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const ORG: &str = "0184990a-477b-4fa8-9968-496074483ce1";
const PIPELINE: &str = "0184990a-477b-4fa8-9968-496074483ce2";
const JOB: &str = "0184990a-477b-4fa8-9968-496074483cee";
const WHEN: &str = "context has buildkite.build_branch && \
                    context.buildkite.pipeline_id == \"0184990a-477b-4fa8-9968-496074483ce2\"";

fn entry() -> String {
    format!("preset = \"buildkite\"\nonly = {{ organization_id = [\"{ORG}\"] }}")
}

fn good() -> Value {
    json!({
        "iss": "https://agent.buildkite.com",
        "sub": "organization:acme:pipeline:app:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build",
        "organization_slug": "acme", "pipeline_slug": "app", "organization_id": ORG, "pipeline_id": PIPELINE,
        "build_number": 5, "build_branch": "main", "build_tag": null,
        "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485", "step_key": null, "job_id": JOB,
        "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff", "build_source": "ui", "runner_environment": "buildkite-hosted"
    })
}

/// Its header has no `typ`.
fn header() -> Value {
    json!({ "alg": "RS256", "kid": "dev-issuers" })
}

#[tokio::test]
async fn a_job_is_a_task_of_its_pipeline() {
    let buildkite = Platform::start("buildkite", &entry(), WHEN, good()).await;
    let origin = json!({ "tenant": ORG, "project": PIPELINE, "project_name": "app", "run": "5", "job": JOB,
        "ref": "refs/heads/main", "ref_kind": "branch", "commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "trigger": "manual", "runner": "hosted" });
    let task = json!(format!("buildkite:{JOB}"));
    let record = buildkite
        .accepts(&format!("{ORG}/{PIPELINE}"), task, origin)
        .await;
    let wanted = json!({ "buildkite": {
        "organization_id": ORG, "pipeline_id": PIPELINE, "organization_slug": "acme", "pipeline_slug": "app",
        "build_number": 5, "build_branch": "main", "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "build_source": "ui", "job_id": JOB, "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff"
    } });
    assert_eq!(record, wanted);
    let bare = buildkite.sign_under(&header(), &buildkite.claims());
    buildkite.who(&bare).await;
    // A tag's build has a branch too, and a webhook does not say what it was about.
    let tag = buildkite.with(|claims| {
        (claims["build_tag"], claims["build_source"]) = (json!("v1.0.0"), json!("webhook"));
    });
    let me = buildkite.who(&tag).await;
    let told = ["ref", "ref_kind", "trigger"].map(|word| me["claims"]["origin"][word].clone());
    assert_eq!(told, ["refs/tags/v1.0.0", "tag", "other"]);
    // The branch is somebody's text, and so is `sub`, which nobody reads.
    let odd = buildkite.with(set("/sub", json!("organization:acme\u{202e}")));
    buildkite.who(&odd).await;
    buildkite.broker.finish().await;
}

#[tokio::test]
async fn slugs_are_no_identity() {
    let buildkite = Platform::start("buildkite-traps", &entry(), WHEN, good()).await;
    let long = buildkite.broker.now().as_secs() + 601;
    buildkite
        .refuses(vec![
            (
                "no organisation's id",
                "claims",
                buildkite.with(lacks("organization_id")),
            ),
            (
                "no pipeline's id",
                "claims",
                buildkite.with(lacks("pipeline_id")),
            ),
            ("no job", "claims", buildkite.with(lacks("job_id"))),
            (
                "a null id",
                "claims",
                buildkite.with(set("/organization_id", Value::Null)),
            ),
            (
                "another organisation",
                "not_admitted",
                buildkite.with(set("/organization_id", json!(JOB))),
            ),
            (
                "a number as text",
                "claims",
                buildkite.with(set("/build_number", json!("5"))),
            ),
            (
                "a branch that hides",
                "claims",
                buildkite.with(set("/build_branch", json!("ma\u{200b}in"))),
            ),
            (
                "the agent's own lifetime",
                "lifetime",
                buildkite.with(plus("exp", json!(long))),
            ),
            (
                "the audience by default",
                "audience",
                buildkite.with(plus("aud", json!("https://buildkite.com/acme"))),
            ),
        ])
        .await;
    let mut at = header();
    at["typ"] = json!("at+jwt");
    let token = buildkite.sign_under(&at, &buildkite.claims());
    buildkite
        .refuses(vec![("an access token", "typ", token)])
        .await;
    buildkite.broker.finish().await;
}

#[test]
fn an_organisation_is_bound_by_its_id() {
    does_not_load("preset = \"buildkite\"", &["I01", "organization_id"]);
    does_not_load(
        "preset = \"buildkite\"\nonly = { organization_slug = [\"acme\"] }",
        &["I03", "I01"],
    );
    does_not_load(
        &format!("{}\naudience = \"https://buildkite.com/acme\"", entry()),
        &["I04"],
    );
    does_not_load(
        &format!("{}\nid = \"{{organization_id}}/{{step_key}}\"", entry()),
        &["I06"],
    );
}
