//! `circleci` (IDENTITY.md §3.7): a token of a job, of one organisation's issuer or of the one they all share.
//!
//! `ssh-rerun` says that a person had a shell in the job. Who started it stands in `sub` alone, whose organisation and
//! project must be those of the claims. Forks get tokens where a project passes secrets to them, so rules bind
//! `vcs_origin` or `pipeline_definition_id`.

use stint_policy::{Attributes, Value};

use crate::authenticate::Label;
use crate::authenticate::claims::{Shape, is_uuid};
use crate::authenticate::entry::fault::Fault;
use crate::authenticate::preset::{Admits, Facts, Presence, Preset, Stated};
use crate::authenticate::row::{Row, fact, text, uuid};

pub(super) static PRESET: Preset = Preset {
    name: "circleci",
    record: Some("circleci"),
    shared: |url| url == ROOT,
    typed: Presence::Optional,
    has_jti: Presence::Optional,
    id: Some("{org_id}/{project_id}"),
    task: Some("{workflow_id}/{job_id}"),
    initiator: Some("user"),
    claims: CLAIMS,
    stated,
    check,
    refines: &["ref_kind"],
    refine,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    uuid("org_id")
        .required()
        .at(&["oidc.circleci.com/org-id"])
        .is("tenant"),
    uuid("project_id")
        .required()
        .at(&["oidc.circleci.com/project-id"])
        .is("project"),
    uuid("pipeline_definition_id")
        .at(&["oidc.circleci.com/pipeline-definition-id"])
        .is("definition"),
    uuid("workflow_id")
        .at(&["oidc.circleci.com/workflow-id"])
        .is("run"),
    uuid("job_id").at(&["oidc.circleci.com/job-id"]).is("job"),
    fact("context_ids", Shape::Strings).at(&["oidc.circleci.com/context-ids"]),
    text("vcs_origin").at(&["oidc.circleci.com/vcs-origin"]),
    text("vcs_ref").at(&["oidc.circleci.com/vcs-ref"]).is("ref"),
    fact("ssh_rerun", Shape::Bool)
        .at(&["oidc.circleci.com/ssh-rerun"])
        .is("human_shell"),
    uuid("user").beside().made_by_check().is("actor"),
    text("sub").inner().required(),
];

/// The organisation of an issuer that is one organisation's.
fn organisation(url: &str) -> Option<&str> {
    url.split_once("/org/")
        .map(|(_, organisation)| organisation)
}

/// By default `aud` is the organisation's id, which is no secret and every service's.
fn stated(stated: &Stated<'_>) -> Result<(), Fault> {
    if is_uuid(stated.audience) {
        let text = format!(
            "`{}` is CircleCI's default, or looks like it (I04)",
            stated.audience
        );
        return Err(Fault::new("audience", text).help(
            "take one that only this broker has: circleci run oidc get --claims '{\"aud\":\"…\"}'",
        ));
    }
    match organisation(stated.url).is_none_or(is_uuid) {
        true => Ok(()),
        false => Err(
            Fault::new("url", format!("`{}` names no organisation", stated.url)).help(
                "`https://oidc.circleci.com/org/ORGANISATION`, or `https://oidc.circleci.com`",
            ),
        ),
    }
}

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    let own = organisation(facts.url);
    if own.is_some_and(|own| facts.text("org_id") != Some(own)) {
        return Err(Label::Claims);
    }
    let shell = facts.find("ssh_rerun") == Some(&Value::Bool(true));
    if shell && facts.rules.human_shell == Admits::No {
        return Err(Label::Event);
    }
    let mut parts = facts.text("sub").unwrap_or_default().split('/');
    let mut pair = || Some((parts.next()?, parts.next()?));
    let (organisation, project, user) = (pair(), pair(), pair());
    let same = organisation == facts.text("org_id").map(|id| ("org", id))
        && project == facts.text("project_id").map(|id| ("project", id));
    match (same, user) {
        (false, _) => Err(Label::Claims),
        (true, Some(("user", user))) => {
            let user = user.to_owned();
            facts.make("user", &user)
        }
        (true, _) => Ok(()),
    }
}

fn refine(facts: &Facts<'_>, origin: &mut Attributes) {
    let Some(git_ref) = facts.text("vcs_ref") else {
        return;
    };
    let kind = match git_ref {
        _ if git_ref.starts_with("refs/heads/") => "branch",
        _ if git_ref.starts_with("refs/tags/") => "tag",
        _ => "other",
    };
    origin.insert("ref_kind".to_owned(), kind.into());
}

const ROOT: &str = "https://oidc.circleci.com";
