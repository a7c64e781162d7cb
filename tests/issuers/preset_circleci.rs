//! `circleci`: a job's token, of one organisation's issuer or of the one all share.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const ORG: &str = "9fd1bfe4-b0f2-4b3e-9f0c-6a3a5f0d7f11";
const PROJECT: &str = "2c6f1f3a-7a71-4d8c-a1f5-0b8a5d9e6c22";
const USER: &str = "5b1de0d5-4ae7-4f4f-8a37-3b5f3c2d1e33";
const DEFINITION: &str = "6d1de0d5-4ae7-4f4f-8a37-3b5f3c2d1e44";
const WORKFLOW: &str = "7e1de0d5-4ae7-4f4f-8a37-3b5f3c2d1e55";
const JOB: &str = "8f1de0d5-4ae7-4f4f-8a37-3b5f3c2d1e66";
const WHEN: &str = "context has circleci.pipeline_definition_id && \
                    context.circleci.project_id == \"2c6f1f3a-7a71-4d8c-a1f5-0b8a5d9e6c22\"";
const SHELL: &str = "/oidc.circleci.com~1ssh-rerun";

fn good() -> Value {
    json!({
        "iss": format!("https://oidc.circleci.com/org/{ORG}"),
        "sub": format!("org/{ORG}/project/{PROJECT}/user/{USER}/vcs-origin/github.com/acme/web/vcs-ref/refs/heads/main"),
        "oidc.circleci.com/org-id": ORG, "oidc.circleci.com/project-id": PROJECT,
        "oidc.circleci.com/pipeline-definition-id": DEFINITION, "oidc.circleci.com/workflow-id": WORKFLOW,
        "oidc.circleci.com/job-id": JOB, "oidc.circleci.com/pipeline-id": "b7b8", "oidc.circleci.com/context-ids": ["c1"],
        "oidc.circleci.com/vcs-origin": "github.com/acme/web", "oidc.circleci.com/vcs-ref": "refs/heads/main",
        "oidc.circleci.com/ssh-rerun": false
    })
}

fn entry(more: &str) -> String {
    format!("preset = \"circleci\"\nurl = \"https://oidc.circleci.com/org/{ORG}\"\n{more}")
}

fn origin() -> Value {
    json!({ "tenant": ORG, "project": PROJECT, "run": WORKFLOW, "job": JOB, "definition": DEFINITION, "actor": USER,
        "ref": "refs/heads/main", "ref_kind": "branch", "human_shell": false })
}

#[tokio::test]
async fn a_job_is_a_task_of_its_project() {
    let circleci = Platform::start("circleci", &entry(""), WHEN, good()).await;
    let task = json!(format!("circleci:{WORKFLOW}/{JOB}"));
    let record = circleci
        .accepts(&format!("{ORG}/{PROJECT}"), task, origin())
        .await;
    let wanted = json!({ "circleci": {
        "org_id": ORG, "project_id": PROJECT, "pipeline_definition_id": DEFINITION, "workflow_id": WORKFLOW,
        "job_id": JOB, "context_ids": ["c1"], "vcs_origin": "github.com/acme/web", "vcs_ref": "refs/heads/main",
        "ssh_rerun": false
    } });
    assert_eq!(record, wanted);
    // A webhook of one's own names no source, and a tag is no branch.
    let bare = circleci.with(|claims| {
        for gone in ["vcs-origin", "vcs-ref", "ssh-rerun"] {
            lacks_of(claims, gone);
        }
        claims["sub"] = json!(format!("org/{ORG}/project/{PROJECT}/user/{USER}"));
    });
    let me = circleci.who(&bare).await;
    assert_eq!(
        (
            &me["claims"]["origin"]["ref"],
            &me["claims"]["origin"]["human_shell"]
        ),
        (&Value::Null, &Value::Null)
    );
    let tag = circleci.with(set("/oidc.circleci.com~1vcs-ref", json!("refs/tags/v1")));
    assert_eq!(
        circleci.who(&tag).await["claims"]["origin"]["ref_kind"],
        "tag"
    );
    circleci.ends_with_its_token().await;
    circleci.broker.finish().await;
}

fn lacks_of(claims: &mut Value, name: &str) {
    let claims = claims.as_object_mut().unwrap();
    assert!(
        claims
            .remove(&format!("oidc.circleci.com/{name}"))
            .is_some()
    );
}

#[tokio::test]
async fn a_shell_and_a_subject_of_another_are_refused() {
    let circleci = Platform::start("circleci-traps", &entry(""), WHEN, good()).await;
    let other = "1".repeat(8) + "-b0f2-4b3e-9f0c-6a3a5f0d7f11";
    let sub = |org: &str, project: &str| {
        circleci.with(set(
            "/sub",
            json!(format!("org/{org}/project/{project}/user/{USER}")),
        ))
    };
    circleci
        .refuses(vec![
            (
                "a person has a shell",
                "event",
                circleci.with(set(SHELL, json!(true))),
            ),
            (
                "a shell in words",
                "claims",
                circleci.with(set(SHELL, json!("false"))),
            ),
            (
                "another organisation's subject",
                "claims",
                sub(&other, PROJECT),
            ),
            ("another project's subject", "claims", sub(ORG, &other)),
            ("no subject", "claims", circleci.with(lacks("sub"))),
            (
                "an organisation that is not the issuer's",
                "claims",
                circleci.with(|claims| {
                    claims["oidc.circleci.com/org-id"] = json!(other.clone());
                    claims["sub"] = json!(format!("org/{other}/project/{PROJECT}/user/{USER}"));
                }),
            ),
            (
                "no project",
                "claims",
                circleci.with(lacks("oidc.circleci.com/project-id")),
            ),
            (
                "the audience by default",
                "audience",
                circleci.with(plus("aud", json!(ORG))),
            ),
        ])
        .await;
    circleci.broker.finish().await;
}

#[tokio::test]
async fn config_may_admit_a_shell_and_policy_sees_it() {
    let circleci =
        Platform::start("circleci-shell", &entry("human_shell = true"), WHEN, good()).await;
    let me = circleci.who(&circleci.with(set(SHELL, json!(true)))).await;
    assert_eq!(me["claims"]["origin"]["human_shell"], true);
    circleci.broker.finish().await;
}

#[tokio::test]
async fn the_shared_issuer_is_bound_to_one_organisation() {
    let entry = format!(
        "preset = \"circleci\"\nurl = \"https://oidc.circleci.com\"\nonly = {{ org_id = [\"{ORG}\"] }}"
    );
    let mut claims = good();
    claims["iss"] = json!("https://oidc.circleci.com");
    let circleci = Platform::start("circleci-root", &entry, WHEN, claims).await;
    circleci.who(&circleci.sign(&circleci.claims())).await;
    let other = "1".repeat(8) + "-b0f2-4b3e-9f0c-6a3a5f0d7f11";
    let stranger = circleci.with(|claims| {
        claims["oidc.circleci.com/org-id"] = json!(other.clone());
        claims["sub"] = json!(format!("org/{other}/project/{PROJECT}/user/{USER}"));
    });
    circleci
        .refuses(vec![("another organisation", "not_admitted", stranger)])
        .await;
    circleci.broker.finish().await;
}

#[test]
fn an_entry_has_a_tenant_and_an_audience_of_its_own() {
    let root = "preset = \"circleci\"\nurl = \"https://oidc.circleci.com\"";
    does_not_load(root, &["I01", "org_id"]);
    does_not_load(
        &format!("{root}\nonly = {{ vcs_origin = [\"github.com/acme/web\"] }}"),
        &["I01"],
    );
    does_not_load(
        &entry(&format!("audience = \"{ORG}\"")),
        &["I04", "circleci run oidc get"],
    );
    does_not_load(
        "preset = \"circleci\"\nurl = \"https://oidc.circleci.com/org/acme\"",
        &["names no organisation"],
    );
}
