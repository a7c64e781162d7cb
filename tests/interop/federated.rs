//! Tokens for clouds and clusters before verifiers of others: RS256 by an operator's key, ES256, JWT-SVID.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::broker::URL;

use crate::foreign::{self, Said};

const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");

const AUDIENCES: &str = r#"
[jwt]
rs256 = { file = "rs256.key" }
[audience.aws]
aud = "sts.amazonaws.com"
flavour = "federation"
sub_template = "{path}"
[audience.cluster]
aud = "https://cluster.example"
flavour = "federation"
alg = "ES256"
[audience.mesh]
aud = "spiffe://acme.dev/api"
flavour = "jwt-svid"
"#;

#[tokio::test]
async fn others_verify_every_flavour_and_refuse_it_spoiled() {
    let broker = TestBroker::with()
        .secret_file("rs256.key", RSA)
        .tables(AUDIENCES)
        .start()
        .await;
    let jwks = broker.get("/oauth2/jwks").await.json();
    for (aud, alg, sub) in [
        ("sts.amazonaws.com", "RS256", "github/123456/456789"),
        ("https://cluster.example", "ES256", CALLER),
        ("spiffe://acme.dev/api", "ES256", CALLER),
    ] {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", "Environment::staging/web");
        let granted = form.audience(aud).send().await.exchanged();
        let given = json!({
            "token": granted.access_token.expose(), "jwks": jwks, "iss": URL, "aud": aud,
            "algorithms": [alg], "now": broker.now().as_secs(),
        });
        for said in verify(&given) {
            assert!(said.ok, "{said:?}");
            assert_eq!(said.json()["claims"]["sub"], sub);
            assert_eq!(said.json()["header"]["alg"], alg);
        }
        let mut other = given.clone();
        other["aud"] = json!("https://other.example");
        let mut late = given.clone();
        late["now"] = json!(broker.now().as_secs() + 3_600);
        let mut confused = given.clone();
        confused["algorithms"] = json!([if alg == "RS256" { "ES256" } else { "RS256" }]);
        let mut spoiled = given.clone();
        let (input, signature) = granted.access_token.expose().rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        spoiled["token"] = json!(format!("{input}.{first}{}", signature.get(1..).unwrap()));
        for bad in [other, late, confused, spoiled] {
            for said in verify(&bad) {
                assert!(!said.ok, "{said:?}");
            }
        }
    }
    broker.finish().await;
}

fn verify(given: &Value) -> [Said; 2] {
    let text = given.to_string();
    [
        foreign::run(&mut foreign::node("jose-offline.mjs"), &text),
        foreign::run(&mut foreign::python("verify.py"), &text),
    ]
}

const CALLER: &str = "spiffe://acme.dev/github/123456/456789";
