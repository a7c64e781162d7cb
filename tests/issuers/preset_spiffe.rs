//! `spiffe-jwt-svid`: SVIDs of another trust domain, by the keys of its bundle.

use serde_json::{Value, json};
use stint_tests::broker::URL;
use stint_tests::keys::DpopKey;
use stint_wire::Code;

use crate::platform::{Platform, does_not_load, jwks, lacks, plus, set, table};

const ENTRY: &str = "preset = \"spiffe-jwt-svid\"\ntrust_domain = \"other.example\"";
/// An SVID has no task of its own; here its workload is one.
const TASK: &str = "task = \"{trust_domain}/{spiffe_path}\"";
const WHEN: &str = "context has origin.tenant && context.origin.tenant == \"other.example\"";
const ID: &str = "other.example/ns/shop/sa/web";

fn good() -> Value {
    json!({ "sub": format!("spiffe://{ID}"), "aud": [URL] })
}

async fn partner(name: &'static str) -> Platform {
    let table = table(name, &format!("{ENTRY}\n{TASK}"), &jwks("jwt-svid"));
    Platform::of((name, &table), WHEN, good()).await
}

fn bare() -> Value {
    json!({ "alg": "RS256", "kid": "dev-issuers" })
}

#[tokio::test]
async fn a_foreign_workload_is_a_caller_below_its_trust_domain() {
    let partner = partner("partner").await;
    let origin = json!({ "tenant": "other.example", "project": "ns/shop/sa/web" });
    let record = partner
        .accepts(ID, json!(format!("partner:{ID}")), origin)
        .await;
    assert_eq!(record, json!({}), "no claim beyond the subject is trusted");
    for typ in ["JWT", "JOSE", "jose"] {
        let mut header = bare();
        header["typ"] = json!(typ);
        partner
            .who(&partner.sign_under(&header, &partner.claims()))
            .await;
    }
    partner
        .who(&partner.sign_under(&bare(), &partner.claims()))
        .await;
    // `iss` is not read: neither one that nobody knows nor one that another entry has.
    for iss in [
        "https://oidc.other.example",
        "http://localhost:8640/dev/github",
    ] {
        let me = partner.who(&partner.with(plus("iss", json!(iss)))).await;
        assert_eq!(me["issuer"], "partner");
    }
    partner.ends_with_its_token().await;
    partner.broker.finish().await;
}

#[tokio::test]
async fn without_a_task_it_is_known_and_granted_nothing() {
    let table = table("partner-task", ENTRY, &jwks("jwt-svid"));
    let partner = Platform::of(("partner-task", &table), WHEN, good()).await;
    let token = partner.sign(&partner.claims());
    assert_eq!(partner.who(&token).await["task"], Value::Null);
    drop(partner.ask(&token).await.refused(Code::TaskRequired));
    partner.broker.finish().await;
}

#[tokio::test]
async fn a_cut_off_counts_against_what_does_not_say_when_it_was_made() {
    // The broker's clock begins at 10:00.
    let entry = format!("{ENTRY}\n{TASK}\ncut_off = \"2027-03-01T09:30:00Z\"");
    let table = table("partner-cut", &entry, &jwks("jwt-svid"));
    let partner = Platform::of(("partner-cut", &table), WHEN, good()).await;
    let now = partner.broker.now().as_secs();
    let silent = |exp: i64| {
        partner.with(|claims| {
            claims["exp"] = json!(exp);
            assert!(claims.as_object_mut().unwrap().remove("iat").is_some());
        })
    };
    partner
        .refuses(vec![
            ("it may be as old as it lives", "cut_off", silent(now + 300)),
            (
                "and it says so",
                "cut_off",
                partner.with(set("/iat", json!(now - 1801))),
            ),
        ])
        .await;
    partner.who(&silent(now + 1801)).await;
    partner.who(&partner.sign(&partner.claims())).await;
    partner.broker.finish().await;
}

#[tokio::test]
async fn without_iat_it_lives_from_when_it_is_first_seen() {
    let partner = partner("partner-first").await;
    let now = partner.broker.now().as_secs();
    let until = |exp: i64| {
        partner.with(|claims| {
            claims["exp"] = json!(exp);
            assert!(claims.as_object_mut().unwrap().remove("iat").is_some());
        })
    };
    partner
        .refuses(vec![("more than an hour", "lifetime", until(now + 3601))])
        .await;
    let token = until(now + 3600);
    assert_eq!(partner.who(&token).await["evidence"]["iat"], now);
    let key = DpopKey::default();
    let ask = async |token: &str, key: &DpopKey| {
        let url = format!("{URL}/v1/grants");
        let bearer = format!("Bearer {token}");
        let proof = key.proof(&url, token, partner.broker.now());
        let headers = [("authorization", bearer.as_str()), ("dpop", proof.as_str())];
        let body = json!({ "action": "deploy", "resources": ["Environment::staging/web"],
            "credential": { "kind": "jwt", "audience": "https://db.acme.dev" } });
        partner
            .broker
            .post("/v1/grants", &headers, body.to_string().as_bytes())
            .await
    };
    assert_eq!(ask(&token, &key).await.status, 201);
    assert_eq!(ask(&token, &key).await.status, 201, "the same key again");
    let thief = ask(&token, &DpopKey::default()).await;
    assert_eq!(thief.json()["code"], "evidence_rejected");
    partner.broker.finish().await;
}

#[tokio::test]
async fn a_header_or_subject_beyond_the_standard_is_refused() {
    let partner = partner("partner-traps").await;
    let under = |name: &str, value: Value| {
        let mut header = bare();
        header[name] = value;
        partner.sign_under(&header, &partner.claims())
    };
    let sub = |sub: &str| partner.with(set("/sub", json!(sub)));
    let mut liars = vec![
        ("a header of more", "header", under("x5t", json!("unread"))),
        ("a header of nobody's", "header", under("cty", json!("JWT"))),
        (
            "typ of an access token",
            "typ",
            under("typ", json!("at+jwt")),
        ),
        (
            "a key of the X.509 side",
            "key",
            under("kid", json!("x509")),
        ),
        ("an EdDSA header", "alg", under("alg", json!("EdDSA"))),
        (
            "two audiences",
            "audience",
            partner.with(set("/aud", json!([URL, "b"]))),
        ),
        (
            "another audience",
            "audience",
            partner.with(set("/aud", json!(["https://other.example"]))),
        ),
        ("no subject", "issuer", partner.with(lacks("sub"))),
        (
            "our own trust domain",
            "issuer",
            sub("spiffe://acme.dev/agent/root"),
        ),
        (
            "a domain below it",
            "issuer",
            sub("spiffe://a.other.example/ns/shop"),
        ),
        (
            "a domain it begins",
            "issuer",
            sub("spiffe://other.example.evil.example/ns/shop"),
        ),
        (
            "a domain in capitals",
            "issuer",
            sub("spiffe://Other.example/ns/shop"),
        ),
        (
            "a scheme in capitals",
            "issuer",
            sub("SPIFFE://other.example/ns/shop"),
        ),
        (
            "a port",
            "issuer",
            sub("spiffe://other.example:8443/ns/shop"),
        ),
    ];
    for odd in [
        "spiffe://other.example",
        "spiffe://other.example/",
        "spiffe://other.example/ns/",
        "spiffe://other.example//ns",
        "spiffe://other.example/ns/../admin",
        "spiffe://other.example/ns/%2e",
        "spiffe://other.example/ns?x",
        "spiffe://other.example/ns#x",
    ] {
        liars.push((odd, "claims", sub(odd)));
    }
    let long = format!("spiffe://other.example/{}", "a/".repeat(300) + "a");
    liars.push(("longer than an identity", "claims", sub(&long)));
    partner.refuses(liars).await;
    partner.broker.finish().await;
}

#[test]
fn a_bundle_is_of_one_other_trust_domain() {
    does_not_load(
        "preset = \"spiffe-jwt-svid\"",
        &["trust_domain", "is missing"],
    );
    does_not_load(
        "preset = \"spiffe-jwt-svid\"\ntrust_domain = \"acme.dev\"",
        &["broker's own"],
    );
    does_not_load(
        "preset = \"spiffe-jwt-svid\"\ntrust_domain = \"spiffe://other.example\"",
        &["no trust domain"],
    );
    does_not_load(
        "preset = \"spiffe-jwt-svid\"\ntrust_domain = \"*.example\"",
        &["I02"],
    );
    does_not_load(
        &format!("{ENTRY}\nurl = \"https://other.example\""),
        &["url", "is not read here"],
    );
    does_not_load(&format!("{ENTRY}\nalg = [\"EdDSA\"]"), &["EdDSA"]);
    does_not_load(
        &format!("{ENTRY}\nextra = {{ team = {{ claim = \"team\", type = \"string\" }} }}"),
        &["is not trusted"],
    );
    does_not_load(
        &format!("{ENTRY}\nid = \"{{spiffe_path}}/{{trust_domain}}\""),
        &["at the end"],
    );
    // Keys for signatures of another kind are none of the bundle's.
    does_not_load(ENTRY, &["no usable key", "jwt-svid"]);
    does_not_load(
        "preset = \"gitlab-ci\"\nurl = \"https://gitlab.acme.dev\"\ntrust_domain = \"other.example\"",
        &["alone"],
    );
}
