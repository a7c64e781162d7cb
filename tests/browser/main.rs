//! The console in a real browser: Chromium, driven by the scripts beside this file, with a virtual authenticator and axe.
//! A script signs people in, looks at pages and votes; what the rest of the world does meanwhile (a pipeline asks, time
//! goes by, a policy changes) it has done here: see [`errands`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod errands;
mod paths;

use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::broker::Setup;

/// One approval is enough here; the sample wants two.
fn quorum_of_one() -> Setup {
    TestBroker::with()
        .people()
        .policy("tests/sample.toml", "")
        .replace("web.cedar", "@quorum(\"2\")", "@quorum(\"1\")")
        .replace("web.cedar", "votes: 2", "votes: 1")
}

#[tokio::test]
async fn an_approver_signs_in_makes_a_passkey_and_votes() {
    let broker = quorum_of_one().start().await;
    errands::run(&broker, "approver.mjs", json!({})).await;
    broker.finish().await;
}

#[tokio::test]
async fn two_people_make_a_quorum_and_a_no_ends_it() {
    let broker = TestBroker::with().people().start().await;
    errands::run(&broker, "quorum.mjs", json!({})).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_page_that_does_not_show_what_is_signed_signs_nothing() {
    let broker = quorum_of_one().start().await;
    errands::run(&broker, "harm.mjs", json!({})).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_request_that_is_looked_at_goes_on_without_a_reload() {
    let times = "[approval]\nrequest_ttl = \"20m\"\n";
    let broker = TestBroker::with().people().tables(times).start().await;
    errands::run(&broker, "live.mjs", json!({})).await;
    broker.finish().await;
}

#[tokio::test]
async fn votes_are_counted_again_in_the_readers_browser() {
    let broker = TestBroker::with().people().start().await;
    let trust = broker.get("/v1/trust").await.json();
    let vkey = trust["ledger"]["vkey"].clone();
    errands::run(&broker, "votes.mjs", json!({ "vkey": vkey })).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_test_notice_is_sent_from_the_page_and_told_step_by_step() {
    // The script listens there, and later does not.
    let spare = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = spare.local_addr().unwrap().port();
    drop(spare);
    let url = format!("http://127.0.0.1:{port}/hook");
    let tables = "[notify.releases]\nkind = \"slack\"\nurl = { file = \"slack.url\" }\n";
    let setup = TestBroker::with().people().tables(tables);
    let broker = setup.secret_file("slack.url", url.as_bytes()).start().await;
    errands::run(&broker, "integrations.mjs", json!({ "receiver": port })).await;
    broker.finish().await;
}

#[tokio::test]
async fn every_page_is_in_order_in_every_light_and_size() {
    let broker = quorum_of_one().start().await;
    errands::run(&broker, "pages.mjs", paths::all()).await;
    broker.finish().await;
}
