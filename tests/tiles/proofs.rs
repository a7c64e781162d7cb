//! `GET /v1/ledger/proofs/{id}`: an entry's own caller, and the operator, get its receipt again.

use stint_tests::{Answer, TestBroker};
use stint_wire::{Code, Credential};

use crate::common::{STAGING, grant, proven};

async fn proof(broker: &TestBroker, repo: &str, id: &str) -> Answer {
    let token = broker.ci(repo).token();
    with(broker, &token, id).await
}

async fn with(broker: &TestBroker, token: &str, id: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    broker
        .request("GET", &format!("/v1/ledger/proofs/{id}"), &headers, b"")
        .await
}

#[tokio::test]
async fn a_caller_gets_its_receipts_again_under_a_newer_head() {
    let broker = TestBroker::start().await;
    let granted = grant(&broker).await;
    drop(grant(&broker).await);
    let head = broker.checkpoint().await;
    for id in [
        granted.grant.as_str(),
        granted.grant.get(..9).unwrap(),
        &granted.grant.replace("gr_", "dec_"),
    ] {
        let answer = proof(&broker, "acme/web", id).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        let found = proven(&broker, &answer.text()).await;
        assert_eq!(found.header.id, granted.grant);
        assert_eq!(found.header.seq, granted.ledger.seq);
        assert!(found.checkpoint.size >= head.size);
    }
    // The same by the index as by the newest entries.
    broker.derived().await;
    let answer = proof(&broker, "acme/web", &granted.grant).await;
    assert_eq!(
        proven(&broker, &answer.text()).await.header.id,
        granted.grant
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_refusal_is_proven_by_the_id_of_its_decision() {
    let broker = TestBroker::start().await;
    let refused = broker.ci("acme/other").ask("deploy", STAGING).x509().await;
    let decision = refused.refused(Code::Denied).decision.unwrap();
    let answer = proof(&broker, "acme/other", &decision).await;
    assert_eq!(proven(&broker, &answer.text()).await.header.id, decision);
    broker.finish().await;
}

#[tokio::test]
async fn what_is_somebody_elses_and_what_is_not_there_read_alike() {
    let broker = TestBroker::start().await;
    let granted = grant(&broker).await;
    broker.derived().await;
    let genesis = crate::common::headers(&broker, 0, 1).await.remove(0).id;
    let unknown = "gr_00000000000000000000000000";
    let nothing = proof(&broker, "acme/other", unknown)
        .await
        .refused(Code::NotFound);
    for id in [
        &granted.grant,
        granted.grant.get(..9).unwrap(),
        &genesis,
        "gr_0000",
        "gr_",
        "0",
        "6",
        "x",
        "%00",
    ] {
        let answer = proof(&broker, "acme/other", id).await;
        assert_eq!(
            answer.refused(Code::NotFound).detail,
            nothing.detail,
            "{id}"
        );
    }
    // Its own caller does not get there by number either: numbers are the operator's.
    let seq = granted.ledger.seq.to_string();
    assert_eq!(proof(&broker, "acme/web", &seq).await.status, 404);
    broker.finish().await;
}

#[tokio::test]
async fn a_beginning_that_two_entries_share_finds_neither() {
    let broker = TestBroker::start().await;
    drop(grant(&broker).await);
    broker.derived().await;
    // Ids are random: of all entries a caller has, `gr_` and six characters name one; fewer are refused.
    assert_eq!(proof(&broker, "acme/web", "gr_").await.status, 404);
    broker.finish().await;
}

#[tokio::test]
async fn who_brings_no_evidence_or_false_gets_none() {
    let broker = TestBroker::start().await;
    let granted = grant(&broker).await;
    let path = format!("/v1/ledger/proofs/{}", granted.grant);
    assert_eq!(
        broker.get(&path).await.refused(Code::LoginRequired).status,
        401
    );
    let mut claims = broker.ci("acme/web").claims();
    claims.insert("iss".to_owned(), "https://evil.test".into());
    let forged = broker.issuers.sign(&stint_tests::issuer::header(), &claims);
    let before = broker.state().await;
    let answer = with(&broker, &forged, &granted.grant).await;
    drop(answer.refused(Code::EvidenceRejected));
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn a_proof_spends_nothing() {
    let broker = TestBroker::start().await;
    let granted = grant(&broker).await;
    let token = broker.ci("acme/web").token();
    let before = broker.state().await;
    assert_eq!(with(&broker, &token, &granted.grant).await.status, 200);
    assert_eq!(broker.state().await, before);
    let again = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token(&token)
        .x509()
        .await;
    drop(again.granted());
    broker.finish().await;
}

#[tokio::test]
async fn the_operator_finds_an_entry_by_whatever_is_known_of_it() {
    let broker = TestBroker::start().await;
    let granted = grant(&broker).await;
    let jwt = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .jwt("https://deploy.acme.dev")
        .await
        .granted();
    broker.derived().await;
    let Credential::X509 {
        serial,
        certificate,
        ..
    } = &granted.credential
    else {
        panic!()
    };
    let Credential::Jwt { jti, .. } = &jwt.credential else {
        panic!()
    };
    let tbs = stint_tests::after::tbs(certificate).to_string();
    for (id, of) in [
        (&granted.grant, &granted),
        (&granted.grant.get(..9).unwrap().to_owned(), &granted),
        (&granted.ledger.seq.to_string(), &granted),
        (serial, &granted),
        (&tbs, &granted),
        (jti, &jwt),
    ] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/proofs/{id}"))
            .await;
        assert_eq!(answer.status, 200, "{id}");
        assert_eq!(
            proven(&broker, &answer.text()).await.header.seq,
            of.ledger.seq,
            "{id}"
        );
    }
    for id in ["9999", "gr_00000000", "nothing", "AAAA"] {
        let answer = broker
            .operator("GET", &format!("/v1/ledger/proofs/{id}"))
            .await;
        assert_eq!(answer.status, 404, "{id}");
    }
    broker.finish().await;
}
