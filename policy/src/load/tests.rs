use super::*;
use crate::fixture::{Ask, sample_set, sample_with};
use crate::set::sample;

fn rules_of(files: Files) -> Vec<(&'static str, String)> {
    match PolicySet::from_files(files) {
        Ok(set) => set
            .warnings()
            .iter()
            .map(|finding| (finding.rule(), finding.to_string()))
            .collect(),
        Err(error) => error
            .findings()
            .iter()
            .map(|finding| (finding.rule(), finding.to_string()))
            .collect(),
    }
}

/// The set is refused, or warned of, by this rule.
fn check(rule: &str, path: &str, text: &str) {
    let found = rules_of(sample_with(path, text));
    assert!(
        found.iter().any(|(found, _)| *found == rule),
        "{rule} not among {found:#?}"
    );
    let refused = PolicySet::from_files(sample_with(path, text)).is_err();
    assert_eq!(refused, rule < "P50", "{rule}: {found:#?}");
}

/// A permit that is fine but for this clause.
fn permit(clause: &str) -> String {
    format!(
        r#"@id("x") permit (principal is Stint::Workload, action == Action::"deploy", resource)
           when {{ context has github && context.github.repository_id == "1" }} {clause};"#
    )
}

fn forbid(clause: &str) -> String {
    format!(
        r#"@id("x") forbid (principal, action == Action::"deploy", resource in Environment::"prod") {clause};"#
    )
}

fn schema(more: &str) -> String {
    let schema = sample();
    let schema = std::str::from_utf8(schema.get("schema.cedarschema").unwrap()).unwrap();
    format!("{schema}\n{more}")
}

#[test]
fn the_sample_is_whole_and_its_tests_pass() {
    let set = sample_set();
    let report = set.test();
    assert!(
        report.passed() && report.ran() == 12,
        "{:#?}",
        report.findings()
    );
    assert!(set.warnings().is_empty(), "{:#?}", set.warnings());
    assert_eq!(
        set.owner_of(&"spiffe://acme.dev/github/123456/456789".parse().unwrap())
            .as_deref(),
        Some("release")
    );
}

#[test]
fn findings_have_a_place_and_a_rule() {
    let error = PolicySet::from_files(sample_with(
        "web.cedar",
        "\n  permit (principal, action, resource);",
    ))
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("error     P01 web.cedar:2:3 a policy has an `@id`"),
        "{text}"
    );
    assert!(
        text.contains("error     P07 web.cedar:2:3 this permit pins nobody"),
        "{text}"
    );
}

#[test]
fn p01_ids_are_there_and_unique() {
    check("P01", "x.cedar", "forbid (principal, action, resource);");
    check(
        "P01",
        "x.cedar",
        r#"@id("deploy-staging") forbid (principal, action == Action::"deploy", resource);"#,
    );
}

#[test]
fn p02_annotations_are_a_closed_vocabulary() {
    check(
        "P02",
        "x.cedar",
        r#"@id("x") @max_tll("1h") forbid (principal, action == Action::"deploy", resource);"#,
    );
    check(
        "P02",
        "schema.cedarschema",
        &schema(r#"@labl("x") entity Thing;"#),
    );
    check(
        "P02",
        "schema.cedarschema",
        &schema(r#"@open entity Thing { a: String };"#),
    );
}

#[test]
fn p03_what_cedar_refuses() {
    check("P03", "x.cedar", "permit (principal");
    check(
        "P03",
        "x.cedar",
        r#"@id("x") permit (principal == ?principal, action, resource);"#,
    );
    check(
        "P03",
        "x.cedar",
        &permit("when { context.github.ref == \"x\" }"),
    );
    check(
        "P03",
        "x.cedar",
        &permit("when { context.credential.kind == Stint::CredentialKind::\"x508\" }"),
    );
    check(
        "P03",
        "x.cedar",
        &permit("when { resource.owner.colour == 1 }"),
    );
    check("P03", "schema.cedarschema", "entity");
    check("P03", "entities.json", "[");
    check(
        "P03",
        "entities.json",
        r#"[{"uid":{"type":"Database","id":"x"},"attrs":{},"parents":[]}]"#,
    );
    check(
        "P03",
        "entities.json",
        r#"[{"uid":{"type":"Table","id":"x"},"attrs":{"labels":[]},"parents":[{"type":"Database","id":"gone"}]}]"#,
    );
}

#[test]
fn p03_no_member_of_entities_is_written_twice() {
    let owner = |of: &str| format!(r#""owner":{{"type":"Stint::Group","id":"{of}"}}"#);
    let entity = |attrs: &str| {
        format!(
            r#"[{{"uid":{{"type":"Stint::Workload","id":"x"}},"attrs":{{{attrs}}},"parents":[]}}]"#
        )
    };
    check(
        "P03",
        "entities.json",
        &entity(&format!("{},{}", owner("a"), owner("b"))),
    );
    let twice = entity(&owner("a")).replace(r#""attrs""#, r#""attrs":{},"attrs""#);
    check("P03", "entities.json", &twice);
    let twice = entity(&owner("a")).replace(r#""id":"a""#, r#""id":"b","id":"a""#);
    check("P03", "entities.json", &twice);
}

#[test]
fn p04_p05_p06_gates_have_one_form() {
    let clause = r#"unless { context.approvals.contains({ by: Stint::Group::"sre", votes: 2 }) }"#;
    check(
        "P04",
        "x.cedar",
        &forbid(r#"when { context.approvals.contains({ by: Stint::Group::"sre", votes: 2 }) }"#),
    );
    check(
        "P04",
        "x.cedar",
        &forbid(r#"unless { context.approvals.contains({ by: Stint::Group::"sre", votes: 0 }) }"#),
    );
    check(
        "P04",
        "x.cedar",
        &forbid(r#"unless { context.approvals.contains({ by: Stint::Group::"sre", votes: 17 }) }"#),
    );
    check("P04", "x.cedar", &permit(clause));
    check("P04", "x.cedar", &forbid(&format!("{clause} {clause}")));
    check("P05", "x.cedar", &forbid(clause));
    check(
        "P05",
        "x.cedar",
        &format!(
            r#"@approvers("Group::\"sre\"") @quorum("1") {}"#,
            forbid(clause)
        ),
    );
    check(
        "P05",
        "x.cedar",
        &format!(
            r#"@approvers("Group::\"dev\"") @quorum("2") {}"#,
            forbid(clause)
        ),
    );
    let one = r#"{"uid":{"type":"Stint::User","id":"spiffe://acme.dev/user/dana"},"attrs":{},"parents":[{"type":"Stint::Group","id":"sre"}]},"#;
    let entities = sample();
    let entities = std::str::from_utf8(entities.get("entities.json").unwrap()).unwrap();
    check(
        "P06",
        "entities.json",
        &entities.replacen('[', &format!("[{one}"), 1),
    );
}

#[test]
fn p07_permits_pin_somebody() {
    check(
        "P07",
        "x.cedar",
        r#"@id("x") permit (principal is Stint::Workload, action == Action::"deploy", resource);"#,
    );
    check(
        "P07",
        "x.cedar",
        r#"@id("x") permit (principal is Stint::Workload, action == Action::"deploy", resource) when { context.caller.issuer == "github" };"#,
    );
    check(
        "P07",
        "x.cedar",
        r#"@id("x") permit (principal is Stint::Workload, action == Action::"deploy", resource) when { context has github && (context.github.repository_id == "1" || context.caller.issuer == "a") };"#,
    );
}

#[test]
fn p08_p10_names_and_patterns_do_not_decide() {
    check(
        "P08",
        "x.cedar",
        r#"@id("x") permit (principal in Stint::Group::"g", action == Action::"deploy", resource) when { context has github.repository && context.github.repository == "acme/web" };"#,
    );
    check(
        "P10",
        "x.cedar",
        &permit(r#"when { context.github.repository_owner_id like "12*" }"#),
    );
    check(
        "P10",
        "x.cedar",
        &forbid(r#"unless { context.caller.issuer like "git*" }"#),
    );
}

#[test]
fn p11_ttl_is_bounded_from_the_safe_side() {
    check(
        "P11",
        "x.cedar",
        &permit("when { context.credential.ttl_s >= 60 }"),
    );
    check(
        "P11",
        "x.cedar",
        &permit("unless { context.credential.ttl_s < 60 }"),
    );
    check(
        "P11",
        "x.cedar",
        &permit("when { context.credential.ttl_s == 60 }"),
    );
    check(
        "P11",
        "x.cedar",
        &permit("when { context.credential.ttl_s + 1 <= 60 }"),
    );
    check(
        "P11",
        "x.cedar",
        &forbid("when { 60 > context.credential.ttl_s }"),
    );
    for fine in [
        permit("when { context.credential.ttl_s <= 900 || 60 > context.credential.ttl_s }"),
        permit("unless { context.credential.ttl_s > 900 }"),
        forbid("when { context.credential.ttl_s > 900 }"),
    ] {
        let found = rules_of(sample_with("x.cedar", &fine));
        assert!(!found.iter().any(|(rule, _)| *rule == "P11"), "{found:#?}");
    }
}

#[test]
fn p12_words_must_be_possible() {
    check(
        "P12",
        "x.cedar",
        &forbid(r#"when { context.history.actions.contains("depoly") }"#),
    );
    check(
        "P12",
        "x.cedar",
        &forbid(r#"when { context.history.labels.contains("pie") }"#),
    );
    check(
        "P12",
        "x.cedar",
        &forbid(r#"unless { context.origin has trigger && context.origin.trigger == "pushed" }"#),
    );
}

#[test]
fn p13_a_forbid_does_not_open_by_itself() {
    check(
        "P13",
        "x.cedar",
        &format!(r#"@expires("2027-01-01T00:00:00Z") {}"#, forbid("")),
    );
}

#[test]
fn p14_p15_p55_actions_are_whole_and_outside_stint() {
    check(
        "P14",
        "schema.cedarschema",
        &schema(
            r#"@label("x") action x appliesTo { principal: [Stint::User], resource: [External], context: Stint::Ask };"#,
        ),
    );
    check(
        "P14",
        "schema.cedarschema",
        &schema(
            r#"@label("x") @doc("x") action x appliesTo { principal: [External], resource: [External], context: Stint::Ask };"#,
        ),
    );
    check(
        "P14",
        "schema.cedarschema",
        &schema(
            r#"@label("x") @doc("x") action x appliesTo { principal: [Stint::User], resource: [External], context: { now: datetime } };"#,
        ),
    );
    check(
        "P14",
        "schema.cedarschema",
        &schema(
            r#"@label("x") @doc("x") action x appliesTo { principal: [Stint::User], resource: [External] };"#,
        ),
    );
    check(
        "P15",
        "schema.cedarschema",
        &schema("namespace Stint { entity Mine; }"),
    );
    check(
        "P55",
        "schema.cedarschema",
        &schema(
            r#"@label("x") @doc("x") action x appliesTo { principal: [Stint::Agent], resource: [External], context: Stint::Ask };"#,
        ),
    );
}

#[test]
fn p16_sizes_have_bounds() {
    let many: String = (0..65)
        .map(|n| permit("").replace("@id(\"x\")", &format!("@id(\"x{n}\")")))
        .collect();
    check("P16", "x.cedar", &many);
    let long = (0..257)
        .map(|n| format!("\"{n}\""))
        .collect::<Vec<_>>()
        .join(",");
    check(
        "P16",
        "x.cedar",
        &permit(&format!(
            "when {{ [{long}].contains(context.github.repository_owner_id) }}"
        )),
    );
    let deep = format!(
        "when {{ {}context.caller.issuer == \"a\"{} }}",
        "!(".repeat(40),
        ")".repeat(40)
    );
    check("P16", "x.cedar", &permit(&deep));
    check(
        "P16",
        "x.cedar",
        &format!("//{}", "x".repeat(4 * 1024 * 1024)),
    );
}

#[test]
fn p16_no_file_overflows_the_stack() {
    let deep = |open: &str, n: usize, close: &str| {
        permit(&format!(
            "when {{ {}true{} }}",
            open.repeat(n),
            close.repeat(n)
        ))
    };
    let chain = |link: &str, n: usize| permit(&format!("when {{ {}true }}", link.repeat(n)));
    for text in [
        chain("true || ", 5_000),
        chain("1 + ", 5_000),
        deep("(", 20_000, ")"),
        deep("!(", 20_000, ")"),
        deep("[", 20_000, "]"),
        deep("{a: ", 20_000, "}"),
        permit(&format!("when {{ context{} == 1 }}", ".a".repeat(20_000))),
        permit(&format!(
            "when {{ context{} == 1 }}",
            "[\"a\"]".repeat(20_000)
        )),
        permit(&"when { true } ".repeat(20_000)),
    ] {
        check("P16", "x.cedar", &text);
    }
    for (open, close) in [("Set<", ">"), ("{ a: ", "}")] {
        let text = format!(
            "type X = {}Long{};",
            open.repeat(20_000),
            close.repeat(20_000)
        );
        check("P16", "schema.cedarschema", &schema(&text));
    }
    // What Cedar is given does not overflow the stack of a thread.
    for text in [
        chain(r#"context.caller.issuer == "a" || "#, 80),
        deep("(", 60, ")"),
        chain("true || ", 245),
        chain("1 + ", 245),
        chain(&format!("{}true || ", "!".repeat(4)), 49),
        permit(&format!(
            "when {{ {}{}true{} }}",
            "(".repeat(60),
            "true || ".repeat(185),
            ")".repeat(60)
        )),
        permit(&format!("when {{ context{} == 1 }}", ".a".repeat(245))),
        permit(&"when { true } ".repeat(245)),
    ] {
        let files = sample_with("x.cedar", &text);
        if let Ok(set) = PolicySet::from_files(files.clone()) {
            drop(set.judge(&Ask::new("deploy", "Environment::staging/web").query()));
        }
        let found = rules_of(files);
        assert!(
            !found
                .iter()
                .any(|(_, said)| said.contains("a policy of more than")),
            "{found:#?}"
        );
    }
}

#[test]
fn p17_only_known_files_and_readable_text() {
    check("P17", "notes.txt", "hello");
    check("P17", "prove.cedar", "");
    check("P17", "sub/x.cedar", "");
    check("P17", "x.cedar", "// \u{202e}right to left");
    check("P17", "x.cedar", "// e\u{301}");
    let mut files = sample();
    files.insert("x.cedar", vec![0xff]);
    assert_eq!(rules_of(files)[0].0, "P17");
}

#[test]
fn p18_a_set_that_fails_its_tests_takes_no_force() {
    let mut files = sample();
    let tests = std::str::from_utf8(files.get("tests/sample.toml").unwrap())
        .unwrap()
        .replace("ttl = \"30m\"", "ttl = \"31m\"");
    files.insert("tests/sample.toml", tests);
    let error = PolicySet::from_files(files).unwrap_err().to_string();
    assert!(error.contains("P18 tests/sample.toml:10:1 case \"staging is free, from any branch\" for main: ttl: expected 1860, got 1800"), "{error}");
    check("P18", "tests/x.toml", "now = 1\nextra = 2");
    check("P18", "tests/x.toml", "[case.a]\nlike = \"b\"");
    check("P18", "tests/x.toml", "[case.a]\nlike = \"a\"");
}

#[test]
fn p19_serials_are_positive() {
    check("P19", "policy.toml", "serial = 0");
    check("P19", "policy.toml", "serial = -1");
    check("P19", "policy.toml", "serail = 1");
    assert_eq!(
        PolicySet::from_files(sample_with("policy.toml", "serial = 7"))
            .unwrap()
            .serial(),
        Some(7)
    );
}

#[test]
fn warnings_do_not_stop_a_set() {
    check(
        "P50",
        "x.cedar",
        &forbid(r#"when { context has github.ref && context.github.ref == "refs/heads/x" }"#),
    );
    check("P51", "x.cedar", &forbid(""));
    check("P52", "x.cedar", &forbid(""));
    check("P53", "x.cedar", &permit(""));
    let jwt = permit("")
        .replace("@id(\"x\")", "@id(\"x\") @credential(\"jwt\")")
        .replace("== \"1\"", "== \"456789\"");
    check("P54", "x.cedar", &jwt);
    let workspace = |more: &str| {
        let ours = r#"context has terraform_cloud && context.terraform_cloud.terraform_workspace_id == "ws-1""#;
        let theirs = r#"context has github && context.github.repository_id == "1""#;
        permit("").replace(theirs, &format!("{ours}{more}"))
    };
    check("P59", "x.cedar", &workspace(""));
    let apply = workspace(r#" && context has origin.phase && context.origin.phase == "apply""#);
    let found = rules_of(sample_with("x.cedar", &apply));
    assert!(found.iter().all(|(rule, _)| *rule != "P59"), "{found:#?}");
}

#[test]
fn the_address_covers_every_byte_of_every_file() {
    let (one, other) = (
        sample_set().hash(),
        PolicySet::from_files(sample_with("web.cedar", "// nothing"))
            .unwrap()
            .hash(),
    );
    assert_eq!(one, sample_set().hash());
    assert_ne!(one, other);
    assert_eq!(one.to_string().len(), 43);
    assert!(sample().digests().contains_key("stint.cedarschema"));
}

#[cfg(unix)]
#[test]
fn a_directory_is_read_without_following_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in sample().iter() {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::create_dir(dir.path().join(".git")).unwrap();
    assert_eq!(
        PolicySet::load(dir.path()).unwrap().hash(),
        sample_set().hash()
    );
    let web = dir.path().join("web.cedar");
    fs::set_permissions(&web, fs::Permissions::from_mode(0o646)).unwrap();
    symlink("/etc/hostname", dir.path().join("link.cedar")).unwrap();
    let error = PolicySet::load(dir.path()).unwrap_err();
    let mut found: Vec<&str> = error.findings().iter().map(Finding::file).collect();
    found.sort_unstable();
    assert_eq!(found, ["link.cedar", "web.cedar"]);
    fs::write(dir.path().join("data.cedar"), "permit (principal").unwrap();
    let error = PolicySet::load(dir.path()).unwrap_err();
    let mut found: Vec<&str> = error.findings().iter().map(Finding::file).collect();
    found.sort_unstable();
    assert_eq!(found, ["data.cedar", "link.cedar", "web.cedar"]);
    assert!(open(&dir.path().join("link.cedar")).is_err());
    assert!(matches!(
        PolicySet::load(Path::new("/no/such/place")),
        Err(LoadError::Io { .. })
    ));
}

#[cfg(unix)]
#[test]
fn p58_warns_of_a_file_that_a_group_can_write() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.toml");
    fs::write(&path, "serial = 1").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    let uid = fs::metadata(&path).unwrap().uid();
    let warned = || -> Vec<&str> {
        let set = PolicySet::load(dir.path()).unwrap();
        set.warnings().iter().map(Finding::rule).collect()
    };
    for (gid, expected) in [(uid, vec![]), (uid + 1, vec!["P58"])] {
        // Only root can give a file to any group.
        if chown(&path, None, Some(gid)).is_ok() {
            assert_eq!(warned(), expected);
        }
    }
}

#[test]
fn a_finding_does_nothing_to_a_terminal() {
    let mut files = sample();
    files.insert("\u{1b}[2J\n\u{202e}.txt", "");
    let error = PolicySet::from_files(files).unwrap_err().to_string();
    assert!(error.contains(r"\u{1b}[2J\n\u{202e}.txt:1:1"), "{error}");
    let text = permit("").replace("@id(\"x\")", r#"@id("x") @max_ttl("\u{1b}[2J")"#);
    let found = rules_of(sample_with("x.cedar", &text));
    assert!(
        found.iter().all(|(_, said)| !said.contains('\u{1b}')),
        "{found:?}"
    );
}

/// As many as may be; each of them is held against its like (P54), and none is like another.
#[test]
fn five_thousand_policies_load_and_none_shadows_another() {
    let policies = (0..4_990).map(|n| {
        let kind = if n % 2 == 0 { "x509" } else { "jwt" };
        format!(
            r#"@id("p{n}") @credential("{kind}") permit (principal is Stint::Workload, action == Action::"deploy", resource)
               when {{ context.caller.issuer == "github" && context has github && context.github.repository_id == "{n}" }};"#
        )
    });
    let files = sample_with("x.cedar", &policies.collect::<String>());
    let set = PolicySet::from_files(files).unwrap();
    assert!(set.len() >= 4_990, "{}", set.len());
    assert!(set.warnings().iter().all(|finding| finding.rule() != "P54"));
}
