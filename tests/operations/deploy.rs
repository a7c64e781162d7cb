//! What `deploy/` ships names metrics, labels and words that there are.

use std::collections::BTreeSet;

use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::evil::{Evil, IdpKey};
use stint_wire::Code;

const ALERTS: &str = include_str!("../../deploy/alerts.yml");
/// The key of LEDGER.md §14.
const WITNESS: &str = "witness w witness+24b37851+BNYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN http://127.0.0.1:1/\nquorum none\n";
const DASHBOARD: &str = include_str!("../../deploy/dashboard.json");

/// Every `stint_…` in a text, without the suffixes of counters and histograms.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("stint_") && *word != "stint_broker");
    let family = |name: &str| {
        let suffixes = ["_total", "_bucket", "_sum", "_count"];
        let stem = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        stem.unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

/// The families of a scrape after a little of everything.
async fn there() -> BTreeSet<String> {
    let key = IdpKey::new("k1");
    let idp = Evil::with_key("idp", &key).await;
    let sink = "[sink.out]\nkind = \"jsonl\"\nto = \"file:events\"\n";
    let setup = TestBroker::with().tables(&idp.config());
    // Nobody answers there: a witness has its figure all the same.
    let watched = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(watched.path(), WITNESS).unwrap();
    let witness = format!("[ledger]\nwitnesses = \"{}\"\n", watched.path().display());
    let mut broker = setup.tables(sink).start().await;
    broker.reconfigure("[ledger]\n", &witness);
    broker.restart().await.unwrap();
    // Its keys are fetched for it, and so they have an age.
    let token = idp.token(&key, broker.now());
    drop(
        broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web")
            .token(&token)
            .x509()
            .await,
    );
    let caller = || broker.ci("acme/web").on("refs/heads/main");
    drop(
        caller()
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await
            .granted(),
    );
    drop(
        caller()
            .ask("deploy", "Environment::prod/web")
            .x509()
            .await
            .held(),
    );
    drop(
        caller()
            .ask("deploy", "Environment::prod/web")
            .token("x")
            .x509()
            .await
            .refused(Code::EvidenceRejected),
    );
    assert_eq!(broker.reload().await.status, 200);
    let text = eventually_named(&broker, "stint_witness_cosignatures").await;
    broker.finish().await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

/// The scrape, once it names this.
async fn eventually_named(broker: &TestBroker, name: &str) -> String {
    stint_tests::clock::eventually("the metric", async || {
        broker
            .operator("GET", "/metrics")
            .await
            .text()
            .contains(name)
    })
    .await;
    broker.operator("GET", "/metrics").await.text()
}

#[tokio::test]
async fn alerts_and_dashboard_name_metrics_that_there_are() {
    let mut there = there().await;
    // It is there once a notice came to something, which tests/notify reads.
    there.insert("stint_notices".to_owned());
    for (file, text) in [("alerts.yml", ALERTS), ("dashboard.json", DASHBOARD)] {
        let named = metrics(text);
        assert!(named.len() > 8, "{file}: {named:?}");
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{file} names {missing:?}; there are {there:?}"
        );
    }
    let page = metrics(include_str!("../../docs/metrics.md"));
    assert_eq!(
        page, there,
        "docs/metrics.md has a row for each metric, and for no other"
    );
}

/// Words in selectors are those that the broker says.
#[test]
fn alerts_ask_for_words_that_there_are() {
    for (label, words) in [
        (
            "outcome=\"",
            &["deny", "hold", "permit", "refused", "same", "taken"][..],
        ),
        ("check=\"", &["ledger", "policy"]),
        ("reason=\"", &["replay"]),
    ] {
        for text in [ALERTS, DASHBOARD] {
            let text = text.replace("\\\"", "\"");
            for after in text.split(label).skip(1) {
                let word = after.split('"').next().unwrap();
                assert!(words.contains(&word), "{label}{word}\"");
            }
        }
    }
}

#[test]
fn each_panel_of_the_dashboard_asks_for_something() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(
                target["expr"].as_str().unwrap().contains("stint_"),
                "{target}"
            );
        }
    }
}
