//! `stintd ledger epoch`: one log ends in order, the next goes on from it.

use serde_json::json;
use stint_audit::Checkpoint;
use stint_broker::store::Engine;
use stint_wire::Code;

use crate::scene::{Kept, STAGING, broker, command, grant, keep, stintd};

#[tokio::test]
async fn a_log_ends_and_the_next_goes_on() {
    let mut broker = broker().await;
    let spent = broker.ci("acme/web").token();
    drop(
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&spent)
            .x509()
            .await
            .granted(),
    );
    let held = broker
        .ci("acme/web")
        .on("refs/heads/main")
        .ask("deploy", "Environment::prod/web");
    drop(held.x509().await.held());
    let (status, _) = command(
        &broker,
        "/v1/freeze",
        json!({ "issuer": "gitlab", "reason": "leak" }),
    )
    .await;
    assert_eq!(status, 200);
    let granted = broker.export().await.of("granted").remove(0);
    let caller = granted.body["what"]["caller"]["id"].clone();
    let disable = json!({ "id": &caller, "reason": "leak" });
    let (status, _) = command(&broker, "/v1/callers/disable", disable).await;
    assert_eq!(status, 200);
    let before = keep(&broker, "before").await;
    if broker.database().engine() == Engine::Sqlite {
        let running = ["ledger", "epoch", "--reason", "yearly"];
        stintd(&broker, &running)
            .await
            .refused("in use by another broker");
    }
    broker.stop().await;

    let said = stintd(&broker, &["ledger", "epoch", "--reason", "yearly"])
        .await
        .ok();
    assert!(
        said.contains("it.stint/ledger/1 begins; 1 open requests are void, 2 freezes and disabled identities go on"),
        "{said}"
    );
    broker.restart().await.unwrap();
    let refused = broker
        .caller(stint_tests::Like::GitLab, "acme/web")
        .ask("deploy", STAGING)
        .x509()
        .await;
    drop(refused.refused(Code::EvidenceRejected));
    let disabled = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
    drop(disabled.refused(Code::CallerDisabled));
    let enable = json!({ "id": caller, "reason": "" });
    assert_eq!(command(&broker, "/v1/callers/enable", enable).await.0, 200);
    let again = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token(&spent)
        .x509()
        .await;
    drop(again.refused(Code::EvidenceRejected));
    grant(&broker).await;

    let after = keep(&broker, "after").await;
    assert_eq!(after.checkpoint.origin, "it.stint/ledger/1");
    after.verify(&[]).await.ok();
    before.verify(&[]).await.ok();
    assert_eq!(
        after.verify_under(&before.vkey, &[]).await.code,
        9,
        "the old key does not vouch for the new log"
    );
    let entries = broker.export().await.entries();
    let prior = &entries[0].header["what"]["prior"];
    assert_eq!(entries[0].header["what"]["epoch"], 1);
    assert_eq!(prior["log"], "it.stint/ledger");
    assert!(
        prior["size"].as_u64().unwrap() > before.checkpoint.size,
        "{prior}"
    );
    broker.abandon().await;
}

#[tokio::test]
async fn an_epoch_needs_a_reason_and_a_whole_log() {
    let mut broker = broker().await;
    grant(&broker).await;
    broker.stop().await;
    stintd(&broker, &["ledger", "epoch"])
        .await
        .refused("--reason");
    stintd(&broker, &["ledger", "epoch", "--reason", ""])
        .await
        .refused("one line");
    let sql = "UPDATE ledger_body SET body = x'00' WHERE seq = 3";
    broker.database().save("whole").await;
    assert_eq!(
        stint_tests::database::tamper(&broker.database(), sql).await,
        1
    );
    stintd(&broker, &["ledger", "epoch", "--reason", "yearly"])
        .await
        .refused("entry 3");
    broker.database().restore("whole").await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn an_ended_log_stays_readable_by_its_number() {
    let mut broker = broker().await;
    grant(&broker).await;
    let before = keep(&broker, "before").await;
    broker.stop().await;
    stintd(&broker, &["ledger", "epoch", "--reason", "yearly"])
        .await
        .ok();
    broker.restart().await.unwrap();
    let answer = broker.get("/v1/ledger/0/checkpoint").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (last, note) = Checkpoint::parse_note(&answer.text()).unwrap();
    assert_eq!(last.origin, "it.stint/ledger");
    assert!(last.size > before.checkpoint.size);
    assert_eq!(
        note.verify(&[before.vkey.parse().unwrap()]).unwrap().len(),
        1
    );
    let tile = format!("/v1/ledger/0/tile/0/000.p/{}", last.size);
    assert_eq!(
        broker.get(&tile).await.body.len(),
        usize::try_from(last.size).unwrap() * 32
    );
    let now = broker.get("/v1/ledger/1/checkpoint").await.text();
    assert!(now.starts_with("it.stint/ledger/1\n"), "{now}");
    for path in [
        "/v1/ledger/2/checkpoint",
        "/v1/ledger/00/checkpoint",
        "/v1/ledger/x/checkpoint",
        "/v1/ledger/0/tile/0/001",
    ] {
        assert_eq!(broker.get(path).await.status, 404, "{path}");
    }
    let bundle = broker.operator("GET", "/v1/ledger/0/bundle").await;
    assert_eq!(bundle.status, 200, "{}", bundle.text());
    let path = broker.path("closed.stint");
    std::fs::write(&path, &bundle.body).unwrap();
    let closed = Kept {
        bundle: path,
        ..before
    };
    let said = closed
        .verify(&["--since", &closed.note.display().to_string()])
        .await
        .ok();
    assert!(said.contains("verified"), "{said}");
    broker.abandon().await;
}
