//! A passkey comes right after a login, and goes when its owner says so. Both are on record.

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::broker::URL;
use stint_tests::passkey::Passkey;
use stint_tests::people::Person;

#[tokio::test(flavor = "multi_thread")]
async fn one_is_enrolled_and_recorded() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let options = dana
        .post("/v1/me/passkeys/options", &json!({}))
        .await
        .json();
    assert_eq!(options["rp"], json!({ "id": "localhost", "name": "Stint" }));
    assert_eq!(options["algs"], json!([-7, -8, -257]));
    assert_eq!(options["exclude"], json!([]));
    assert_eq!(options["user"]["display_name"], "Dana Ortiz");
    let passkey = Passkey::new("localhost", URL);
    let answer = dana.offer(&passkey, &options).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let credential = BASE64URL_NOPAD.encode(passkey.credential());
    assert_eq!(answer.json()["credential"], credential);
    let me = dana.get("/v1/me").await.json();
    assert_eq!(me["passkeys"][0]["credential"], credential);
    assert_eq!(me["passkeys"][0]["label"], "Laptop");
    let added = broker.export().await.of("key_added");
    let added = added
        .iter()
        .find(|it| it.header["what"]["use"] == "passkey")
        .unwrap();
    assert_eq!(added.header["seq"], answer.json()["seq"]);
    let body = &added.body["what"];
    assert_eq!(body["person"]["id"], dana.id());
    assert_eq!(body["public"], passkey.jwk());
    assert_eq!(
        (body["rp"].as_str(), body["origin"].as_str()),
        (Some("localhost"), Some(URL))
    );
    assert_eq!(body["credential"], credential);
    assert_eq!(body["aaguid"].as_str().unwrap().len(), 32);
    let again = dana
        .post("/v1/me/passkeys/options", &json!({}))
        .await
        .json();
    assert_eq!(again["exclude"], json!([{ "id": credential }]));
    assert_eq!(again["user"], options["user"]);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_is_not_enrolled() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let lee = broker.signed_in("lee").await;
    let before = broker.state().await;
    for (passkey, why) in [
        (
            Passkey::new("localhost", "http://evil.example"),
            "another page's",
        ),
        (Passkey::new("evil.example", URL), "another party's"),
        (
            Passkey::new("localhost", URL).unverified(),
            "nobody was verified",
        ),
        (Passkey::new("localhost", URL).absent(), "nobody was there"),
    ] {
        let answer = dana.enrol(&passkey).await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().code.as_str()),
            (400, "invalid_field"),
            "{why}"
        );
    }
    let passkey = Passkey::new("localhost", URL);
    let options =
        async |who: &Person<'_>| who.post("/v1/me/passkeys/options", &json!({})).await.json();
    // Somebody else's nonce, one of another session, an old one, a made-up one.
    let theirs = options(&lee).await;
    assert_eq!(dana.offer(&passkey, &theirs).await.status, 409);
    let elsewhere = broker.signed_in("dana").await;
    let there = options(&elsewhere).await;
    assert_eq!(dana.offer(&passkey, &there).await.status, 409);
    let mut made_up = options(&dana).await;
    made_up["nonce"] = json!(BASE64URL_NOPAD.encode(&[7; 32]));
    assert_eq!(dana.offer(&passkey, &made_up).await.status, 409);
    // Its challenge with another one's nonce.
    let (one, mut other) = (options(&dana).await, options(&dana).await);
    other["challenge"] = one["challenge"].clone();
    assert_eq!(dana.offer(&passkey, &other).await.status, 400);
    let label = json!({ "label": "\u{202e}x", "nonce": one["nonce"], "authenticator_data": "AA", "client_data": "AA" });
    assert_eq!(dana.post("/v1/me/passkeys", &label).await.status, 400);
    let (_, keys) = (before, broker.export().await.of("key_added"));
    assert!(keys.iter().all(|it| it.header["what"]["use"] != "passkey"));
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_passkey_is_one_persons_and_enrolled_once() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let passkey = dana.passkey().await;
    assert_eq!(dana.enrol(&passkey).await.status, 409);
    let lee = broker.signed_in("lee").await;
    assert_eq!(lee.enrol(&passkey).await.status, 409);
    let credential = BASE64URL_NOPAD.encode(passkey.credential());
    let path = format!("/v1/me/passkeys/{credential}/retire");
    assert_eq!(
        lee.post(&path, &json!({})).await.status,
        404,
        "not theirs to retire"
    );
    assert_eq!(dana.post(&path, &json!({})).await.status, 204);
    assert_eq!(dana.post(&path, &json!({})).await.status, 404);
    assert_eq!(
        dana.enrol(&passkey).await.status,
        409,
        "it does not come back"
    );
    let entries = broker.export().await;
    let added = entries.of("key_added");
    let added = added
        .iter()
        .find(|it| it.header["what"]["use"] == "passkey")
        .unwrap();
    let retired = entries.of("key_retired");
    assert_eq!(retired.len(), 1);
    assert_eq!(retired[0].header["what"]["of"], added.header["seq"]);
    assert_eq!(
        retired[0].header["what"]["key"],
        added.header["what"]["key"]
    );
    assert_eq!(retired[0].header["subj"], added.header["subj"]);
    let me = dana.get("/v1/me").await.json();
    assert_eq!(me["passkeys"][0]["retired_at"], "2027-03-01T10:00:00Z");
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_login_enrols_nothing_until_it_is_renewed() {
    let broker = TestBroker::with().people().start().await;
    let mut dana = broker.signed_in("dana").await;
    let early = dana
        .post("/v1/me/passkeys/options", &json!({}))
        .await
        .json();
    broker.clock.advance(5 * 60 + 1);
    let answer = dana.post("/v1/me/passkeys/options", &json!({})).await;
    let problem = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), problem.code.as_str()),
        (401, "step_up_required")
    );
    assert_eq!(
        problem.next_action.unwrap().url.unwrap(),
        format!("{URL}/login?return_to=/me&fresh=1")
    );
    assert!(
        answer
            .header("www-authenticate")
            .contains("insufficient_user_authentication")
    );
    let passkey = Passkey::new("localhost", URL);
    assert_eq!(dana.offer(&passkey, &early).await.status, 401);
    // The step-up asks the provider for a login of now, and takes nothing less.
    let began = dana.get("/login/start?return_to=/me&fresh=1").await;
    assert!(
        began.header("location").contains("max_age=300"),
        "{}",
        began.header("location")
    );
    for old in [
        json!(stint_broker::clock::Clock::now(&*broker.clock).as_secs() - 301),
        json!("unknown"),
    ] {
        broker.idp().set("dana", "auth_time", old);
        let answer = dana.try_sign_in("/login/start?return_to=/me&fresh=1").await;
        assert_eq!(answer.status, 403);
    }
    let before = dana.cookie.clone();
    broker.idp().set("dana", "auth_time", json!(null));
    let answer = dana.try_sign_in("/login/start?return_to=/me&fresh=1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/me")
    );
    assert_ne!(dana.cookie, before);
    assert_eq!(dana.enrol(&passkey).await.status, 201);
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_say_when_it_saw_somebody_is_not_fresh() {
    let broker = TestBroker::with().people().start().await;
    broker.idp().set("dana", "auth_time", json!("unknown"));
    let dana = broker.signed_in("dana").await;
    assert_eq!(dana.get("/v1/me").await.json()["auth_at"], json!(null));
    let answer = dana.post("/v1/me/passkeys/options", &json!({})).await;
    assert_eq!(answer.problem().code.as_str(), "step_up_required");
    broker.finish().await;
}
