//! What is no vote: nothing is recorded of it, and nothing comes of it.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_tests::broker::URL;
use stint_tests::passkey::Passkey;
use stint_wire::Code;

use crate::booth::{approver, deploy, no, one_approver, yes};

#[tokio::test]
async fn what_is_not_signed_as_it_stands_is_no_vote() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let other = deploy(&broker).ttl(300).x509().await.held();
    let code = held.match_code.unwrap();
    let (dana, lee) = (
        approver(&broker, "dana").await,
        approver(&broker, "lee").await,
    );
    let ballot = dana.ballot(&held.request, &yes(&code)).await.json();
    let vote = dana.passkey.vote(&ballot);
    let size = broker.size().await;
    let spoil = |pointer: &str, value: Value| {
        let mut vote = vote.clone();
        *vote.pointer_mut(pointer).unwrap() = value;
        vote
    };
    for (what, vote) in [
        ("another life", spoil("/facts/lasts_s", json!(599))),
        (
            "another request",
            spoil("/facts/request", json!(other.request)),
        ),
        (
            "another approver",
            spoil("/facts/approver", json!(lee.person.id())),
        ),
        ("another row", spoil("/facts/shown/1/1", json!("read"))),
        (
            "another nonce",
            spoil("/nonce", json!(BASE64URL_NOPAD.encode(&[7; 32]))),
        ),
    ] {
        let answer = dana.cast(&held.request, &vote).await;
        // Facts that could be are held against the signature, others against what there is.
        let code = if what == "another life" {
            "invalid_field"
        } else {
            "facts_changed"
        };
        assert_eq!(answer.json()["code"], code, "{what}: {}", answer.text());
    }
    let elsewhere = dana.cast(&other.request, &vote).await;
    drop(elsewhere.refused(Code::FactsChanged));
    // The nonce is dana's, whoever sends it.
    drop(
        lee.cast(&held.request, &lee.passkey.vote(&ballot))
            .await
            .refused(Code::FactsChanged),
    );
    assert_eq!(broker.size().await, size, "nothing was recorded");
    assert_eq!(dana.cast(&held.request, &vote).await.status, 201);
    drop(
        dana.cast(&held.request, &vote)
            .await
            .refused(Code::NotEligible),
    );
    broker.finish().await;
}

#[tokio::test]
async fn another_key_or_an_unverified_hand_is_no_vote() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let lee = approver(&broker, "lee").await;
    let ballot = dana.ballot(&held.request, &yes(&code)).await.json();
    let size = broker.size().await;
    let stranger = Passkey::new("localhost", URL);
    for passkey in [&stranger, &lee.passkey] {
        drop(
            dana.sign_with(passkey, &held.request, &ballot)
                .await
                .refused(Code::InvalidField),
        );
    }
    let mut foreign = ballot.clone();
    foreign["challenge"] = json!(BASE64URL_NOPAD.encode(&[9; 32]));
    drop(
        dana.sign(&held.request, &foreign)
            .await
            .refused(Code::InvalidField),
    );
    let elsewhere = dana.passkey.on("https://evil.example");
    let vote = elsewhere.vote(&ballot);
    let path = format!("/v1/requests/{}/votes", held.request);
    drop(
        dana.person
            .post(&path, &vote)
            .await
            .refused(Code::InvalidField),
    );
    let untouched = elsewhere.on(URL).unverified();
    let vote = untouched.vote(&ballot);
    drop(
        dana.person
            .post(&path, &vote)
            .await
            .refused(Code::InvalidField),
    );
    assert_eq!(broker.size().await, size, "nothing was recorded");
    drop(deploy(&broker).x509().await.held());
    broker.finish().await;
}

#[tokio::test]
async fn the_match_code_has_three_tries() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let wrong = if code == "000" { "001" } else { "000" };
    let dana = approver(&broker, "dana").await;
    drop(
        dana.ballot(&held.request, &json!({ "vote": "yes" }))
            .await
            .refused(Code::InvalidField),
    );
    for _ in 0..3 {
        drop(
            dana.ballot(&held.request, &yes(wrong))
                .await
                .refused(Code::InvalidField),
        );
    }
    drop(
        dana.ballot(&held.request, &yes(&code))
            .await
            .refused(Code::NotEligible),
    );
    // A no needs none, and another approver has tries of their own.
    let lee = approver(&broker, "lee").await;
    let cast = lee.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.status, 201, "{}", cast.text());
    broker.finish().await;
}

#[tokio::test]
async fn words_are_bounded_and_legible() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let dana = approver(&broker, "dana").await;
    for note in [
        json!(null),
        json!(""),
        json!("  "),
        json!("x".repeat(501)),
        json!("a\u{202e}b"),
        json!("a\nb"),
    ] {
        let choice = json!({ "vote": "no", "note": note });
        drop(
            dana.ballot(&held.request, &choice)
                .await
                .refused(Code::InvalidField),
        );
    }
    let cast = dana.says(&held.request, &no()).await;
    assert_eq!(cast.status, 201, "{}", cast.text());
    broker.finish().await;
}

#[tokio::test]
async fn without_a_passkey_there_is_no_ballot() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = broker.signed_in("dana").await;
    let path = format!("/v1/requests/{}/ballot", held.request);
    let refused = dana.post(&path, &yes(&code)).await;
    let refused = refused.refused(Code::PasskeyRequired);
    assert_eq!(refused.next_action.unwrap().url.as_deref(), Some("/me"));
    let unknown = "/v1/requests/req_00000000000000000000000000/ballot";
    drop(
        dana.post(unknown, &yes(&code))
            .await
            .refused(Code::NotFound),
    );
    broker.finish().await;
}

#[tokio::test]
async fn votes_that_race_count_once() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let (first, second) = (
        dana.ballot(&held.request, &yes(&code)).await.json(),
        dana.ballot(&held.request, &yes(&code)).await.json(),
    );
    let (a, b) = tokio::join!(
        dana.sign(&held.request, &first),
        dana.sign(&held.request, &second)
    );
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403], "{} {}", a.text(), b.text());
    broker.finish().await;
}
