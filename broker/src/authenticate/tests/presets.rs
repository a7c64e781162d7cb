//! The tables of the presets, held against what else must say the same: the policies' schema and IDENTITY.md §3.

use std::collections::BTreeMap;

use serde_json::json;

use super::{build, build_in, context, with};
use crate::authenticate::Reuse;
use crate::authenticate::claims::{Nature, Need};
use crate::authenticate::entry::{Context, Transport, against};
use crate::authenticate::preset::{FoundBy, Lives, PRESETS, Presence, Preset};
use crate::authenticate::row::{From, Place, Row};
use crate::authenticate::template::Template;
use crate::authenticate::tests::idp::Signer;

/// Members of a record of the schema, by name: their type, with `?` where a caller may lack them.
fn schema() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = include_str!("../../../../policy/src/stint.cedarschema");
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut records = BTreeMap::new();
    for part in text.split("type ").skip(1) {
        let (name, rest) = part.split_once(" = { ").unwrap();
        let (members, _) = rest.split_once(" }").unwrap();
        let member = |member: &str| {
            let (name, type_name) = member.split_once(": ").unwrap();
            let may_lack = if name.ends_with('?') { "?" } else { "" };
            (
                name.trim_end_matches('?').to_owned(),
                format!("{type_name}{may_lack}"),
            )
        };
        records.insert(name.to_owned(), members.split(", ").map(member).collect());
    }
    records
}

/// The record's type in the schema.
fn type_of(record: &str) -> &'static str {
    match record {
        "aws" => "Aws",
        "azure" => "Azure",
        "buildkite" => "Buildkite",
        "circleci" => "CircleCi",
        "github" => "GitHub",
        "gitlab" => "GitLab",
        "google" => "Google",
        "kubernetes" => "Kubernetes",
        "terraform_cloud" => "TerraformCloud",
        other => panic!("{other}"),
    }
}

#[test]
fn each_record_is_what_the_schema_says() {
    let schema = schema();
    for preset in PRESETS {
        let Some(record) = preset.record else {
            continue;
        };
        let rows = preset
            .claims
            .iter()
            .filter(|row| row.place == Place::Record);
        let member = |row: &Row| {
            // The schema calls `event_name` and the like optional, which a token must have all the same.
            let wanted = schema[type_of(record)].get(row.name).map(String::as_str);
            let strict = row.need == Need::Required;
            let type_name = row.shape.in_policy();
            let fits = match strict {
                true => [Some(type_name), Some(&*format!("{type_name}?"))].contains(&wanted),
                false => wanted == Some(&*format!("{type_name}?")),
            };
            assert!(
                fits,
                "{record}.{}: {type_name}, and the schema says {wanted:?}",
                row.name
            );
            row.name.to_owned()
        };
        let mut names: Vec<String> = rows.map(member).collect();
        names.sort_unstable();
        let declared: Vec<String> = schema[type_of(record)].keys().cloned().collect();
        assert_eq!(names, declared, "{record}");
        let ask = &schema["Ask"];
        assert_eq!(ask[record], format!("{}?", type_of(record)));
    }
}

#[test]
fn each_word_of_origin_is_in_the_schema() {
    let schema = schema();
    for preset in PRESETS {
        for word in preset.words() {
            assert!(
                schema["Origin"].contains_key(word),
                "{}: {word}",
                preset.name
            );
        }
    }
}

#[test]
fn what_templates_name_is_in_the_table() {
    for preset in PRESETS {
        let row = |name: &str| {
            let mut rows = preset.claims.iter();
            *rows
                .find(|row| row.name == name && row.place != Place::Inner)
                .unwrap()
        };
        for template in [preset.id, preset.task].into_iter().flatten() {
            let template = Template::parse(template).unwrap();
            for name in template.placeholders() {
                row(name);
            }
        }
        if let Some(id) = preset.id {
            let id = Template::parse(id).unwrap();
            assert!(
                id.placeholders()
                    .all(|name| row(name).need == Need::Required),
                "{}",
                preset.name
            );
        }
        if let Some(claim) = preset.initiator {
            row(claim);
        }
        for row in preset.claims {
            if let Nature::NameOf(id) = row.nature {
                assert!(
                    preset.claims.iter().any(|row| row.name == id),
                    "{}: {id}",
                    row.name
                );
            }
            assert!(row.from != From::Path(&[]));
        }
    }
}

/// The table of IDENTITY.md §3, row by row.
#[test]
fn the_table_is_that_of_the_design() {
    let told: Vec<String> = PRESETS
        .iter()
        .filter(|preset| preset.is_known())
        .map(|preset| row(preset))
        .collect();
    let wanted = [
        "github-actions | {repository_owner_id}/{repository_id} | {repository_id}/{run_id}/{run_attempt}/{check_run_id} | actor_id | never | 10m | task",
        "gitlab-ci | {namespace_id}/{project_id} | {project_id}/{pipeline_id}/{job_id} | user_id | same-key | 1h | token",
        "kubernetes | {namespace}/{serviceaccount}/{serviceaccount_uid} | {pod_uid} | none | same-key | 1h | task",
        "google | {sub} | {instance_id} | none | same-key | 1h | token",
        "azure | {tid}/{oid} | none | none | same-key | 25h | token",
        "aws | {aws_account}/{role_name} | none | source_identity | never | 1h | token",
        "circleci | {org_id}/{project_id} | {workflow_id}/{job_id} | user | same-key | 1h | token",
        "buildkite | {organization_id}/{pipeline_id} | {job_id} | none | never | 10m | task",
        "terraform-cloud | {terraform_organization_id}/{terraform_workspace_id} | {terraform_run_id}/{terraform_run_phase} | none | same-key | 24h | token",
        "spiffe-jwt-svid | {trust_domain}/{spiffe_path} | none | none | same-key | 1h | token",
    ];
    assert_eq!(told, wanted);
}

fn row(preset: &Preset) -> String {
    let stated = |text: Option<&str>| text.unwrap_or("none").to_owned();
    let reuse = match preset.reuse {
        Reuse::Never => "never",
        Reuse::SameKey => "same-key",
    };
    let lives = match preset.lives {
        Lives::Task => "task",
        Lives::Token => "token",
    };
    [
        preset.name.to_owned(),
        stated(preset.id),
        stated(preset.task),
        stated(preset.initiator),
        reuse.to_owned(),
        preset.cap.to_string(),
        lives.to_owned(),
    ]
    .join(" | ")
}

#[test]
fn many_tenants_share_six_issuers() {
    let shared = |url: &str| {
        let by = |preset: &&&Preset| preset.is_known() && (preset.shared)(url);
        PRESETS.iter().find(by).map(|preset| preset.name)
    };
    for (url, name) in [
        (
            "https://token.actions.githubusercontent.com",
            "github-actions",
        ),
        ("https://gitlab.com", "gitlab-ci"),
        ("https://accounts.google.com", "google"),
        ("https://oidc.circleci.com", "circleci"),
        ("https://agent.buildkite.com", "buildkite"),
        ("https://app.terraform.io", "terraform-cloud"),
        ("https://app.eu.terraform.io", "terraform-cloud"),
    ] {
        assert_eq!(shared(url), Some(name), "{url}");
    }
    for url in [
        "https://gitlab.example.com",
        "https://terraform.example.com",
    ] {
        assert_eq!(shared(url), None, "{url}");
    }
    let svid = Preset::named("spiffe-jwt-svid").unwrap();
    assert_eq!(
        (svid.found_by, svid.has_iat),
        (FoundBy::TrustDomain, Presence::Optional)
    );
}

#[test]
fn what_could_be_better_is_a_warning_with_its_number() {
    let key = Signer::rsa("k");
    let told = |config: serde_json::Value| -> Vec<String> {
        let entry = build("ci", config).unwrap();
        let number = |text: &str| {
            text.rsplit_once('(')
                .unwrap()
                .1
                .trim_end_matches(')')
                .to_owned()
        };
        entry
            .warnings()
            .iter()
            .map(|warning| number(&warning.text))
            .collect()
    };
    let github = || super::github_config(&key);
    assert_eq!(told(github()), [""; 0]);
    assert_eq!(
        told(with(github(), |c| c["max_token_life"] = json!("11m"))),
        ["I10"]
    );
    assert_eq!(
        told(with(github(), |c| c["privileged_events"] = json!(true))),
        ["I11"]
    );
    assert_eq!(told(with(github(), |c| c["forks"] = json!(true))), ["I11"]);
    let shell = with(github(), |c| {
        *c = json!({"preset": "circleci", "human_shell": true, "jwks": c["jwks"],
            "url": "https://oidc.circleci.com/org/9fd1bfe4-b0f2-4b3e-9f0c-6a3a5f0d7f11"});
    });
    assert_eq!(told(shell), ["I11"]);
    let private = |url: &str| {
        with(super::gitlab_config(&key), |c| {
            (c["url"], c["allow_private"]) = (json!(url), json!(["10.1.0.0/16"]));
        })
    };
    assert_eq!(told(private("https://gitlab.acme.com")), ["I12"]);
    for own in [
        "https://gitlab.acme.internal",
        "https://gitlab",
        "https://10.1.2.3",
        "https://git.home.arpa",
    ] {
        assert_eq!(told(private(own)), [""; 0], "{own}");
    }
    let long = with(github(), |c| {
        c["id"] = json!("{repository_owner_id:h}/{repository_id:h}/{run_id:h}");
    });
    assert_eq!(
        told(with(long, |c| c["id"] =
            json!("{repository_owner_id:h}/{repository_id:h}"))),
        [""; 0]
    );
    let far = Context {
        trust_domain: "a-trust-domain-with-a-long-name.example",
        ..context()
    };
    let long = with(github(), |c| {
        c["id"] = json!("{repository_owner_id:h}/{repository_id:h}/{run_id:h}")
    });
    let entry = build_in(&far, "ci", long).unwrap();
    assert!(
        entry.warnings()[0].text.contains("(I13)"),
        "{:?}",
        entry.warnings()
    );
    assert_eq!(
        told(with(github(), |c| c["reuse"] = json!("same-key"))),
        ["I14"]
    );
    assert_eq!(far.transport, Transport::Https);
}

#[test]
fn a_task_that_is_the_identity_is_not_to_end() {
    let key = Signer::rsa("k");
    let told = |task: Option<&str>, life: Option<&str>| {
        let config = with(super::github_config(&key), |c| {
            (c["task"], c["task_life"]) = (json!(task), json!(life));
        });
        let entry = build("ci", config).unwrap();
        let warnings = entry.warnings().iter();
        let numbered = |text: &str| text.ends_with("(I17)");
        warnings.filter(|warning| numbered(&warning.text)).count()
    };
    let constant = Some("{repository_id}");
    assert_eq!(told(constant, Some("8h")), 1);
    assert_eq!(told(Some("deploy"), Some("8h")), 1);
    assert_eq!(told(constant, None), 0);
    assert_eq!(told(None, Some("8h")), 0, "a job is a task of its own");
    assert_eq!(told(Some("{repository_id}/{run_id}"), Some("8h")), 0);
}

#[test]
fn entries_and_policies_are_held_against_each_other() {
    let key = Signer::rsa("k");
    let mapped = with(super::github_config(&key), |c| {
        c["extra"] = json!({"team": {"claim": "repo_property_team", "type": "string"}});
    });
    let entries = [build("github", mapped).unwrap()];
    let policies = |extra: &str| {
        // Without the cases, whose callers lack what a changed schema may want of all.
        let sample = stint_policy::sample();
        let kept = sample
            .iter()
            .filter(|(path, _)| !path.starts_with("tests/"));
        let mut files: stint_policy::Files = kept.collect();
        let schema = String::from_utf8(files.get("schema.cedarschema").unwrap().to_vec()).unwrap();
        files.insert("schema.cedarschema", format!("{extra}\n{schema}"));
        stint_policy::PolicySet::from_files(files).unwrap()
    };
    let faults = |extra: &str| -> Vec<String> {
        let held = against::policies(&entries, &policies(extra));
        let fault =
            |(name, fault): &(String, super::Fault)| format!("{name} {} {}", fault.key, fault.text);
        held.faults.iter().map(fault).collect()
    };
    assert_eq!(faults("type Extra = { team?: String };"), [""; 0]);
    assert_eq!(
        faults(""),
        ["github extra.team is not declared in the policies' schema"]
    );
    assert_eq!(
        faults("type Extra = { team?: Long };"),
        ["github extra.team is `String`, and the policies' schema says `Long`"]
    );
    assert_eq!(
        faults("type Extra = { team: String };"),
        ["github extra may lack `team`, which `type Extra` wants of every caller"]
    );
    // I15: the sample policies read a cluster's claims too.
    let held = against::policies(&entries, &policies(""));
    let [finding] = held.unfilled.as_slice() else {
        panic!("{:?}", held.unfilled);
    };
    assert!(
        finding.text().contains("kubernetes.serviceaccount_uid"),
        "{finding}"
    );
    assert!(against::policies(&[], &policies("")).unfilled.is_empty());
    // P09: with two GitHubs a repository's id is no longer enough.
    assert_eq!(held.unparted, []);
    let two = ["github", "enterprise"].map(|name| build(name, super::github_config(&key)).unwrap());
    let held = against::policies(&two, &policies(""));
    let found = |finding: &stint_policy::Finding| (finding.rule(), finding.is_error());
    assert!(!held.unparted.is_empty());
    assert!(
        held.unparted
            .iter()
            .all(|finding| found(finding) == ("P09", true))
    );
}

#[test]
fn keys_that_nobody_changes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let key = Signer::rsa("k");
    std::fs::write(&file, key.jwks().to_string()).unwrap();
    let config =
        json!({"preset": "gitlab-ci", "url": "https://gitlab.example.com", "jwks_file": file});
    let config = serde_json::from_value(config).unwrap();
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    let written = written
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let after = |days: i64| {
        let written = i64::try_from(written).unwrap();
        let now = stint_policy::Timestamp::from_millis((written + days * 24 * 3600) * 1000);
        against::old_keys(&config, now).is_some()
    };
    assert_eq!((after(364), after(367)), (false, true));
}
