//! What these tests share: reading tokens, and what every refusal must leave as it was.

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::broker::Setup;
use stint_tests::exchange::Exchange;
use stint_wire::oauth::{OAuthError, TokenRefused};

pub(crate) const STAGING: &str = "Environment::staging/web";
pub(crate) const AUDIENCE: &str = "https://deploy.acme.dev";
pub(crate) const CALLER: &str = "spiffe://acme.dev/github/123456/456789";

/// Header and claims of a token whose signature verifies by the published key its header names.
pub(crate) async fn verified(broker: &TestBroker, token: &str) -> (Value, Value) {
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("not three parts: {token}")
    };
    let bytes = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let read = |part: &str| serde_json::from_slice::<Value>(&bytes(part)).unwrap();
    let jwks = broker.get("/oauth2/jwks").await.json();
    let header_read = read(header);
    let named = |key: &&Value| key["kid"] == header_read["kid"];
    let key = jwks["keys"].as_array().unwrap().iter().find(named).unwrap();
    assert_eq!(key["alg"], header_read["alg"]);
    assert_eq!(key["use"], "sig");
    let part = |name: &str| bytes(key[name].as_str().unwrap());
    let (input, signature) = (format!("{header}.{payload}"), bytes(signature));
    match header_read["alg"].as_str().unwrap() {
        "ES256" => {
            let point = [vec![4], part("x"), part("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(input.as_bytes(), &signature)
                .unwrap();
        }
        "RS256" => RsaPublicKeyComponents {
            n: part("n"),
            e: part("e"),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature)
        .unwrap(),
        other => panic!("{other}"),
    }
    (header_read, read(payload))
}

/// Sends a form that strangers could send as well: refused, and nothing written.
pub(crate) async fn strangers_no(
    what: &str,
    broker: &TestBroker,
    form: Exchange<'_>,
    error: OAuthError,
) -> TokenRefused {
    let before = broker.state().await;
    let answer = form.send().await;
    let refused = answer.no_token(error);
    assert_eq!(refused.decision, None, "{what}");
    assert_eq!(broker.state().await, before, "{what} was written");
    assert_eq!(broker.released(), 0, "{what}");
    refused
}

/// Sends a form of a good caller: refused, and on record as one `denied` entry for `why`.
pub(crate) async fn recorded_no(
    what: &str,
    broker: &TestBroker,
    form: Exchange<'_>,
    (error, why): (OAuthError, &str),
) -> TokenRefused {
    let before = broker.size().await;
    let answer = form.send().await;
    let refused = answer.no_token(error);
    let decision = refused.decision.clone().unwrap_or_default();
    let (export, _) = broker.verify_ledger().await;
    let entries = export.entries();
    let entry = entries.get(usize::try_from(before).unwrap()).unwrap();
    assert_eq!(entry.header["kind"], "denied", "{what}");
    assert_eq!(entry.header["id"], *decision, "{what}");
    assert_eq!(entry.header["what"]["why"], *why, "{what}");
    refused
}

/// A broker whose schema has an action on targets, which are Stint's own: what the short form asks for.
pub(crate) fn with_targets() -> Setup {
    TestBroker::with()
        .replace(
            "schema.cedarschema",
            "@label(\"outside service\")",
            "@label(\"use\") @doc(\"Call another party.\")\n\
             action use appliesTo { principal: [Stint::Workload], resource: [Stint::Target], context: Stint::Ask };\n\n\
             @label(\"outside service\")",
        )
        .policy("targets.cedar", TARGETS)
}

const TARGETS: &str = r#"@id("web-uses") @owner("Group::\"release\"") @max_ttl("15m") @credential("jwt")
permit (principal is Stint::Workload, action == Action::"use", resource == Stint::Target::"https://deploy.acme.dev")
when { context has github && context.github.repository_id == "456789" };
"#;
