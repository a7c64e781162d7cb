//! `stintd check`: entries and policies held against each other, before anybody is denied.

use std::process::{Command, Output};

use stint_tests::process::program;

use crate::platform::{jwks, table};

/// `stintd check` on an entry beside the sample policies, whose schema begins with `schema`.
fn check(entry: &str, schema: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = stint_policy::sample();
    let theirs = String::from_utf8(files.get("schema.cedarschema").unwrap().to_vec()).unwrap();
    files.insert("schema.cedarschema", format!("{schema}\n{theirs}"));
    stint_broker::init::write_policies(&folder.path().join("policy"), &files).unwrap();
    let file = folder.path().join("stint.toml");
    let config = format!(
        "version = 1\n[server]\nurl = \"https://stint.acme.dev\"\n[store]\nurl = \"sqlite:stint.db\"\n\
         [ledger]\npin = \"ledger.pin\"\n[keys]\ndir = \"keys\"\n[ca]\ntrust_domain = \"acme.dev\"\n\
         [policy]\ndir = \"policy\"\n{}",
        table("gcp", entry, &jwks("sig"))
    );
    std::fs::write(&file, config).unwrap();
    let mut stintd = Command::new(program("stintd"));
    let output = stintd.arg("check").arg("-c").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

const ENTRY: &str = "preset = \"google\"\nonly = { sub = [\"1133\"] }";
const MAPPED: &str = "extra = { hd = { claim = \"hd\", type = \"string\" } }";

#[test]
fn an_extra_that_the_schema_has_not_stops_the_check() {
    let (output, said) = check(&format!("{ENTRY}\n{MAPPED}"), "");
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told = "[issuer.gcp] extra.hd is not declared in the policies' schema; type Extra = { hd?: String };";
    assert!(said.contains(told), "{said}");
    let (output, said) = check(
        &format!("{ENTRY}\n{MAPPED}"),
        "type Extra = { hd?: String };",
    );
    assert!(output.status.success(), "{said}");
}

#[test]
fn an_id_that_two_issuers_give_stops_the_check() {
    let github = "preset = \"github-actions\"\nonly = { repository_owner_id = [\"65\"] }";
    let (output, said) = check(github, "");
    assert!(output.status.success(), "{said}");
    let other = format!(
        "url = \"https://ghes.acme.dev/_services/token\"\njwks = {}",
        jwks("sig")
    );
    let two = format!("{github}\n{other}\n[issuer.hub]\n{github}");
    let (output, said) = check(&two, "");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("error     P09 ") && said.contains("`context.github.repository_id`"),
        "{said}"
    );
}

#[test]
fn a_policy_that_waits_for_a_claim_of_nobody_is_a_warning() {
    let (output, said) = check(ENTRY, "");
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("P56") && said.contains("`context.github.ref`"),
        "{said}"
    );
}
