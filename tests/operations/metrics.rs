//! `/metrics`: each outcome moves its counter, and nothing a caller says is in it.

use std::collections::BTreeMap;

use serde_json::json;
use stint_tests::keys::{self, DpopKey};
use stint_tests::{TestBroker, process};
use stint_wire::Code;

use crate::lies;

const STAGING: &str = "Environment::staging/web";
const PROD: &str = "Environment::prod/web";

/// Every sample of a scrape, by its name and labels.
pub(crate) async fn scrape(broker: &TestBroker) -> BTreeMap<String, f64> {
    let answer = broker.operator("GET", "/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), media);
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

fn of(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    samples.get(name).copied().unwrap_or_default()
}

#[tokio::test]
async fn each_outcome_moves_its_counter() {
    let broker = TestBroker::start().await;
    let caller = || broker.ci("acme/web").on("refs/heads/main");
    let before = scrape(&broker).await;
    drop(caller().ask("deploy", STAGING).x509().await.granted());
    drop(
        caller()
            .ask("deploy", STAGING)
            .jwt("https://r.acme.dev")
            .await
            .granted(),
    );
    let csr = keys::csr();
    let hold = || caller().job("7").ask("deploy", PROD);
    assert!(hold().csr(&csr).await.held().created);
    // Asked again it is the same request, and no decision more.
    assert!(!hold().csr(&csr).await.held().created);
    drop(
        broker
            .ci("acme/web")
            .on("refs/heads/x")
            .ask("deploy", PROD)
            .x509()
            .await
            .refused(Code::Denied),
    );
    drop(
        caller()
            .ask("deploy", PROD)
            .member("credential", json!({ "kind": "x509" }))
            .judge()
            .await
            .judged(),
    );
    assert_eq!(broker.reload().await.status, 200);
    let after = scrape(&broker).await;
    let moved = |name: &str| of(&after, name) - of(&before, name);
    for (name, by) in [
        (
            "stint_decisions_total{outcome=\"permit\",issuer=\"github\"}",
            2.0,
        ),
        (
            "stint_decisions_total{outcome=\"hold\",issuer=\"github\"}",
            1.0,
        ),
        (
            "stint_decisions_total{outcome=\"deny\",issuer=\"github\"}",
            1.0,
        ),
        ("stint_decision_seconds_count", 4.0),
        ("stint_grants_total{kind=\"x509\"}", 1.0),
        ("stint_grants_total{kind=\"jwt\"}", 1.0),
        ("stint_grant_seconds_count{kind=\"jwt\"}", 1.0),
        ("stint_requests_pending", 1.0),
        ("stint_ledger_entries", 4.0),
        ("stint_ledger_batch_entries_sum", 4.0),
        ("stint_policy_reloads_total{outcome=\"same\"}", 1.0),
        (
            "stint_http_requests_total{route=\"/v1/grants\",status=\"201\"}",
            2.0,
        ),
        (
            "stint_http_requests_total{route=\"/v1/grants\",status=\"202\"}",
            2.0,
        ),
        (
            "stint_http_requests_total{route=\"/v1/grants\",status=\"403\"}",
            1.0,
        ),
        (
            "stint_http_requests_total{route=\"/v1/decisions\",status=\"200\"}",
            1.0,
        ),
    ] {
        assert_eq!(moved(name), by, "{name}");
    }
    assert!(moved("stint_ledger_commit_seconds_count") >= 1.0);
    assert!(moved("stint_ledger_commit_seconds_sum") > 0.0);
    assert_eq!(of(&after, "stint_ledger_queue"), 0.0);
    broker.finish().await;
}

#[tokio::test]
async fn each_reason_is_counted_under_its_word_and_issuer() {
    let broker = TestBroker::start().await;
    let before = scrape(&broker).await;
    let mut wanted: BTreeMap<&str, f64> = BTreeMap::new();
    for lie in lies::all(&broker) {
        let asking = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&lie.token);
        drop(asking.x509().await.refused(Code::EvidenceRejected));
        *wanted.entry(lie.reason).or_default() += 1.0;
    }
    let spent = broker.ci("acme/web").token();
    let again = || broker.ci("acme/web").ask("deploy", STAGING).token(&spent);
    drop(again().x509().await.granted());
    for _ in 0..2 {
        drop(again().x509().await.refused(Code::EvidenceRejected));
    }
    wanted.insert("replay", 2.0);
    let after = scrape(&broker).await;
    for (reason, count) in wanted {
        let issuers = ["", "github"].map(|issuer| {
            let name =
                format!("stint_evidence_rejected_total{{issuer=\"{issuer}\",reason=\"{reason}\"}}");
            of(&after, &name) - of(&before, &name)
        });
        assert_eq!(issuers.iter().sum::<f64>(), count, "{reason}: {issuers:?}");
    }
    broker.finish().await;
}

/// A proof is judged before the evidence beside it, so it has no issuer.
#[tokio::test]
async fn a_proof_that_does_not_hold_is_counted() {
    let broker = TestBroker::start().await;
    let token = broker.ci("acme/web").token();
    let proof = DpopKey::default().proof("http://localhost:8640/v1/whoami", &token, broker.now());
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("dpop", &*proof),
    ];
    drop(
        broker
            .post("/v1/grants", &headers, b"{}")
            .await
            .refused(Code::InvalidDpopProof),
    );
    let after = scrape(&broker).await;
    let name = "stint_evidence_rejected_total{issuer=\"\",reason=\"proof\"}";
    assert_eq!(of(&after, name), 1.0);
    broker.finish().await;
}

/// Whatever strangers and callers send, the series are those that were there (SECURITY.md §2, rule 18).
#[tokio::test]
async fn nobody_outside_makes_a_series() {
    let broker = TestBroker::start().await;
    let names = |samples: BTreeMap<String, f64>| -> Vec<String> { samples.into_keys().collect() };
    let noise = async |word: &str| {
        for path in [
            format!("/{word}"),
            format!("/v1/{word}"),
            format!("/a/{word}"),
        ] {
            broker.get(&path).await;
        }
        broker
            .request(&word.to_uppercase(), "/v1/trust", &[], b"")
            .await;
        let asking = broker
            .ci(&format!("acme/{word}"))
            .ask(word, &format!("Thing::{word}"));
        asking.jwt(&format!("https://{word}.test")).await;
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&format!("{word}.{word}.{word}"))
            .x509()
            .await;
    };
    noise("zebra").await;
    // The scrapes are counted too: two, so that their own series are there.
    drop((scrape(&broker).await, scrape(&broker).await));
    let before = names(scrape(&broker).await);
    for word in ["heron", "badger", "Bearer", "eyj"] {
        noise(word).await;
    }
    let after = names(scrape(&broker).await);
    assert_eq!(before, after);
    let text = after.join("\n");
    for word in ["heron", "acme", "spiffe", "staging", "gr_", "task_"] {
        assert!(!text.contains(word), "{word}:\n{text}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn readiness_keys_and_ages_are_told() {
    let broker = TestBroker::start().await;
    let caller = || broker.ci("acme/web").on("refs/heads/main");
    drop(caller().ask("deploy", STAGING).x509().await.granted());
    broker.clock.advance(7);
    let samples = scrape(&broker).await;
    assert_eq!(
        of(&samples, "stint_ready{check=\"ledger\"}"),
        1.0,
        "{samples:?}"
    );
    assert_eq!(of(&samples, "stint_ready{check=\"policy\"}"), 1.0);
    assert_eq!(of(&samples, "stint_checkpoint_age_seconds"), 7.0);
    assert_eq!(of(&samples, "stint_frozen"), 0.0);
    let (root, issuing) = (
        of(&samples, "stint_key_not_after_seconds{key=\"root\"}"),
        of(&samples, "stint_key_not_after_seconds{key=\"issuing\"}"),
    );
    let now = broker.now().as_secs() as f64;
    assert!(now < issuing && issuing <= root, "{now} {issuing} {root}");
    broker.write_policy("web.cedar", "permit (");
    assert_eq!(broker.reload().await.status, 409);
    let samples = scrape(&broker).await;
    assert_eq!(of(&samples, "stint_ready{check=\"policy\"}"), 0.0);
    assert_eq!(
        of(&samples, "stint_policy_reloads_total{outcome=\"refused\"}"),
        1.0
    );
    broker.finish().await;
}

/// On the program's own ops listener, and nowhere on the public one.
#[tokio::test]
async fn metrics_are_the_operators_alone() {
    let mut broker = TestBroker::with().real_time().start().await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        drop(broker.get(path).await.refused(Code::NotFound));
    }
    broker.serve(None).await;
    let ops = broker.process().ops;
    let text = reqwest::get(format!("http://{ops}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains("stint_ledger_entries"), "{text}");
    assert!(text.contains("stint_log_lines_dropped_total 0"), "{text}");
    let said = process::said(&broker.path(""));
    assert!(
        !said.contains("\"/readyz\""),
        "a probe is in the log: {said}"
    );
    broker.finish().await;
}
