//! `terraform-cloud`: a workload identity token of one phase of a run.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const WHEN: &str = "context has terraform_cloud && context has origin.phase && context.origin.phase == \"apply\" && \
                    context.terraform_cloud.terraform_workspace_id == \"ws-mbsd5E3Ktt5Rg2Xm\"";
const ENTRY: &str = "preset = \"terraform-cloud\"\nonly = { terraform_organization_id = [\"org-GRNbCjYNpBB6NEBH\"] }";

fn good() -> Value {
    json!({
        "iss": "https://app.terraform.io", "jti": "1192426d-b525-4fde-9d42-f238be437bbd", "nbf": 1_650_486_117,
        "sub": "organization:my-org:project:Default Project:workspace:my-workspace:run_phase:apply",
        "terraform_organization_id": "org-GRNbCjYNpBB6NEBH", "terraform_organization_name": "my-org",
        "terraform_project_id": "prj-vegSA59s1XPwMr2t", "terraform_project_name": "Default Project",
        "terraform_workspace_id": "ws-mbsd5E3Ktt5Rg2Xm", "terraform_workspace_name": "my-workspace",
        "terraform_full_workspace": "organization:my-org:project:Default Project:workspace:my-workspace",
        "terraform_run_id": "run-X3n1AUXNGWbfECsJ", "terraform_run_phase": "apply"
    })
}

#[tokio::test]
async fn a_phase_of_a_run_is_a_task_of_its_workspace() {
    let terraform = Platform::start("terraform", ENTRY, WHEN, good()).await;
    let origin = json!({ "tenant": "org-GRNbCjYNpBB6NEBH", "project": "ws-mbsd5E3Ktt5Rg2Xm",
        "project_name": "my-workspace", "run": "run-X3n1AUXNGWbfECsJ", "phase": "apply" });
    let task = json!("terraform:run-X3n1AUXNGWbfECsJ/apply");
    let id = "org-GRNbCjYNpBB6NEBH/ws-mbsd5E3Ktt5Rg2Xm";
    let record = terraform.accepts(id, task, origin).await;
    assert_eq!(
        record["terraform_cloud"].as_object().unwrap().len(),
        8,
        "{record}"
    );
    // A plan runs whatever a branch says: it is the same caller, and another task that policy does not let in.
    let plan = terraform.with(|claims| {
        (claims["terraform_run_phase"], claims["jti"]) = (json!("plan"), json!("2"));
    });
    let me = terraform.who(&plan).await;
    assert_eq!(me["spiffe_id"], format!("spiffe://acme.dev/terraform/{id}"));
    assert_eq!(me["task"]["name"], "terraform:run-X3n1AUXNGWbfECsJ/plan");
    assert_eq!(terraform.ask(&plan).await.status, 403);
    terraform.ends_with_its_token().await;
    terraform.broker.finish().await;
}

#[tokio::test]
async fn a_test_run_has_no_workspace() {
    let terraform = Platform::start("terraform-traps", ENTRY, WHEN, good()).await;
    let day = terraform.broker.now().as_secs() + 24 * 3600 + 1;
    terraform
        .refuses(vec![
            (
                "a module's test run",
                "event",
                terraform.with(set("/terraform_run_id", json!("trun-X3n1AUXNGWbfECsJ"))),
            ),
            (
                "no workspace",
                "claims",
                terraform.with(lacks("terraform_workspace_id")),
            ),
            (
                "no run",
                "claims",
                terraform.with(lacks("terraform_run_id")),
            ),
            ("no jti", "claims", terraform.with(lacks("jti"))),
            (
                "another organisation",
                "not_admitted",
                terraform.with(set("/terraform_organization_id", json!("org-2"))),
            ),
            (
                "more than a day",
                "lifetime",
                terraform.with(plus("exp", json!(day))),
            ),
            (
                "for a cloud",
                "audience",
                terraform.with(plus("aud", json!("aws.workload.identity"))),
            ),
        ])
        .await;
    terraform.broker.finish().await;
}

#[test]
fn an_organisation_is_bound_by_its_id() {
    does_not_load(
        "preset = \"terraform-cloud\"",
        &["I01", "terraform_organization_id"],
    );
    let europe = "preset = \"terraform-cloud\"\nurl = \"https://app.eu.terraform.io\"";
    does_not_load(europe, &["I01"]);
    does_not_load(
        "preset = \"terraform-cloud\"\nonly = { terraform_organization_name = [\"my-org\"] }",
        &["I03"],
    );
    for audience in [
        "aws.workload.identity",
        "api://AzureADTokenExchange",
        "//iam.googleapis.com/projects/1",
    ] {
        does_not_load(&format!("{ENTRY}\naudience = \"{audience}\""), &["I04"]);
    }
}
