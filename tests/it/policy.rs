//! Policies that change: whole or not at all, each change an entry, the last good set deciding meanwhile.

use serde_json::{Value, json};
use stint_tests::clock::eventually;
use stint_tests::process::signal;
use stint_tests::{TestBroker, together};
use stint_wire::Code;

const STAGING: &str = "Environment::staging/web";
const PROD: &str = "Environment::prod/web";

/// Lets acme/api deploy to staging.
const MORE: &str = r#"@id("api-staging") @owner("Group::\"release\"") @max_ttl("10m") @credential("x509")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
when { context has github && context.github.repository_id == "1" };
"#;

async fn api(broker: &TestBroker) -> u16 {
    let ask = broker
        .ci("acme/api")
        .claim("repository_id", json!("1"))
        .ask("deploy", STAGING);
    ask.x509().await.status.as_u16()
}

/// The `policy` line of `/readyz`, and its status.
async fn ready(broker: &TestBroker) -> (u16, Value) {
    let answer = broker.operator("GET", "/readyz").await;
    let checks = answer.json();
    let policy = checks
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["check"] == "policy")
        .unwrap();
    (answer.status.as_u16(), policy.clone())
}

async fn loaded(broker: &TestBroker) -> Vec<Value> {
    broker
        .export()
        .await
        .of("policy_loaded")
        .into_iter()
        .map(|entry| entry.header)
        .collect()
}

#[tokio::test]
async fn a_saved_file_takes_force_when_it_is_loaded() {
    let mut broker = TestBroker::start().await;
    assert_eq!(api(&broker).await, 403);
    broker.write_policy("api.cedar", MORE);
    assert_eq!(api(&broker).await, 403, "nobody said so yet");
    let answer = broker.reload().await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["changed"].clone()),
        (200, json!(true)),
        "{}",
        answer.text()
    );
    assert_eq!(api(&broker).await, 201);

    let entries = loaded(&broker).await;
    let [first, second] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert_eq!(second["pol"], answer.json()["policy_version"]);
    assert_eq!(second["what"], json!({ "ok": true, "was": first["pol"] }));
    assert_eq!(
        broker.export().await.of("granted").pop().unwrap().header["pol"],
        second["pol"]
    );

    let again = broker.reload().await.json();
    assert_eq!(again["changed"], false);
    broker.restart().await.unwrap();
    assert_eq!(api(&broker).await, 201);
    assert_eq!(
        loaded(&broker).await.len(),
        2,
        "the same set again is no change"
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_watched_folder_is_live_by_itself() {
    let broker = TestBroker::with().watching().start().await;
    broker.write_policy("api.cedar", MORE);
    eventually("the file decides", async || api(&broker).await == 201).await;
    std::fs::remove_file(broker.path("policy/api.cedar")).unwrap();
    eventually("the file does not decide", async || {
        api(&broker).await == 403
    })
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_set_and_is_said_once() {
    let broker = TestBroker::start().await;
    let grant = async || {
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .x509()
            .await
            .status
            .as_u16()
    };
    for (round, bad) in ["permit (", "permit (principal, action, resource);"]
        .into_iter()
        .enumerate()
    {
        broker.write_policy("bad.cedar", bad);
        for _ in 0..3 {
            let answer = broker.reload().await;
            drop(answer.refused(Code::StateConflict));
            assert!(
                answer.text().contains("bad.cedar"),
                "it names the file: {}",
                answer.text()
            );
        }
        assert_eq!(grant().await, 201);
        let (status, policy) = ready(&broker).await;
        assert_eq!(
            (status, &policy["ok"], &policy["code"]),
            (200, &json!(false), &json!("policy_refused"))
        );
        let refused: Vec<_> = loaded(&broker)
            .await
            .into_iter()
            .filter(|header| header["what"].get("ok").is_none())
            .collect();
        assert_eq!(
            refused.len(),
            round + 1,
            "one entry a distinct refusal: {refused:?}"
        );
        assert_eq!(
            refused[round]["pol"],
            loaded(&broker).await[0]["pol"],
            "the set in force stays"
        );
    }
    std::fs::remove_file(broker.path("policy/bad.cedar")).unwrap();
    assert_eq!(broker.reload().await.json()["changed"], false);
    assert_eq!(ready(&broker).await.1["ok"], true);
    assert_eq!(grant().await, 201);
    broker.finish().await;
}

#[tokio::test]
async fn a_set_whose_own_cases_fail_is_refused() {
    let broker = TestBroker::start().await;
    let cases = broker.read_policy("tests/sample.toml");
    broker.write_policy(
        "tests/sample.toml",
        &cases.replacen("ttl = \"30m\" }", "ttl = \"29m\" }", 1),
    );
    let answer = broker.reload().await;
    drop(answer.refused(Code::StateConflict));
    assert!(
        answer.text().contains("staging is free"),
        "it names the case: {}",
        answer.text()
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_bad_set_stops_the_start() {
    let mut broker = TestBroker::start().await;
    broker.stop().await;
    broker.write_policy("bad.cedar", "permit (");
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("bad.cedar"), "{refused}");
    std::fs::remove_file(broker.path("policy/bad.cedar")).unwrap();
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn a_serial_never_shrinks_stands_still_or_vanishes() {
    let mut broker = TestBroker::start().await;
    broker.write_policy("policy.toml", "serial = 3\n");
    assert_eq!(broker.reload().await.status, 200);
    for (what, serial) in [
        ("smaller", "serial = 2\n"),
        ("the same for other content", "serial = 3\n"),
    ] {
        broker.write_policy("api.cedar", MORE);
        broker.write_policy("policy.toml", serial);
        let answer = broker.reload().await;
        drop(answer.refused(Code::StateConflict));
        assert!(answer.text().contains("P19"), "{what}: {}", answer.text());
        assert_eq!(api(&broker).await, 403, "{what}");
        broker.stop().await;
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(refused.contains("P19"), "{what}, at start: {refused}");
        std::fs::remove_file(broker.path("policy/api.cedar")).unwrap();
        broker.write_policy("policy.toml", "serial = 3\n");
        broker.restart().await.unwrap();
    }
    std::fs::remove_file(broker.path("policy/policy.toml")).unwrap();
    assert!(broker.reload().await.text().contains("P19"), "it vanished");
    broker.write_policy("api.cedar", MORE);
    broker.write_policy("policy.toml", "serial = 4\n");
    assert_eq!(broker.reload().await.status, 200);
    assert_eq!(api(&broker).await, 201);
    broker.finish().await;
}

#[tokio::test]
async fn an_empty_set_denies_all() {
    let broker = TestBroker::start().await;
    for name in ["web.cedar", "data.cedar"] {
        std::fs::remove_file(broker.path("policy").join(name)).unwrap();
    }
    std::fs::remove_dir_all(broker.path("policy/tests")).unwrap();
    let answer = broker.reload().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ask = |resource| broker.ci("acme/web").ask("deploy", resource).x509();
    drop(ask(STAGING).await.refused(Code::Denied));
    drop(ask(PROD).await.refused(Code::Denied));
    broker.finish().await;
}

#[tokio::test]
async fn an_ask_on_hold_is_judged_by_the_policy_of_the_day() {
    let broker = TestBroker::start().await;
    let ask = || broker.ci("acme/web").job("a").ask("deploy", PROD).x509();
    drop(ask().await.held());
    broker.write_policy(
        "freeze.cedar",
        r#"@id("holiday") @owner("Group::\"sre\"") @reason("Nobody deploys today.")
forbid (principal, action == Action::"deploy", resource in Environment::"prod");"#,
    );
    std::fs::remove_dir_all(broker.path("policy/tests")).unwrap();
    assert_eq!(broker.reload().await.status, 200);
    let receipt = ask().await.refused(Code::Denied).receipt().unwrap();
    assert!(
        receipt.decided_by.contains(&"holiday".to_owned()),
        "{receipt:?}"
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grant_names_the_set_that_was_in_force_at_its_place() {
    let broker = TestBroker::start().await;
    let load = async {
        let ask = |n: u32| {
            let broker = &broker;
            async move {
                for job in 0..12 {
                    let job = format!("{n}-{job}");
                    assert_eq!(
                        broker
                            .ci("acme/web")
                            .job(&job)
                            .ask("deploy", STAGING)
                            .x509()
                            .await
                            .status,
                        201
                    );
                }
            }
        };
        together((0..4).map(ask)).await;
    };
    let change = async {
        for round in 0..4 {
            broker.write_policy("api.cedar", &format!("// {round}\n{MORE}"));
            assert_eq!(broker.reload().await.status, 200);
        }
    };
    tokio::join!(load, change);
    let mut in_force = Value::Null;
    for entry in broker.export().await.entries() {
        match entry.header["kind"].as_str().unwrap() {
            "policy_loaded" => in_force = entry.header["pol"].clone(),
            "granted" => assert_eq!(
                entry.header["pol"], in_force,
                "entry {}",
                entry.header["seq"]
            ),
            _ => {}
        }
    }
    broker.finish().await;
}

#[tokio::test]
async fn the_program_loads_its_policies_anew_on_sighup() {
    let mut broker = TestBroker::with().real_time().start().await;
    broker.serve(None).await;
    assert_eq!(api(&broker).await, 403);
    broker.write_policy("api.cedar", MORE);
    signal(broker.process().id(), "HUP");
    eventually("the file decides", async || api(&broker).await == 201).await;
    broker.finish().await;
}
