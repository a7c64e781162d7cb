//! Key sets that are read, and hold what must not be used; and tokens that play on them.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use stint_tests::evil::{Evil, IdpKey, Lie, Stage};
use stint_tests::{TestBroker, together};
use stint_wire::Code;

use crate::common::{ask, ask_as, broker, others_are_served, unavailable};

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn without(mut jwk: Value, member: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(member);
    jwk
}

/// What of a key set an issuer must not be believed: name, and the keys, all under the `kid` of `key`.
fn bad_sets(key: &IdpKey) -> Vec<(&'static str, Vec<Value>)> {
    let (good, other) = (key.jwk(), IdpKey::new(&key.kid).jwk());
    let random = BASE64URL_NOPAD.encode(&[7; 32]);
    vec![
        ("no key", vec![]),
        (
            "a private part",
            vec![with(good.clone(), "d", json!(random))],
        ),
        (
            "a symmetric key",
            vec![json!({"kty": "oct", "k": random, "kid": key.kid, "alg": "HS256"})],
        ),
        (
            "off its curve",
            vec![with(good.clone(), "y", other["x"].clone())],
        ),
        (
            "another curve",
            vec![with(good.clone(), "crv", json!("P-384"))],
        ),
        (
            "for encryption",
            vec![with(good.clone(), "use", json!("enc"))],
        ),
        (
            "for signing only",
            vec![with(good.clone(), "key_ops", json!(["sign"]))],
        ),
        (
            "another algorithm",
            vec![with(good.clone(), "alg", json!("RS256"))],
        ),
        (
            "an algorithm that does not exist",
            vec![with(good.clone(), "alg", json!("none"))],
        ),
        ("no name", vec![without(good.clone(), "kid")]),
        (
            "a name that is no text",
            vec![with(good.clone(), "kid", json!(7))],
        ),
        (
            "padded",
            vec![with(
                good.clone(),
                "x",
                json!(format!("{}=", good["x"].as_str().unwrap())),
            )],
        ),
        (
            "two materials under one name",
            vec![good.clone(), other.clone()],
        ),
        (
            "two materials and one of them again",
            vec![good.clone(), other, good.clone()],
        ),
        (
            "more keys than are read",
            (0..65)
                .map(|n| with(good.clone(), "kid", json!(format!("k{n}"))))
                .collect(),
        ),
        ("no objects", vec![json!("key"), json!(null)]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_must_not_be_used_are_not() {
    let key = IdpKey::new("k");
    let mut idps = Vec::new();
    for (n, (_, keys)) in bad_sets(&key).iter().enumerate() {
        let idp = Evil::start(&format!("idp-{n}")).await;
        idp.publish(keys);
        idps.push(idp);
    }
    let broker = broker(&idps.iter().collect::<Vec<_>>()).await;
    let before = broker.state().await;
    for (idp, (what, _)) in idps.iter().zip(bad_sets(&key)) {
        let answer = ask_as(&broker, idp, &key).await;
        assert_eq!(answer.status, 503, "{what}");
        unavailable(&answer);
        let check = broker.check(&format!("issuer {}", idp.name)).await;
        assert_eq!(
            (&check["error"], &check["keys"]),
            (&"keys".into(), &0.into()),
            "{what}"
        );
    }
    assert_eq!(broker.state().await, before);
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_key_costs_its_good_neighbours_nothing() {
    let (bad, good) = (IdpKey::new("bad"), IdpKey::new("good"));
    let mut idps = Vec::new();
    let sets: Vec<_> = bad_sets(&bad)
        .into_iter()
        .filter(|(_, keys)| keys.len() < 60)
        .collect();
    for (n, (_, keys)) in sets.iter().enumerate() {
        let idp = Evil::start(&format!("idp-{n}")).await;
        let all: Vec<_> = keys.iter().cloned().chain([good.jwk()]).collect();
        idp.publish(&all);
        idps.push(idp);
    }
    let broker = broker(&idps.iter().collect::<Vec<_>>()).await;
    for (idp, (what, _)) in idps.iter().zip(sets) {
        let answer = ask_as(&broker, idp, &good).await;
        assert_eq!(answer.status, 201, "{what}: {}", answer.text());
        let answer = ask_as(&broker, idp, &bad).await;
        drop(answer.refused(Code::EvidenceRejected));
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_key_that_left_is_dead_at_the_next_look_and_another_under_its_name_is_another() {
    let (old, new, stranger) = (IdpKey::new("k"), IdpKey::new("k"), IdpKey::new("new"));
    let idp = Evil::with_key("idp", &old).await;
    let broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, &old).await.granted());
    idp.publish(&[new.jwk()]);
    drop(
        ask_as(&broker, &idp, &new)
            .await
            .refused(Code::EvidenceRejected),
    );
    // A `kid` that is not there makes it look.
    drop(
        ask_as(&broker, &idp, &stranger)
            .await
            .refused(Code::EvidenceRejected),
    );
    drop(
        ask_as(&broker, &idp, &old)
            .await
            .refused(Code::EvidenceRejected),
    );
    drop(ask_as(&broker, &idp, &new).await.granted());
    let sets = broker.export().await.of("key_added");
    let ours: Vec<_> = sets
        .iter()
        .filter(|entry| entry.header["what"]["use"] == "issuer")
        .collect();
    assert_eq!(ours.len(), 2, "both sets are on record");
    assert_eq!(ours[1].body["what"]["removed"], json!([old.thumbprint()]));
    broker.finish().await;
}

#[tokio::test]
async fn nothing_but_the_keys_own_algorithm_checks_a_token() {
    let (key, liar) = (IdpKey::new("k"), IdpKey::new("k"));
    let idp = Evil::with_key("idp", &key).await;
    let broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, &key).await.granted());
    let before = broker.state().await;
    let claims = || idp.claims("worker", broker.now());
    let header = |member: &str, value: Value| {
        with(
            json!({"alg": "ES256", "kid": "k", "typ": "JWT"}),
            member,
            value,
        )
    };
    let mut tokens = vec![
        liar.token(&claims()),
        hmac(&key, &claims()),
        format!("{}.", key.token(&claims()).rsplit_once('.').unwrap().0),
    ];
    for (member, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES384")),
        ("alg", json!("es256")),
        ("alg", json!(["ES256"])),
        ("kid", json!("")),
        ("kid", json!(null)),
        ("kid", json!("../../keys")),
        ("typ", json!("at+jwt")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("jwk", liar.jwk()),
        ("jku", json!(format!("{}/keys", idp.url))),
        ("x5u", json!(format!("{}/keys", idp.url))),
        ("x5c", json!(["MIIB"])),
    ] {
        tokens.push(key.sign(&header(member, value), &claims()));
    }
    for (member, value) in [
        ("iss", json!(format!("{}/", idp.url))),
        ("iss", json!("https://evil.example")),
        ("aud", json!("https://other.example")),
        (
            "aud",
            json!(["http://localhost:8640", "http://localhost:8640"]),
        ),
        ("aud", json!([])),
        ("exp", json!(broker.now().as_secs() as f64 + 0.5)),
        ("exp", json!("soon")),
        ("exp", json!(broker.now().as_secs() - 31)),
        ("exp", json!(broker.now().as_secs() + 999_999)),
        ("iat", json!(broker.now().as_secs() + 31)),
        ("iat", json!(-1)),
        ("nbf", json!(broker.now().as_secs() + 31)),
        ("sub", json!(null)),
        ("sub", json!("a/b")),
        ("sub", json!("..")),
        ("job", json!(7)),
    ] {
        let mut claims = claims();
        claims.insert(member.to_owned(), value);
        tokens.push(key.token(&claims));
    }
    let fetched = (idp.fetches(), idp.discoveries());
    let mut said = std::collections::BTreeSet::new();
    for token in &tokens {
        let answer = ask(&broker, token).await;
        drop(answer.refused(Code::EvidenceRejected));
        said.insert(answer.text());
    }
    assert_eq!(said.len(), 1, "all failures look alike");
    assert!(idp.fetches() <= fetched.0 + 1, "one unknown kid, one look");
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

/// HS256 with the public key as the secret.
fn hmac(key: &IdpKey, claims: &serde_json::Map<String, Value>) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = json!({"alg": "HS256", "kid": "k", "typ": "JWT"});
    let input = format!(
        "{}.{}",
        encode(&header),
        encode(&Value::Object(claims.clone()))
    );
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.jwk().to_string().as_bytes());
    let tag = ring::hmac::sign(&secret, input.as_bytes());
    format!("{input}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_is_one_look_a_minute() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let broker = broker(&[&idp]).await;
    drop(ask_as(&broker, &idp, &key).await.granted());
    let flood = async |broker: &TestBroker| {
        let strangers: Vec<_> = (0..50).map(|n| IdpKey::new(&format!("s{n}"))).collect();
        for answer in together(strangers.iter().map(|key| ask_as(broker, &idp, key))).await {
            drop(answer.refused(Code::EvidenceRejected));
        }
    };
    let fetched = idp.fetches();
    flood(&broker).await;
    flood(&broker).await;
    assert_eq!(idp.fetches(), fetched + 1);
    drop(ask_as(&broker, &idp, &key).await.granted());
    broker.clock.advance(60);
    flood(&broker).await;
    assert_eq!(idp.fetches(), fetched + 2);
    // While a refresh hangs, a `kid` that was looked for a moment ago waits for nothing.
    let stranger = IdpKey::new("s0");
    idp.tell(Lie::Silent(Stage::Keys));
    broker.clock.advance(541);
    drop(ask_as(&broker, &idp, &key).await.granted());
    drop(
        ask_as(&broker, &idp, &stranger)
            .await
            .refused(Code::EvidenceRejected),
    );
    others_are_served(&broker).await;
    broker.finish().await;
}
