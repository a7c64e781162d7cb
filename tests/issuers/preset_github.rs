//! `github-actions`: what a job's token says, in both forms of its subject.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const ENTRY: &str = "preset = \"github-actions\"\nonly = { repository_owner_id = [\"65\"] }";
const WHEN: &str = "context has github.ref && context.github.repository_id == \"74\"";

fn good() -> Value {
    json!({
        "iss": "https://token.actions.githubusercontent.com", "sub": "repo:octo@65/app@74:environment:prod",
        "jti": "1e41f0c0-9a3b", "repository": "octo/app", "repository_id": "74", "repository_owner": "octo",
        "repository_owner_id": "65", "repository_visibility": "private", "event_name": "push",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "sha": "b8961f0c",
        "environment": "prod", "environment_node_id": "EN_kw", "workflow": "deploy",
        "workflow_ref": "octo/app/.github/workflows/d.yml@refs/heads/main", "workflow_sha": "b8961f0c",
        "job_workflow_ref": "octo/ci/.github/workflows/d.yml@refs/tags/v2", "job_workflow_sha": "c1d2e3f4",
        "run_id": "322", "run_number": "9", "run_attempt": "1", "check_run_id": "961", "actor": "cat",
        "actor_id": "28", "base_ref": "", "head_ref": "", "runner_environment": "github-hosted",
        "repo_property_team": "web"
    })
}

async fn github(name: &'static str, entry: &str) -> Platform {
    Platform::start(name, entry, WHEN, good()).await
}

#[tokio::test]
async fn both_forms_of_the_subject_are_the_same_job() {
    let github = github("gh", ENTRY).await;
    let origin = json!({ "tenant": "65", "project": "74", "project_name": "octo/app", "visibility": "private",
        "ref_kind": "branch", "ref": "refs/heads/main", "ref_protected": true, "commit": "b8961f0c",
        "trigger": "push", "environment": "prod", "run": "322", "attempt": 1, "job": "961", "actor": "28",
        "definition": "octo/ci/.github/workflows/d.yml@refs/tags/v2", "definition_commit": "c1d2e3f4",
        "runner": "hosted" });
    let record = github
        .accepts("65/74", json!("gh:74/322/1/961"), origin)
        .await;
    assert_eq!(record["github"].as_object().unwrap().len(), 18, "{record}");
    for sub in [
        "repo:octo/app:ref:refs/heads/main",
        "repo:octo/app:environment:a%3Ab",
        "repository_owner:octo:runner_environment:github-hosted",
    ] {
        github.who(&github.with(set("/sub", json!(sub)))).await;
    }
    // The calling workflow's pin never stands beside the called one's name.
    let own = |gone: &'static str| {
        github.with(move |claims| {
            lacks("job_workflow_sha")(claims);
            claims.as_object_mut().unwrap().remove(gone);
        })
    };
    let me = github.who(&own("job_workflow_ref")).await;
    assert_eq!(me["claims"]["origin"]["definition_commit"], "b8961f0c");
    let me = github.who(&own("")).await;
    assert_eq!(me["claims"]["origin"]["definition_commit"], Value::Null);
    let me = github.who(&github.with(lacks("job_workflow_ref"))).await;
    assert_eq!(me["claims"]["origin"]["definition_commit"], Value::Null);
    // An older Enterprise Server has no check run: the evidence names no task.
    let me = github.who(&github.with(lacks("check_run_id"))).await;
    assert_eq!(me["task"], Value::Null);
    github.broker.finish().await;
}

#[tokio::test]
async fn events_of_outsiders_and_ids_of_others_are_refused() {
    let github = github("gh-traps", ENTRY).await;
    let long = github.broker.now().as_secs() + 601;
    let event = |event: &str| github.with(set("/event_name", json!(event)));
    github
        .refuses(vec![
            ("pull_request_target", "event", event("pull_request_target")),
            ("workflow_run", "event", event("workflow_run")),
            ("issue_comment", "event", event("issue_comment")),
            ("no event", "claims", github.with(lacks("event_name"))),
            (
                "another owner's id",
                "claims",
                github.with(set("/sub", json!("repo:octo@66/app@74:ref:x"))),
            ),
            (
                "another repository's id",
                "claims",
                github.with(set("/sub", json!("repo:octo@65/app@75:ref:x"))),
            ),
            (
                "a number for an id",
                "claims",
                github.with(set("/repository_id", json!(74))),
            ),
            (
                "a truth for a word",
                "claims",
                github.with(set("/ref_protected", json!(true))),
            ),
            (
                "six hours",
                "lifetime",
                github.with(plus("exp", json!(long))),
            ),
            (
                "GitHub's audience",
                "audience",
                github.with(plus("aud", json!("https://github.com/octo"))),
            ),
        ])
        .await;
    github.broker.finish().await;
}

#[tokio::test]
async fn config_admits_an_event_and_says_twice_that_it_is_privileged() {
    let entry =
        format!("{ENTRY}\nevents = [\"workflow_run\", \"issues\"]\nprivileged_events = true");
    let github = github("gh-open", &entry).await;
    for event in ["workflow_run", "issues"] {
        let me = github
            .who(&github.with(set("/event_name", json!(event))))
            .await;
        assert_eq!(me["claims"]["origin"]["trigger"], "other");
    }
    github.broker.finish().await;
    does_not_load(
        &format!("{ENTRY}\nevents = [\"workflow_run\"]"),
        &["privileged_events"],
    );
    does_not_load(
        "preset = \"github-actions\"",
        &["I01", "repository_owner_id"],
    );
    // Whoever starts a job in a repository of somebody else is that account there too.
    does_not_load(
        "preset = \"github-actions\"\nonly = { actor_id = [\"28\"] }",
        &["I01", "repository_owner_id"],
    );
    does_not_load(
        "preset = \"generic\"\nurl = \"https://token.actions.githubusercontent.com\"\naudience = \"https://stint.acme.dev\"\n\
         alg = [\"RS256\"]\nextra = { repo = { claim = \"repository_id\", type = \"string\" } }\nimmutable = [\"repo\"]\n\
         single_tenant = true\nid = \"{repo}\"",
        &["single_tenant", "I01"],
    );
    does_not_load(
        "preset = \"github-actions\"\nsingle_tenant = true\nonly = { run_id = [\"1\"] }",
        &["single_tenant"],
    );
}
