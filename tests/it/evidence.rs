//! Evidence that does not hold: one answer whatever is wrong, and nothing that stays.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Map, Value, json};
use stint_broker::clock::Stopwatch;
use stint_broker::dev;
use stint_tests::broker::{Setup, URL};
use stint_tests::issuer::{encode, header};
use stint_tests::keys::{self, DpopKey};
use stint_tests::{Answer, Like, TestBroker};
use stint_wire::{Code, Credential};

const STAGING: &str = "Environment::staging/web";

type Claims = Map<String, Value>;

/// A good token with its header or claims changed, signed by the right key.
fn changed(broker: &TestBroker, change: impl FnOnce(&mut Value, &mut Claims)) -> String {
    let (mut header, mut claims) = (header(), broker.ci("acme/web").claims());
    change(&mut header, &mut claims);
    broker.issuers.sign(&header, &claims)
}

fn claim(broker: &TestBroker, name: &str, value: Value) -> String {
    changed(broker, |_, claims| {
        drop(claims.insert(name.to_owned(), value))
    })
}

fn without(broker: &TestBroker, name: &str) -> String {
    changed(broker, |_, claims| assert!(claims.remove(name).is_some()))
}

fn in_header(broker: &TestBroker, name: &str, value: Value) -> String {
    changed(broker, |header, _| header[name] = value)
}

/// Everything that is wrong with a token, in words.
fn liars(broker: &TestBroker) -> Vec<(&'static str, String)> {
    let good = || broker.ci("acme/web").token();
    let now = broker.now().as_secs();
    let times = |iat: i64, exp: i64| {
        changed(broker, |_, claims| {
            claims.insert("iat".to_owned(), json!(iat));
            claims.insert("nbf".to_owned(), json!(iat));
            claims.insert("exp".to_owned(), json!(exp));
        })
    };
    let text = Value::Object(broker.ci("acme/web").claims()).to_string();
    let twice = |member: &str| {
        let claims = text.replacen('{', &format!("{{{member},"), 1);
        broker.issuers.sign_text(&header().to_string(), &claims)
    };
    let mut liars = form(&good);
    liars.extend([
        (
            "no alg",
            changed(broker, |header, _| {
                drop(header.as_object_mut().unwrap().remove("alg"))
            }),
        ),
        ("alg none", in_header(broker, "alg", json!("none"))),
        ("alg None", in_header(broker, "alg", json!("None"))),
        ("alg RS512", in_header(broker, "alg", json!("RS512"))),
        (
            "alg ES256 with an RSA key",
            in_header(broker, "alg", json!("ES256")),
        ),
        ("alg a list", in_header(broker, "alg", json!(["RS256"]))),
        (
            "HS256 with the public key",
            hs256(broker, broker.issuers.public_key()),
        ),
        (
            "HS256 with the modulus",
            hs256(broker, broker.issuers.modulus().as_bytes()),
        ),
        (
            "no kid",
            changed(broker, |header, _| {
                drop(header.as_object_mut().unwrap().remove("kid"))
            }),
        ),
        ("empty kid", in_header(broker, "kid", json!(""))),
        (
            "unknown kid",
            in_header(broker, "kid", json!("dev-issuers2")),
        ),
        (
            "kid as a path",
            in_header(broker, "kid", json!("../../dev-issuers")),
        ),
        (
            "jku",
            in_header(broker, "jku", json!("https://evil.test/keys")),
        ),
        (
            "x5u",
            in_header(broker, "x5u", json!("https://evil.test/chain")),
        ),
        ("x5c", in_header(broker, "x5c", json!(["MIIB"]))),
        ("jwk", in_header(broker, "jwk", DpopKey::default().jwk())),
        ("crit", in_header(broker, "crit", json!(["exp"]))),
        ("b64", in_header(broker, "b64", json!(false))),
        ("zip", in_header(broker, "zip", json!("DEF"))),
        (
            "no typ",
            changed(broker, |header, _| {
                drop(header.as_object_mut().unwrap().remove("typ"))
            }),
        ),
        ("typ at+jwt", in_header(broker, "typ", json!("at+jwt"))),
        ("typ dpop+jwt", in_header(broker, "typ", json!("dpop+jwt"))),
        (
            "typ logout+jwt",
            in_header(broker, "typ", json!("logout+jwt")),
        ),
        ("signed by the dev issuers' key", foreign(broker)),
        ("another payload under a good signature", swapped(broker)),
        (
            "audience of another",
            claim(broker, "aud", json!("https://other.test")),
        ),
        (
            "audience with a slash",
            claim(broker, "aud", json!(format!("{URL}/"))),
        ),
        (
            "two audiences",
            claim(broker, "aud", json!([URL, "https://other.test"])),
        ),
        (
            "twice the audience",
            claim(broker, "aud", json!([URL, URL])),
        ),
        ("no audience in the list", claim(broker, "aud", json!([]))),
        ("audience a number", claim(broker, "aud", json!(1))),
        ("no audience", without(broker, "aud")),
        (
            "issuer with a slash",
            claim(broker, "iss", json!(format!("{URL}/dev/github/"))),
        ),
        (
            "issuer in capitals",
            claim(broker, "iss", json!("http://LOCALHOST:8640/dev/github")),
        ),
        (
            "issuer with another port",
            claim(broker, "iss", json!("http://localhost:8641/dev/github")),
        ),
        (
            "issuer by its address",
            claim(broker, "iss", json!("http://127.0.0.1:8640/dev/github")),
        ),
        (
            "issuer with a query",
            claim(broker, "iss", json!(format!("{URL}/dev/github?"))),
        ),
        (
            "another platform's issuer",
            claim(broker, "iss", json!(format!("{URL}/dev/gitlab"))),
        ),
        (
            "the real GitHub",
            claim(
                broker,
                "iss",
                json!("https://token.actions.githubusercontent.com"),
            ),
        ),
        ("no issuer", without(broker, "iss")),
        ("expired", times(now - 331, now - 31)),
        ("expired at the edge", times(now - 330, now - 30)),
        ("early", claim(broker, "nbf", json!(now + 31))),
        ("made in the future", times(now + 31, now + 331)),
        ("lives too long", times(now, now + 601)),
        ("ends before it begins", times(now, now - 1)),
        ("exp a float", claim(broker, "exp", json!(1_803_895_500.5))),
        (
            "exp a text",
            claim(broker, "exp", json!((now + 300).to_string())),
        ),
        ("exp beyond all", claim(broker, "exp", json!(u64::MAX))),
        ("exp negative", claim(broker, "exp", json!(-1))),
        ("no exp", without(broker, "exp")),
        ("no iat", without(broker, "iat")),
        ("no jti", without(broker, "jti")),
        ("empty jti", claim(broker, "jti", json!(""))),
        ("jti of spaces", claim(broker, "jti", json!("a b"))),
        ("jti too long", claim(broker, "jti", json!("j".repeat(256)))),
        (
            "an owner that is not admitted",
            claim(broker, "repository_owner_id", json!("123457")),
        ),
        (
            "owner with a space",
            claim(broker, "repository_owner_id", json!(" 123456")),
        ),
        (
            "repository id a number",
            claim(broker, "repository_id", json!(456_789)),
        ),
        (
            "repository id a path",
            claim(broker, "repository_id", json!("../1")),
        ),
        ("no repository id", without(broker, "repository_id")),
        ("no run", without(broker, "run_id")),
        ("no event", without(broker, "event_name")),
        (
            "pull_request_target",
            claim(broker, "event_name", json!("pull_request_target")),
        ),
        (
            "workflow_run",
            claim(broker, "event_name", json!("workflow_run")),
        ),
        (
            "an event nobody admitted",
            claim(broker, "event_name", json!("issues")),
        ),
        (
            "subject of another repository",
            claim(broker, "sub", json!("repo:acme@123456/web@1:ref:x")),
        ),
        (
            "bidi in a name",
            claim(broker, "repository", json!("acme/\u{202e}bew")),
        ),
        (
            "control in a ref",
            claim(broker, "ref", json!("refs/heads/\u{7}main")),
        ),
        (
            "not NFC",
            claim(broker, "ref", json!("refs/heads/cafe\u{301}")),
        ),
        ("duplicate issuer", twice(r#""iss":"https://evil.test""#)),
        ("duplicate owner", twice(r#""repository_owner_id":"1""#)),
        ("duplicate deep inside", twice(r#""x":{"a":1,"a":2}"#)),
        (
            "claims a list",
            broker.issuers.sign_text(&header().to_string(), "[]"),
        ),
        (
            "claims with a byte order mark",
            broker
                .issuers
                .sign_text(&header().to_string(), &format!("\u{feff}{text}")),
        ),
        ("header with a duplicate", {
            let header = r#"{"alg":"RS256","alg":"RS256","kid":"dev-issuers","typ":"JWT"}"#;
            broker.issuers.sign_text(header, &text)
        }),
    ]);
    liars
}

/// What is wrong before anything is read.
fn form(good: &dyn Fn() -> String) -> Vec<(&'static str, String)> {
    let token = good();
    let parts: Vec<_> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let alg_none = encode(br#"{"alg":"none","kid":"dev-issuers","typ":"JWT"}"#);
    vec![
        ("a word", "token".to_owned()),
        ("two dots", "..".to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts", format!("{token}.{claims}.{signature}")),
        ("no signature", format!("{header}.{claims}.")),
        ("unsecured", format!("{alg_none}.{claims}.")),
        (
            "unsecured with a signature",
            format!("{alg_none}.{claims}.{signature}"),
        ),
        (
            "JSON form",
            json!({ "protected": header, "payload": claims, "signature": signature }).to_string(),
        ),
        ("padding", format!("{header}.{claims}.{signature}==")),
        (
            "the other alphabet",
            format!("{header}.{claims}.+/{}", &signature[2..]),
        ),
        ("a space inside", format!("{header}. {claims}.{signature}")),
        (
            "spare bits",
            format!("{header}.{claims}.{}", spare(signature)),
        ),
        (
            "another signature",
            format!("{header}.{claims}.{}", encode(&[7; 256])),
        ),
        (
            "an empty signature byte",
            format!("{header}.{claims}.{}", encode(&[0])),
        ),
        (
            "oversized",
            format!("{header}.{}.{signature}", encode(&[b' '; 7_000])),
        ),
        ("nine thousand dots", ".".repeat(9_000)),
    ]
}

/// The same bytes in a base64url that is not canonical: the last character's spare bits are set.
fn spare(signature: &str) -> String {
    let (front, last) = signature.split_at(signature.len() - 1);
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = ALPHABET.find(last).unwrap();
    format!("{front}{}", &ALPHABET[place + 1..place + 2])
}

fn hs256(broker: &TestBroker, key: &[u8]) -> String {
    let header = json!({ "alg": "HS256", "kid": "dev-issuers", "typ": "JWT" }).to_string();
    let claims = Value::Object(broker.ci("acme/web").claims()).to_string();
    let input = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

/// The key of `stintd dev`: right in name, wrong in bytes.
fn foreign(broker: &TestBroker) -> String {
    dev::Issuer::all(URL).unwrap()[0]
        .mint(&dev::Mint::default(), broker.now())
        .unwrap()
}

fn swapped(broker: &TestBroker) -> String {
    let (one, other) = (broker.ci("acme/web").token(), broker.ci("acme/api").token());
    let one: Vec<_> = one.split('.').collect();
    let other: Vec<_> = other.split('.').collect();
    format!("{}.{}.{}", one[0], other[1], one[2])
}

/// All of an answer that a caller could tell apart, less the date.
fn seen(answer: &Answer) -> (u16, Vec<u8>, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| {
        // The tenth failure is a connection's last, whatever failed.
        !matches!(name.as_str(), "connection" | "date" | "x-request-id")
    });
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status.as_u16(), answer.body.clone(), headers)
}

async fn ask(broker: &TestBroker, token: &str) -> Answer {
    broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .token(token)
        .x509()
        .await
}

#[tokio::test]
async fn every_lie_gets_the_same_answer_and_leaves_nothing() {
    let broker = TestBroker::start().await;
    // Something real first, so that tables are not empty.
    assert_eq!(
        ask(&broker, &broker.ci("acme/web").token()).await.status,
        201
    );
    let before = broker.state().await;
    let first = ask(&broker, "token").await;
    drop(first.refused(Code::EvidenceRejected));
    for (lie, token) in liars(&broker) {
        let answer = ask(&broker, &token).await;
        assert_eq!(seen(&answer), seen(&first), "{lie}: {}", answer.text());
        let dry = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .token(&token)
            .for_jwt("https://api")
            .judge()
            .await;
        assert_eq!(seen(&dry), seen(&first), "dry run, {lie}: {}", dry.text());
        let bearer = format!("Bearer {token}");
        let who = broker
            .post("/v1/whoami", &[("authorization", &bearer)], b"")
            .await;
        assert_eq!(seen(&who), seen(&first), "whoami, {lie}: {}", who.text());
    }
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn a_lie_is_answered_no_sooner_than_three_milliseconds() {
    let broker = TestBroker::start().await;
    let mut quickest = u128::MAX;
    for (_, token) in liars(&broker).into_iter().take(30) {
        let watch = Stopwatch::start();
        drop(ask(&broker, &token).await);
        quickest = quickest.min(watch.elapsed().as_micros());
    }
    assert!(quickest >= 3_000, "{quickest} µs tell what was wrong");
    broker.finish().await;
}

#[tokio::test]
async fn what_is_at_the_edge_and_true_is_believed() {
    let broker = TestBroker::start().await;
    let now = broker.now().as_secs();
    let times = |iat: i64, exp: i64| {
        changed(&broker, |_, claims| {
            for (name, time) in [("iat", iat), ("nbf", iat), ("exp", exp)] {
                claims.insert(name.to_owned(), json!(time));
            }
        })
    };
    for (truth, token) in [
        (
            "one audience in a list",
            claim(&broker, "aud", json!([URL])),
        ),
        ("just expired", times(now - 300, now - 29)),
        ("just not early", times(now + 30, now + 330)),
        ("as long as may be", times(now, now + 600)),
        (
            "typ in small letters",
            in_header(&broker, "typ", json!("jwt")),
        ),
        (
            "a claim nobody reads",
            claim(&broker, "newer", json!({ "deep": [1] })),
        ),
        (
            "a header nobody reads",
            in_header(&broker, "x5t", json!("abc")),
        ),
        (
            "the new form of the subject",
            claim(&broker, "sub", json!("repo:acme@123456/web@456789:ref:x")),
        ),
    ] {
        let answer = ask(&broker, &token).await;
        assert_eq!(answer.status, 201, "{truth}: {}", answer.text());
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_token_we_issued_is_no_evidence() {
    let broker = TestBroker::start().await;
    let granted = broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .jwt(URL)
        .await
        .granted();
    let Credential::Jwt { token, .. } = granted.credential else {
        panic!("a certificate")
    };
    drop(
        ask(&broker, token.expose())
            .await
            .refused(Code::EvidenceRejected),
    );
    broker.finish().await;
}

#[tokio::test]
async fn who_brings_no_evidence_is_told_how() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let body = br#"{"action":"deploy","resources":["Environment::staging/web"],"credential":{"kind":"jwt"}}"#;
    let token = broker.ci("acme/web").token();
    let bearer = format!("Bearer {token}");
    let cases: [&[(&str, &str)]; 6] = [
        &[],
        &[("authorization", "Basic dTpw")],
        &[("authorization", "Bearer")],
        &[("authorization", &token)],
        &[("authorization", &bearer), ("authorization", &bearer)],
        &[("cookie", "session=1")],
    ];
    for headers in cases {
        for path in ["/v1/grants", "/v1/decisions", "/v1/whoami"] {
            let answer = broker.post(path, headers, body).await;
            drop(answer.refused(Code::LoginRequired));
            assert!(
                answer.header("www-authenticate").contains("Bearer"),
                "{headers:?}"
            );
        }
    }
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn evidence_is_used_once_whatever_came_of_it() {
    let broker = TestBroker::start().await;
    let lie = ask(&broker, "token").await;
    for (resource, status) in [
        (STAGING, 201),
        ("Environment::prod/web", 202),
        ("Environment::nowhere", 403),
    ] {
        let token = broker.ci("acme/web").token();
        let ask = async || {
            broker
                .ci("acme/web")
                .ask("deploy", resource)
                .token(&token)
                .x509()
                .await
        };
        assert_eq!(ask().await.status, status, "{resource}");
        let size = broker.size().await;
        assert_eq!(
            seen(&ask().await),
            seen(&lie),
            "the answer to a replay is that to any lie"
        );
        assert_eq!(
            broker.size().await,
            size + 1,
            "the first replay is an entry"
        );
        assert_eq!(seen(&ask().await), seen(&lie));
        assert_eq!(broker.size().await, size + 1, "later ones are counted only");
        let entry = broker.export().await.of("denied").pop().unwrap();
        assert_eq!(entry.header["what"]["why"], "replayed");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_used_token_stays_used_after_a_restart() {
    let mut broker = TestBroker::start().await;
    let token = broker.ci("acme/web").token();
    assert_eq!(ask(&broker, &token).await.status, 201);
    broker.restart().await.unwrap();
    drop(ask(&broker, &token).await.refused(Code::EvidenceRejected));
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_with_one_token_one_wins() {
    let broker = TestBroker::start().await;
    for _ in 0..10 {
        let token = broker.ci("acme/web").token();
        let (one, other) = tokio::join!(ask(&broker, &token), ask(&broker, &token));
        let mut both = [one.status.as_u16(), other.status.as_u16()];
        both.sort_unstable();
        assert_eq!(both, [201, 400]);
    }
    broker.finish().await;
}

#[tokio::test]
async fn who_am_i_reads_and_spends_nothing() {
    let broker = TestBroker::start().await;
    let token = broker.ci("acme/web").job("a").token();
    let bearer = format!("Bearer {token}");
    let size = broker.size().await;
    for _ in 0..2 {
        let answer = broker
            .post("/v1/whoami", &[("authorization", &bearer)], b"")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let me = answer.json();
        assert_eq!(me["spiffe_id"], "spiffe://acme.dev/github/123456/456789");
        assert_eq!(me["owner"], "release");
        assert_eq!(me["task"]["name"], "github:456789/7/1/a");
        assert_eq!(
            me["claims"]["platform"]["github"]["repository_id"],
            "456789"
        );
    }
    assert_eq!(broker.size().await, size);
    assert_eq!(ask(&broker, &token).await.status, 201);
    broker.finish().await;
}

#[tokio::test]
async fn a_dpop_proof_that_does_not_hold_is_refused_by_itself() {
    let broker = TestBroker::start().await;
    let before = broker.state().await;
    let url = format!("{URL}/v1/grants");
    let key = DpopKey::default();
    let token = broker.ci("acme/web").token();
    let now = broker.now();
    let with = |name: &str, value: Value| {
        let mut claims = key.claims(&url, &token, now);
        claims.insert(name.to_owned(), value);
        key.sign(&key.header(), &claims)
    };
    let lacks = |name: &str| {
        let mut claims = key.claims(&url, &token, now);
        claims.remove(name);
        key.sign(&key.header(), &claims)
    };
    let head = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        key.sign(&header, &key.claims(&url, &token, now))
    };
    let mut private = key.jwk();
    private["d"] = json!("AAAA");
    let body = json!({ "action": "deploy", "resources": [STAGING], "credential": { "kind": "jwt", "audience": "a" } });
    let bearer = format!("Bearer {token}");
    let mut first = None;
    for (lie, proof) in [
        ("a word", "proof".to_owned()),
        ("another method", with("htm", json!("GET"))),
        (
            "another route",
            with("htu", json!(format!("{URL}/v1/decisions"))),
        ),
        (
            "another host",
            with("htu", json!("http://evil.test/v1/grants")),
        ),
        ("old", with("iat", json!(now.as_secs() - 31))),
        ("from the future", with("iat", json!(now.as_secs() + 31))),
        ("of another token", with("ath", json!(encode(&[1; 32])))),
        ("of no token", lacks("ath")),
        ("no jti", lacks("jti")),
        ("no iat", lacks("iat")),
        ("typ JWT", head("typ", json!("JWT"))),
        ("alg none", head("alg", json!("none"))),
        ("alg HS256", head("alg", json!("HS256"))),
        ("a private key", head("jwk", private)),
        (
            "a key that did not sign",
            head("jwk", DpopKey::default().jwk()),
        ),
        ("no key", head("jwk", json!(null))),
    ] {
        let headers = [("authorization", bearer.as_str()), ("dpop", proof.as_str())];
        let answer = broker
            .post("/v1/grants", &headers, body.to_string().as_bytes())
            .await;
        drop(answer.refused(Code::InvalidDpopProof));
        assert!(
            answer
                .header("www-authenticate")
                .contains("invalid_dpop_proof"),
            "{lie}"
        );
        let first = first.get_or_insert_with(|| seen(&answer));
        assert_eq!(seen(&answer), *first, "{lie}");
    }
    let good = key.proof(&url, &token, now);
    let twice = [
        ("authorization", bearer.as_str()),
        ("dpop", good.as_str()),
        ("dpop", good.as_str()),
    ];
    drop(
        broker
            .post("/v1/grants", &twice, body.to_string().as_bytes())
            .await
            .refused(Code::InvalidDpopProof),
    );
    assert_eq!(broker.state().await, before);
    let once = [("authorization", bearer.as_str()), ("dpop", good.as_str())];
    let answer = broker
        .post("/v1/grants", &once, body.to_string().as_bytes())
        .await;
    assert_eq!(
        answer.status,
        201,
        "the token was not spent by bad proofs: {}",
        answer.text()
    );
    broker.finish().await;
}

/// Policies that know a GitLab project and a pod.
fn platforms() -> Setup {
    TestBroker::with().policy(
        "platforms.cedar",
        r#"@id("gitlab-staging") @owner("Group::\"release\"") @max_ttl("30m") @credential("x509,jwt")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
when { context has gitlab && context.gitlab.project_id == "20" };
@id("pod-staging") @owner("Group::\"release\"") @max_ttl("30m") @credential("x509,jwt")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
when { context has kubernetes && context.kubernetes.serviceaccount_uid == "14ee3fa4-1d0c-4b6e-9f57-2d1c0c8f3a10" };
"#,
    )
}

#[tokio::test]
async fn a_job_with_one_token_uses_it_again_by_the_same_key_alone() {
    let broker = platforms().start().await;
    for (like, repo) in [(Like::GitLab, "acme/web"), (Like::Kubernetes, "shop/web")] {
        let job = || broker.caller(like, repo);
        let (key, other) = (DpopKey::default(), DpopKey::default());
        let token = job().token();
        let ask = || {
            job()
                .ask("deploy", STAGING)
                .token(&token)
                .for_jwt("https://api")
        };
        for _ in 0..3 {
            assert_eq!(ask().proved_by(&key).send().await.status, 201, "{like:?}");
        }
        let dry = ask().proved_by(&key).judge().await;
        assert_eq!(
            dry.status,
            200,
            "its prover may ask what would be, {like:?}: {}",
            dry.text()
        );
        drop(
            ask()
                .proved_by(&other)
                .send()
                .await
                .refused(Code::EvidenceRejected),
        );
        drop(ask().send().await.refused(Code::EvidenceRejected));
        assert_eq!(
            ask().proved_by(&key).send().await.status,
            201,
            "{like:?}: a thief does not lock it out"
        );

        let bare = job().token();
        let ask = || {
            job()
                .ask("deploy", STAGING)
                .token(&bare)
                .for_jwt("https://api")
        };
        assert_eq!(ask().send().await.status, 201, "{like:?}");
        drop(ask().send().await.refused(Code::AlreadyDelivered));
        drop(ask().ttl(61).send().await.refused(Code::EvidenceRejected));
        drop(
            ask()
                .proved_by(&key)
                .send()
                .await
                .refused(Code::EvidenceRejected),
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_csr_proves_its_key_as_a_proof_does() {
    let broker = platforms().start().await;
    let job = || broker.caller(Like::GitLab, "acme/web");
    let token = job().token();
    let key = keys::key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let ask = async |csr: String| job().ask("deploy", STAGING).token(&token).csr(&csr).await;
    assert_eq!(ask(keys::csr_of(&key)).await.status, 201);
    assert_eq!(
        ask(keys::csr_of(&key)).await.status,
        201,
        "the same key again"
    );
    drop(ask(keys::csr()).await.refused(Code::EvidenceRejected));
    broker.finish().await;
}

#[tokio::test]
async fn a_credential_of_a_gitlab_job_ends_with_its_token() {
    let broker = platforms().start().await;
    let exp = broker.now().as_secs() + 120;
    let job = broker
        .caller(Like::GitLab, "acme/web")
        .claim("exp", json!(exp));
    let granted = job.ask("deploy", STAGING).ttl(600).x509().await.granted();
    let end = stint_policy::Timestamp::parse_rfc3339(&granted.expires_at).unwrap();
    assert!(end.as_secs() <= exp, "{}", granted.expires_at);
    assert!(
        granted
            .shortened_by
            .iter()
            .any(|by| by.contains("evidence")),
        "{:?}",
        granted.shortened_by
    );
    broker.finish().await;
}

#[tokio::test]
async fn the_tokens_payload_is_canonical_in_the_harness_too() {
    // The harness signs what it says it signs: else the table above would test nothing.
    let broker = TestBroker::start().await;
    let token = changed(&broker, |_, _| ());
    let parts: Vec<_> = token.split('.').collect();
    assert!(
        parts
            .iter()
            .all(|part| BASE64URL_NOPAD.decode(part.as_bytes()).is_ok())
    );
    assert_eq!(ask(&broker, &token).await.status, 201);
    broker.finish().await;
}
