//! What verifiers find by themselves (PROTOCOLS.md §3.10).

use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::broker::URL;
use stint_wire::oauth::OAuthError;

const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");

#[tokio::test]
async fn both_documents_are_one_and_list_what_is_there() {
    let broker = TestBroker::start().await;
    let oidc = broker.get("/.well-known/openid-configuration").await;
    let oauth = broker.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(oidc.body, oauth.body);
    assert_eq!(oidc.header("cache-control"), "public, max-age=300");
    assert_eq!(oidc.header("content-type"), "application/json");
    assert_eq!(
        oidc.json(),
        json!({
            "issuer": URL,
            "authorization_endpoint": format!("{URL}/oauth2/authorize"),
            "token_endpoint": format!("{URL}/oauth2/token"),
            "jwks_uri": format!("{URL}/oauth2/jwks"),
            "revocation_endpoint": format!("{URL}/oauth2/revoke"),
            "revocation_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_token_type_values_supported":
                ["urn:ietf:params:oauth:token-type:deferral-code"],
            "deferred_token_response_supported": true,
            "grant_types_supported": [
                "urn:ietf:params:oauth:grant-type:token-exchange",
                "urn:ietf:params:oauth:grant-type:deferred",
            ],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["none"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
            "authorization_details_types_supported": ["stint_task"],
        })
    );
    broker.finish().await;
}

#[tokio::test]
async fn there_is_no_authorization_code_flow() {
    let broker = TestBroker::start().await;
    let answer = broker.get("/oauth2/authorize?response_type=code").await;
    let _refused = answer.no_token(OAuthError::InvalidRequest);
    broker.finish().await;
}

#[tokio::test]
async fn every_key_that_signs_is_published() {
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        data_encoding::BASE64.encode(RSA)
    );
    for key in [RSA, pem.as_bytes()] {
        let broker = TestBroker::with()
            .secret_file("rs256.key", key)
            .tables("[jwt]\nrs256 = { file = \"rs256.key\" }\n")
            .start()
            .await;
        let jwks = broker.get("/oauth2/jwks").await;
        assert_eq!(jwks.header("cache-control"), "public, max-age=300");
        let jwks = jwks.json();
        let keys = jwks["keys"].as_array().unwrap();
        let algorithms: Vec<_> = keys
            .iter()
            .map(|key| key["alg"].as_str().unwrap())
            .collect();
        assert_eq!(algorithms, ["ES256", "RS256"]);
        for key in keys {
            assert_eq!(key["use"], "sig");
            assert_eq!(
                key["kid"].as_str().unwrap().len(),
                43,
                "a thumbprint (RFC 7638)"
            );
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert_eq!(key.get(private), None);
            }
        }
        let metadata = broker.get("/.well-known/openid-configuration").await.json();
        assert_eq!(
            metadata["id_token_signing_alg_values_supported"],
            json!(["ES256", "RS256"])
        );
        // A key that the operator brings is on record with each start.
        let [loaded] = &broker.export().await.of("config_loaded")[..] else {
            panic!("one start")
        };
        assert_eq!(
            loaded.body["what"]["jwt_keys"].as_array().map(Vec::len),
            Some(2)
        );
        broker.finish().await;
    }
}

#[tokio::test]
async fn with_eddsa_the_tokens_are_eddsa() {
    let broker = TestBroker::with()
        .tables("[jwt]\nalg = \"EdDSA\"\n")
        .start()
        .await;
    let jwks = broker.get("/oauth2/jwks").await.json();
    assert_eq!(
        (&jwks["keys"][0]["alg"], &jwks["keys"][0]["crv"]),
        (&json!("EdDSA"), &json!("Ed25519"))
    );
    broker.finish().await;
}
