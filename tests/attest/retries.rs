//! The same ask twice: the first outcome again, and nothing minted twice (UX.md §4, IDENTITY.md §2.3).

use serde_json::{Value, json};
use stint_tests::broker::URL;
use stint_tests::keys::DpopKey;
use stint_tests::{Answer, TestBroker, database, keys, together};
use stint_wire::{Code, Credential};

use crate::{PROD, STAGING};

/// One request as a client keeps it, to be sent as often as it takes.
#[derive(Clone)]
struct Sent {
    token: String,
    proof: Option<String>,
    key: Option<String>,
    body: Value,
}

impl Sent {
    fn new(broker: &TestBroker, credential: Value) -> Sent {
        Sent {
            token: broker.ci("acme/web").job("1").token(),
            proof: None,
            key: None,
            body: json!({ "action": "deploy", "resources": [STAGING], "credential": credential }),
        }
    }

    fn x509(broker: &TestBroker) -> Sent {
        Sent::new(broker, json!({ "kind": "x509", "csr": keys::csr() }))
    }

    fn jwt(broker: &TestBroker) -> Sent {
        Sent::new(broker, json!({ "kind": "jwt", "audience": "https://api" }))
    }

    fn under(mut self, key: &str) -> Sent {
        self.key = Some(key.to_owned());
        self
    }

    /// With a fresh token of the same job.
    fn fresh(mut self, broker: &TestBroker) -> Sent {
        self.token = broker.ci("acme/web").job("1").token();
        self
    }

    fn proved_by(mut self, key: &DpopKey, broker: &TestBroker) -> Sent {
        self.proof = Some(key.proof(&format!("{URL}/v1/grants"), &self.token, broker.now()));
        self
    }

    fn member(mut self, name: &str, value: Value) -> Sent {
        self.body[name] = value;
        self
    }

    async fn send(&self, broker: &TestBroker) -> Answer {
        self.try_send(broker).await.unwrap()
    }

    async fn try_send(&self, broker: &TestBroker) -> Result<Answer, reqwest::Error> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(self.key.as_deref().map(|key| ("idempotency-key", key)));
        headers.extend(self.proof.as_deref().map(|proof| ("dpop", proof)));
        let body = self.body.to_string();
        broker
            .try_request("POST", "/v1/grants", &headers, body.as_bytes())
            .await
    }
}

/// How many entries of this kind there are.
async fn entries(broker: &TestBroker, kind: &str) -> usize {
    broker.export().await.of(kind).len()
}

#[tokio::test]
async fn a_certificate_is_given_again_and_not_made_again() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker).under("build-7");
    let first = sent.send(&broker).await;
    drop(first.granted());
    let size = broker.size().await;
    let second = sent.send(&broker).await;
    assert_eq!(second.status, 201);
    assert_eq!(first.json(), second.json(), "the very same answer");
    let third = sent.clone().fresh(&broker).send(&broker).await;
    assert_eq!(
        first.json(),
        third.json(),
        "fresh evidence makes no other ask of it"
    );
    assert_eq!(broker.size().await, size, "no second entry");
    assert_eq!(entries(&broker, "granted").await, 1);
    broker.finish().await;
}

#[tokio::test]
async fn the_evidence_of_a_retry_is_used_up_too() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker).under("build-7");
    assert_eq!(sent.send(&broker).await.status, 201);
    let again = sent.clone().fresh(&broker);
    assert_eq!(again.send(&broker).await.status, 201);
    assert_eq!(
        again.send(&broker).await.status,
        201,
        "a retry of the retry"
    );
    let other = Sent { key: None, ..again }.member("ttl_s", json!(60));
    drop(other.send(&broker).await.refused(Code::EvidenceRejected));
    broker.finish().await;
}

#[tokio::test]
async fn the_same_evidence_with_the_same_ask_is_a_retry_without_any_key() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker);
    let first = sent.send(&broker).await;
    assert_eq!(first.json(), sent.send(&broker).await.json());
    // The same token with anything else is a replay: another life, another key.
    let longer = sent.clone().member("ttl_s", json!(61));
    drop(longer.send(&broker).await.refused(Code::EvidenceRejected));
    let csr = json!({ "kind": "x509", "csr": keys::csr() });
    let stolen = sent.clone().member("credential", csr);
    drop(stolen.send(&broker).await.refused(Code::EvidenceRejected));
    let alarm = broker.export().await.of("denied");
    assert_eq!(
        alarm.len(),
        1,
        "the first replay is an entry, later ones are counted"
    );
    assert_eq!(alarm[0].header["what"]["why"], "replayed");
    assert_eq!(entries(&broker, "granted").await, 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_token_is_not_kept_to_be_given_again() {
    let broker = TestBroker::start().await;
    for sent in [Sent::jwt(&broker), Sent::jwt(&broker).under("deploy-1")] {
        drop(sent.send(&broker).await.granted());
        let size = broker.size().await;
        let problem = sent.send(&broker).await.refused(Code::AlreadyDelivered);
        assert_eq!(problem.status, 410);
        assert!(!problem.retryable);
        assert_eq!(broker.size().await, size);
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_proof_that_comes_twice_with_its_ask_is_a_retry() {
    let broker = TestBroker::start().await;
    let key = DpopKey::default();
    let sent = Sent::x509(&broker).proved_by(&key, &broker);
    let first = sent.send(&broker).await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.json(), sent.send(&broker).await.json());
    // Proved anew by the same key: the same ask still. By another key: a thief's.
    let anew = sent.clone().proved_by(&key, &broker);
    assert_eq!(first.json(), anew.send(&broker).await.json());
    let thief = sent.clone().proved_by(&DpopKey::default(), &broker);
    drop(thief.send(&broker).await.refused(Code::EvidenceRejected));
    broker.finish().await;
}

#[tokio::test]
async fn another_ask_under_the_same_key_is_a_conflict() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker).under("k");
    assert_eq!(sent.send(&broker).await.status, 201);
    let state = broker.state().await;
    for other in [
        sent.clone().fresh(&broker).member("ttl_s", json!(61)),
        sent.clone()
            .fresh(&broker)
            .member("resources", json!([PROD])),
        sent.clone()
            .fresh(&broker)
            .member("action", json!("nonsense")),
        Sent::x509(&broker).under("k"),
        Sent::jwt(&broker).under("k"),
        sent.clone().member("ttl_s", json!(61)),
    ] {
        let problem = other.send(&broker).await.refused(Code::IdempotencyConflict);
        assert_eq!(problem.status, 409);
    }
    assert_eq!(broker.state().await, state, "nothing was spent or recorded");
    // Words that mean the same are the same ask; its reason is no part of it.
    let spelt = sent
        .clone()
        .fresh(&broker)
        .member("action", json!("Action::\"deploy\""));
    let spelt = spelt.member("reason", json!("once more"));
    assert_eq!(spelt.send(&broker).await.status, 201);
    assert_eq!(entries(&broker, "granted").await, 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_key_counts_for_its_caller_and_task_alone() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker).under("k");
    assert_eq!(sent.send(&broker).await.status, 201);
    let mut other = sent.clone();
    other.token = broker.ci("acme/web").job("2").token();
    assert_eq!(other.send(&broker).await.status, 201, "another task");
    assert_eq!(entries(&broker, "granted").await, 2);
    broker.finish().await;
}

#[tokio::test]
async fn a_hold_is_found_again() {
    let broker = TestBroker::start().await;
    for sent in [Sent::x509(&broker), Sent::x509(&broker).under("prod-1")] {
        let sent = sent.member("resources", json!([PROD]));
        let first = sent.send(&broker).await.held();
        let size = broker.size().await;
        let second = sent.send(&broker).await.held();
        assert_eq!((&first.request, second.created), (&second.request, false));
        let third = sent.clone().fresh(&broker).send(&broker).await.held();
        assert_eq!((&first.request, third.created), (&third.request, false));
        assert_eq!(broker.size().await, size, "no second entry");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_key_that_was_held_mints_when_policy_permits() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker)
        .under("prod-1")
        .member("resources", json!([PROD]));
    drop(sent.send(&broker).await.held());
    let policy = broker.read_policy("web.cedar");
    let (before, rest) = policy.split_once("@id(\"prod-needs-sre\")").unwrap();
    let (_, after) = rest.split_once("@id(\"prod-is-owned\")").unwrap();
    broker.write_policy(
        "web.cedar",
        &format!("{before}@id(\"prod-is-owned\"){after}"),
    );
    std::fs::remove_dir_all(broker.path("policy/tests")).unwrap();
    let reloaded = broker.reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let granted = sent.clone().fresh(&broker).send(&broker).await;
    drop(granted.granted());
    let again = sent.clone().fresh(&broker).send(&broker).await;
    assert_eq!(granted.json(), again.json());
    assert_eq!(entries(&broker, "granted").await, 1);
    broker.finish().await;
}

#[tokio::test]
async fn a_denial_is_the_same_decision_again() {
    let broker = TestBroker::start().await;
    let denied = |sent: Sent| {
        sent.member("action", json!("connect"))
            .member("resources", json!(["Database::shop"]))
    };
    let unknown = |sent: Sent| sent.member("action", json!("nonsense"));
    let badly =
        |sent: Sent| sent.member("credential", json!({ "kind": "x509", "csr": "nonsense" }));
    let cases: [(Code, &dyn Fn(Sent) -> Sent); 3] = [
        (Code::Denied, &denied),
        (Code::UnknownAction, &unknown),
        (Code::BadCsr, &badly),
    ];
    for (code, spoil) in cases {
        for (number, key) in [None, Some(code.as_str())].into_iter().enumerate() {
            let mut sent = spoil(Sent::x509(&broker));
            sent.key = key.map(str::to_owned);
            let first = sent.send(&broker).await;
            assert!(first.refused(code).decision.is_some());
            let size = broker.size().await;
            let second = sent.send(&broker).await;
            assert_eq!(first.json(), second.json(), "{code:?} {number}");
            if key.is_some() {
                let third = sent.clone().fresh(&broker).send(&broker).await;
                assert_eq!(first.json(), third.json(), "{code:?}");
            }
            assert_eq!(broker.size().await, size, "{code:?}: no second entry");
        }
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_key_of_another_form_is_refused_before_anything() {
    let broker = TestBroker::start().await;
    let state = broker.state().await;
    let long = "k".repeat(256);
    for bad in ["", " ", "a b", "käse", &long] {
        let sent = Sent::x509(&broker).under(bad);
        drop(sent.send(&broker).await.refused(Code::InvalidField));
    }
    let sent = Sent::x509(&broker);
    let bearer = format!("Bearer {}", sent.token);
    let headers = [
        ("authorization", &*bearer),
        ("idempotency-key", "a"),
        ("idempotency-key", "a"),
    ];
    let twice = broker
        .post("/v1/grants", &headers, sent.body.to_string().as_bytes())
        .await;
    drop(twice.refused(Code::InvalidField));
    assert_eq!(broker.state().await, state);
    let longest = Sent::x509(&broker).under(&"k".repeat(255));
    assert_eq!(longest.send(&broker).await.status, 201);
    broker.finish().await;
}

#[tokio::test]
async fn of_twenty_that_race_one_mints() {
    let broker = TestBroker::start().await;
    // The same bytes twenty times; then one key with fresh evidence each.
    let same = Sent::x509(&broker);
    let racing: Vec<Sent> = (0..20).map(|_| same.clone()).collect();
    let keyed = Sent::x509(&broker).under("race");
    let fresh: Vec<Sent> = (0..20).map(|_| keyed.clone().fresh(&broker)).collect();
    for asks in [racing, fresh] {
        let before = entries(&broker, "granted").await;
        let answers = together(asks.iter().map(|sent| sent.send(&broker))).await;
        let serials: std::collections::BTreeSet<String> = answers
            .iter()
            .map(|answer| match answer.granted().credential {
                Credential::X509 { serial, .. } => serial,
                Credential::Jwt { .. } => panic!("a token"),
            })
            .collect();
        assert_eq!((answers.len(), serials.len()), (20, 1));
        assert_eq!(entries(&broker, "granted").await, before + 1);
    }
    broker.finish().await;
}

#[tokio::test]
async fn of_twenty_tokens_that_race_one_is_delivered() {
    let broker = TestBroker::start().await;
    let sent = Sent::jwt(&broker).under("race");
    let asks: Vec<Sent> = (0..20).map(|_| sent.clone().fresh(&broker)).collect();
    let answers = together(asks.iter().map(|sent| sent.send(&broker))).await;
    let granted = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(granted, 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        drop(answer.refused(Code::AlreadyDelivered));
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_grant_that_was_recorded_and_not_kept_is_never_signed_again() {
    let mut broker = TestBroker::with().real_time().start().await;
    let sent = Sent::x509(&broker).under("cut");
    drop(sent.send(&broker).await.granted());
    broker.stop().await;
    // As a crash between record and signature leaves it.
    assert_eq!(
        database::tamper(&broker.database(), "DELETE FROM answer").await,
        1
    );
    broker.restart().await.unwrap();
    let size = broker.size().await;
    drop(sent.send(&broker).await.refused(Code::AlreadyDelivered));
    drop(
        sent.clone()
            .fresh(&broker)
            .send(&broker)
            .await
            .refused(Code::AlreadyDelivered),
    );
    assert!(broker.size().await >= size);
    assert_eq!(entries(&broker, "granted").await, 1);
    broker.finish().await;
}

#[tokio::test]
async fn whoever_was_frozen_meanwhile_is_given_nothing_again() {
    let broker = TestBroker::start().await;
    let github = json!({ "issuer": "github", "reason": "their signing key is out" });
    let (keyed, bare) = (Sent::x509(&broker).under("k"), Sent::x509(&broker));
    let first = keyed.send(&broker).await;
    drop(first.granted());
    drop(bare.send(&broker).await.granted());
    assert_eq!(broker.command("/v1/freeze", &github).await.status, 200);
    for sent in [&keyed, &bare, &keyed.clone().fresh(&broker)] {
        drop(sent.send(&broker).await.refused(Code::EvidenceRejected));
    }
    assert_eq!(broker.command("/v1/unfreeze", &github).await.status, 200);
    assert_eq!(keyed.send(&broker).await.json(), first.json());
    broker.finish().await;
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_not_given_again() {
    let broker = TestBroker::start().await;
    let sent = Sent::x509(&broker).under("k").member("ttl_s", json!(60));
    drop(sent.send(&broker).await.granted());
    broker.clock.advance(58);
    assert_eq!(sent.send(&broker).await.status, 201);
    broker.clock.advance(2);
    drop(sent.send(&broker).await.refused(Code::AlreadyDelivered));
    let fresh = sent.fresh(&broker);
    drop(fresh.send(&broker).await.refused(Code::AlreadyDelivered));
    broker.finish().await;
}

#[tokio::test]
async fn a_policy_that_denies_by_now_mints_nothing_for_a_retry() {
    let broker = TestBroker::start().await;
    let (keyed, bare) = (Sent::x509(&broker).under("k"), Sent::x509(&broker));
    let first = keyed.send(&broker).await;
    drop(first.granted());
    drop(bare.send(&broker).await.granted());
    broker.write_policy(
        "stop.cedar",
        r#"@id("stop") @owner("Group::\"release\"")
forbid (principal, action == Action::"deploy", resource in Environment::"staging");"#,
    );
    std::fs::remove_dir_all(broker.path("policy/tests")).unwrap();
    let reloaded = broker.reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    // What they hold already they may read again; it is the same certificate, byte for byte.
    assert_eq!(keyed.send(&broker).await.json(), first.json());
    let fresh = keyed.clone().fresh(&broker).send(&broker).await;
    assert_eq!(fresh.json(), first.json());
    assert_eq!(bare.send(&broker).await.status, 201);
    for anew in [
        Sent::x509(&broker),
        Sent::x509(&broker).under("another"),
        Sent::jwt(&broker),
    ] {
        drop(anew.send(&broker).await.refused(Code::Denied));
    }
    assert_eq!(entries(&broker, "granted").await, 2);
    broker.finish().await;
}

#[tokio::test]
async fn what_cannot_be_asked_for_any_more_is_forgotten() {
    let mut broker = TestBroker::start().await;
    let sent = Sent::x509(&broker).under("k").member("ttl_s", json!(60));
    drop(sent.send(&broker).await.granted());
    broker.clock.advance(3_600);
    broker.restart().await.unwrap(); // which tidies up at once
    stint_tests::clock::eventually("the key is forgotten", async || {
        database::number(&broker.database(), "SELECT count(*) FROM retry").await == 0
    })
    .await;
    // The same key, an hour later: a new attempt.
    drop(sent.clone().fresh(&broker).send(&broker).await.granted());
    assert_eq!(entries(&broker, "granted").await, 2);
    broker.finish().await;
}
