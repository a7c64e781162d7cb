//! `gitlab-ci`: one token per job, and where a fork's merge request runs.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const ENTRY: &str = "preset = \"gitlab-ci\"\nurl = \"https://gitlab.example.com\"";
const WHEN: &str = "context has gitlab.ref_path && context.gitlab.project_id == \"20\"";

fn good() -> Value {
    json!({
        "iss": "https://gitlab.example.com", "sub": "project_path:g/p:ref_type:branch:ref:main", "jti": "235b3a54",
        "namespace_id": "72", "namespace_path": "g", "project_id": "20", "project_path": "g/p",
        "project_visibility": "internal", "job_project_id": "20", "job_namespace_id": "72", "user_id": "1",
        "user_login": "kim", "user_email": "kim@example.com", "user_access_level": "maintainer",
        "user_identities": [{ "provider": "github", "extern_uid": "2" }], "groups_direct": ["g/sre"],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
        "ref_path": "refs/heads/main", "ref_protected": "true", "environment": "prod",
        "environment_protected": "true", "deployment_tier": "production", "deployment_action": "start",
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c",
        "ci_config_ref_uri": "gitlab.example.com/g/p//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "714a629c"
    })
}

fn origin() -> Value {
    json!({ "tenant": "72", "project": "20", "project_name": "g/p", "visibility": "internal", "ref_kind": "branch",
        "ref": "refs/heads/main", "ref_protected": true, "commit": "714a629c", "trigger": "push", "fork": false,
        "environment": "prod", "environment_protected": true, "tier": "production", "run": "574", "job": "302",
        "definition": "gitlab.example.com/g/p//.gitlab-ci.yml@refs/heads/main", "definition_commit": "714a629c",
        "runner": "self", "actor": "1" })
}

#[tokio::test]
async fn a_job_is_a_task_of_its_project() {
    let gitlab = Platform::start("gl", ENTRY, WHEN, good()).await;
    let record = gitlab
        .accepts("72/20", json!("gl:20/574/302"), origin())
        .await;
    assert_eq!(record["gitlab"].as_object().unwrap().len(), 22, "{record}");
    // The pipeline's file may lie elsewhere; then both are null.
    let elsewhere = gitlab.with(|claims| {
        (claims["ci_config_ref_uri"], claims["ci_config_sha"]) = (Value::Null, Value::Null);
    });
    let me = gitlab.who(&elsewhere).await;
    assert_eq!(me["claims"]["origin"]["definition"], Value::Null);
    let old = gitlab.who(&gitlab.with(lacks("job_project_id"))).await;
    assert_eq!(
        old["claims"]["origin"]["fork"],
        Value::Null,
        "unknown, not false"
    );
    gitlab.ends_with_its_token().await;
    gitlab.broker.finish().await;
}

#[tokio::test]
async fn a_fork_in_the_projects_own_pipeline_is_refused() {
    let gitlab = Platform::start("gl-traps", ENTRY, WHEN, good()).await;
    let hour = gitlab.broker.now().as_secs() + 3601;
    gitlab
        .refuses(vec![
            (
                "a fork",
                "event",
                gitlab.with(set("/job_project_id", json!("21"))),
            ),
            (
                "a runner's id as text",
                "claims",
                gitlab.with(set("/runner_id", json!("1"))),
            ),
            (
                "a project's id as a number",
                "claims",
                gitlab.with(set("/project_id", json!(20))),
            ),
            (
                "null where it is never null",
                "claims",
                gitlab.with(set("/environment", Value::Null)),
            ),
            (
                "a job that may run longer",
                "lifetime",
                gitlab.with(plus("exp", json!(hour))),
            ),
            (
                "GitLab's own audience",
                "audience",
                gitlab.with(plus("aud", json!("https://gitlab.example.com"))),
            ),
        ])
        .await;
    gitlab.broker.finish().await;
}

#[tokio::test]
async fn forks_may_be_let_in_and_policy_sees_it() {
    let gitlab = Platform::start("gl-open", &format!("{ENTRY}\nforks = true"), WHEN, good()).await;
    let me = gitlab
        .who(&gitlab.with(set("/job_project_id", json!("21"))))
        .await;
    let told = ["fork", "trigger"].map(|word| me["claims"]["origin"][word].clone());
    assert_eq!(told, [json!(true), json!("pull_request_fork")]);
    gitlab.broker.finish().await;
}

#[test]
fn everybody_is_on_gitlab_com() {
    let shared = "preset = \"gitlab-ci\"\nurl = \"https://gitlab.com\"";
    does_not_load(shared, &["I01", "namespace_id"]);
    does_not_load(
        &format!("{shared}\nonly = {{ project_path = [\"g/p\"] }}"),
        &["I03"],
    );
    does_not_load(
        &format!("{ENTRY}\naudience = \"https://gitlab.example.com\""),
        &["I04"],
    );
    does_not_load(
        &format!("{ENTRY}\naudience = \"https://gitlab.com\""),
        &["I04"],
    );
}
