//! `terraform-cloud` (IDENTITY.md §3.9): a workload identity token of HCP Terraform or Terraform Enterprise, one for each
//! phase of a run.
//!
//! Names have spaces and change, so ids decide. `origin.phase` parts `plan`, in which anybody's branch runs any provider,
//! from `apply`: a permit on writes reads it. Test runs of modules have no workspace and are refused.

use stint_policy::Seconds;

use crate::authenticate::Label;
use crate::authenticate::preset::{Facts, Preset};
use crate::authenticate::row::{Row, id, name, text};

pub(super) static PRESET: Preset = Preset {
    name: "terraform-cloud",
    record: Some("terraform_cloud"),
    url: Some(URL),
    shared: |url| [URL, EUROPE].contains(&url),
    id: Some("{terraform_organization_id}/{terraform_workspace_id}"),
    task: Some("{terraform_run_id}/{terraform_run_phase}"),
    cap: Seconds::new(24 * 3600),
    claims: CLAIMS,
    check,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    id("terraform_organization_id").required().is("tenant"),
    id("terraform_workspace_id").required().is("project"),
    id("terraform_project_id"),
    name("terraform_organization_name", "terraform_organization_id"),
    name("terraform_project_name", "terraform_project_id"),
    name("terraform_workspace_name", "terraform_workspace_id").is("project_name"),
    id("terraform_run_id").required().is("run"),
    text("terraform_run_phase").is("phase"),
];

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    let run = facts.text("terraform_run_id").unwrap_or_default();
    match run.starts_with("trun-") {
        true => Err(Label::Event),
        false => Ok(()),
    }
}

const URL: &str = "https://app.terraform.io";
const EUROPE: &str = "https://app.eu.terraform.io";
