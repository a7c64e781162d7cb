//! What loads, and what an operator is told about what does not.

use serde_json::{Value as Json, json};

use super::{
    build, build_in, context, github_config, gitlab_config, kubernetes_config, with, without,
};
use crate::authenticate::Roster;
use crate::authenticate::entry::{Context, IssuerConfig, Transport};
use crate::authenticate::tests::idp::Signer;

/// A spoilt entry, and the key and words of its one fault.
fn check(config: Json, change: impl FnOnce(&mut Json), key: &str, words: &str) {
    let config = with(config, change);
    let faults = build("ci", config.clone())
        .map(|entry| entry.name().to_owned())
        .unwrap_err();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| (fault.key.as_str(), fault.text.as_str()))
        .collect();
    match told.as_slice() {
        [(found, text)] if *found == key && text.contains(words) => {}
        _ => panic!("{config}: {told:?}"),
    }
}

fn generic(key: &Signer) -> Json {
    json!({"preset": "generic", "url": "https://idp.example", "audience": "stint", "alg": ["ES256"],
        "immutable": ["sub"], "id": "{sub}", "extra": {"sub": {"claim": "sub", "type": "string"}},
        "only": {"sub": ["a"]}, "jwks": key.jwks()})
}

#[test]
fn lints_stop_the_load() {
    let rsa = Signer::rsa("k");
    let (github, gitlab) = (|| github_config(&rsa), || gitlab_config(&rsa));
    check(github(), |c| *c = without(c.take(), "only"), "only", "I01");
    check(
        github(),
        |c| c["only"] = json!({"environment": ["prod"]}),
        "only",
        "I01",
    );
    check(
        gitlab(),
        |c| c["url"] = json!("https://gitlab.com"),
        "only",
        "I01",
    );
    check(
        github(),
        |c| c["only"]["repository_owner_id"] = json!(["6*"]),
        "only.repository_owner_id",
        "I02",
    );
    check(
        github(),
        |c| c["audience"] = json!("https://{tenant}.example"),
        "audience",
        "I02",
    );
    check(
        gitlab(),
        |c| c["url"] = json!("https://*.example.com"),
        "url",
        "I02",
    );
    check(
        github(),
        |c| c["only"]["run_id"] = json!(["^1$"]),
        "only.run_id",
        "I02",
    );
    check(
        gitlab(),
        |c| c["only"] = json!({"project_path": ["g/p"]}),
        "only.project_path",
        "I03",
    );
    check(github(), |c| c["id"] = json!("{event_name}"), "id", "I03");
    check(
        github(),
        |c| c["audience"] = json!("https://github.com/octo"),
        "audience",
        "I04",
    );
    check(
        github(),
        |c| c["audience"] = json!("sts.amazonaws.com"),
        "audience",
        "I04",
    );
    check(
        gitlab(),
        |c| c["audience"] = json!("https://gitlab.example.com"),
        "audience",
        "I04",
    );
    check(
        github(),
        |c| c["id"] = json!("{repository_id}/{environment}"),
        "id",
        "I06",
    );
    let mapped = |c: &mut Json| {
        c["extra"] = json!({"team": {"claim": "repo_property_team", "type": "string"}});
        c["id"] = json!("{repository_id}/{team}");
    };
    check(github(), mapped, "id", "I06");
}

#[test]
fn the_same_issuer_and_audience_twice_does_not_load() {
    let key = Signer::rsa("k");
    let entries = ["a", "b"].map(|name| build(name, github_config(&key)).unwrap());
    let faults = Roster::new(entries.into()).unwrap_err();
    assert_eq!(
        (faults.len(), faults[0].0.as_str(), faults[0].1.key.as_str()),
        (1, "b", "audience")
    );
}

#[test]
fn each_key_has_its_fault() {
    let (rsa, ec) = (Signer::rsa("k"), Signer::ec("k"));
    let (github, gitlab, generic) = (
        || github_config(&rsa),
        || gitlab_config(&rsa),
        || generic(&ec),
    );
    check(
        github(),
        |c| c["preset"] = json!("github"),
        "preset",
        "no preset",
    );
    check(
        gitlab(),
        |c| *c = without(c.take(), "url"),
        "url",
        "is missing",
    );
    check(
        gitlab(),
        |c| c["url"] = json!("http://gitlab.example.com"),
        "url",
        "https://",
    );
    check(
        gitlab(),
        |c| c["url"] = json!("https://me@gitlab.example.com"),
        "url",
        "https://",
    );
    check(
        gitlab(),
        |c| c["url"] = json!("https://gitlab.example.com#x"),
        "url",
        "https://",
    );
    check(
        gitlab(),
        |c| c["url"] = json!("https://stint.example/"),
        "url",
        "this broker",
    );
    check(
        generic(),
        |c| *c = without(c.take(), "id"),
        "id",
        "is missing",
    );
    check(
        generic(),
        |c| *c = without(c.take(), "audience"),
        "audience",
        "is missing",
    );
    check(
        generic(),
        |c| *c = without(c.take(), "alg"),
        "alg",
        "is missing",
    );
    check(generic(), |c| *c = without(c.take(), "only"), "only", "I01");
    check(
        generic(),
        |c| c["immutable"] = json!(["sub", "oid"]),
        "immutable",
        "`oid`",
    );
    check(generic(), |c| c["alg"] = json!(["HS256"]), "alg", "`HS256`");
    check(github(), |c| c["alg"] = json!(["ES256"]), "alg", "`ES256`");
    check(github(), |c| c["task"] = json!("{run}"), "task", "`{run}`");
    check(
        github(),
        |c| c["task"] = json!("{ref_protected}"),
        "task",
        "path segment",
    );
    check(
        github(),
        |c| c["task"] = json!("run-{run_id}"),
        "task",
        "segment",
    );
    check(
        github(),
        |c| c["owner"] = json!("{team}"),
        "owner",
        "`{team}`",
    );
    check(
        github(),
        |c| c["events"] = json!(["workflow_run"]),
        "events",
        "outsiders",
    );
    check(
        gitlab(),
        |c| c["events"] = json!(["push"]),
        "events",
        "judges no events",
    );
    check(github(), |c| c["kind"] = json!("user"), "kind", "`user`");
    check(
        github(),
        |c| c["reuse"] = json!("always"),
        "reuse",
        "`always`",
    );
    check(
        github(),
        |c| c["max_token_life"] = json!("25h"),
        "max_token_life",
        "24h",
    );
    check(
        github(),
        |c| c["max_token_life"] = json!("1d"),
        "max_token_life",
        "`1d`",
    );
    check(
        github(),
        |c| c["extra"] = json!({"x": {"claim": "x", "type": "text"}}),
        "extra.x",
        "`text`",
    );
    check(
        github(),
        |c| c["extra"] = json!({"x": {"type": "string"}}),
        "extra.x",
        "either",
    );
    check(
        github(),
        |c| c["extra"] = json!({"x": {"pointer": "a", "type": "string"}}),
        "extra.x",
        "pointer",
    );
    check(
        github(),
        |c| c["extra"] = json!({"sha": {"claim": "x", "type": "string"}}),
        "extra.sha",
        "already",
    );
    check(
        github(),
        |c| c["only"]["team"] = json!(["a"]),
        "only.team",
        "no claim",
    );
    check(
        github(),
        |c| c["jwks"] = json!({"keys": []}),
        "jwks",
        "no usable key",
    );
    check(
        github(),
        |c| c["jwks_file"] = json!("/nowhere"),
        "jwks_file",
        "second place",
    );
    let file = |c: &mut Json| {
        *c = with(without(c.take(), "jwks"), |c| {
            c["jwks_file"] = json!("/nowhere")
        })
    };
    check(github(), file, "jwks_file", "cannot be read");
    let network = |key: &'static str, value: Json| {
        move |c: &mut Json| *c = with(without(c.take(), "jwks"), |c| c[key] = value)
    };
    check(
        github(),
        network("allow_private", json!(["10.0.0.1/8"])),
        "allow_private",
        "10.0.0.1/8",
    );
    check(
        github(),
        network("jwks_hosts", json!(["https://x"])),
        "jwks_hosts",
        "host name",
    );
    check(
        github(),
        network("jwks_uri", json!("http://x.example")),
        "jwks_uri",
        "https://",
    );
    check(
        github(),
        network("ca_file", json!("/nowhere")),
        "ca_file",
        "cannot be read",
    );
    check(
        github(),
        |c| c["jwks_max_age"] = json!("11m"),
        "jwks_max_age",
        "not within",
    );
    check(
        github(),
        |c| c["jwks_stale"] = json!("5m"),
        "jwks_stale",
        "not within",
    );
}

#[test]
fn names_are_short_words_that_nothing_else_uses() {
    let key = Signer::rsa("k");
    for name in [
        "",
        "GitHub",
        "a_b",
        "a/b",
        "stint",
        "user",
        "agent",
        &"a".repeat(33),
    ] {
        assert_eq!(
            build(name, github_config(&key)).unwrap_err().len(),
            1,
            "{name}"
        );
    }
    assert!(build("github-2", github_config(&key)).is_ok());
}

#[test]
fn all_faults_are_told_at_once_and_unknown_keys_are_refused() {
    let key = Signer::ec("k");
    let config = with(kubernetes_config(&key), |c| {
        (c["kind"], c["reuse"], c["task"]) = (json!("x"), json!("y"), json!("{z}"));
    });
    let keys: Vec<_> = build("k", config)
        .unwrap_err()
        .into_iter()
        .map(|fault| fault.key)
        .collect();
    assert_eq!(keys, ["task", "kind", "reuse"]);
    let odd = with(kubernetes_config(&key), |c| c["audiance"] = json!("x"));
    assert!(serde_json::from_value::<IssuerConfig>(odd).is_err());
}

#[test]
fn what_weakens_is_a_warning() {
    let key = Signer::rsa("k");
    let config = with(github_config(&key), |c| {
        (c["max_token_life"], c["reuse"]) = (json!("1h"), json!("same-key"));
        (c["events"], c["privileged_events"]) = (json!(["workflow_run"]), json!(true));
    });
    let entry = build("github", config).unwrap();
    let keys: Vec<_> = entry
        .warnings()
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    assert_eq!(keys, ["max_token_life", "privileged_events", "reuse"]);
    assert!(
        build("github", github_config(&key))
            .unwrap()
            .warnings()
            .is_empty()
    );
}

#[test]
fn http_is_for_loopback_in_dev_alone() {
    let key = Signer::rsa("k");
    let dev = Context {
        transport: Transport::LoopbackHttp,
        ..context()
    };
    let config = with(github_config(&key), |c| {
        c["url"] = json!("http://127.0.0.1:8640/dev/github")
    });
    assert!(build_in(&dev, "github", config.clone()).is_ok());
    assert_eq!(build("github", config).unwrap_err()[0].key, "url");
}
