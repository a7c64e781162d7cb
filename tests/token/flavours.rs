//! The three sorts of JWT, each for its audience (PROTOCOLS.md §3.8, §3.10).

use serde_json::{Value, json};
use stint_tests::broker::Setup;
use stint_tests::exchange::TYPE;
use stint_tests::keys::DpopKey;
use stint_tests::{Like, TestBroker};
use stint_wire::Code;
use stint_wire::oauth::{OAuthError, TokenType};

use crate::desk::{CALLER, STAGING, recorded_no, verified};

/// An operator's RSA key of 2048 bits, published: it signs for tests and nothing else.
const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");

const AUDIENCES: &str = r#"
[jwt]
rs256 = { file = "rs256.key" }
[audience.aws]
aud = "sts.amazonaws.com"
flavour = "federation"
sub_template = "repo:{claim.repository_owner_id}:{claim.repository_id}"
max_ttl = "5m"
claims = { "https://aws.amazon.com/tags" = { principal_tags = { team = ["web"] }, transitive_tag_keys = ["team"] } }
[audience.cluster]
aud = "https://cluster.example"
flavour = "federation"
alg = "ES256"
sub_template = "{path}"
[audience.mesh]
aud = "spiffe://acme.dev/api"
flavour = "jwt-svid"
[audience.legacy]
aud = "https://legacy.example"
alg = "RS256"
"#;

fn setup() -> Setup {
    TestBroker::with()
        .secret_file("rs256.key", RSA)
        .tables(AUDIENCES)
}

const GITLAB: &str = r#"@id("gitlab-deploys") @owner("Group::\"release\"") @max_ttl("15m") @credential("jwt")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
when { context has gitlab && context.gitlab.project_id == "20" };
"#;

async fn minted(broker: &TestBroker, audience: &str) -> (Value, Value) {
    let form = broker
        .ci("acme/web")
        .job("a")
        .exchange("deploy", STAGING)
        .audience(audience);
    let granted = form
        .field("requested_token_type", "jwt")
        .send()
        .await
        .exchanged();
    assert_eq!(granted.issued_token_type, format!("{TYPE}jwt"));
    verified(broker, granted.access_token.expose()).await
}

fn members(claims: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = claims
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_cloud_gets_a_token_in_its_own_words() {
    let broker = setup().start().await;
    let (header, claims) = minted(&broker, "sts.amazonaws.com").await;
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("JWT"), &json!("RS256"))
    );
    assert_eq!(claims["sub"], "repo:123456:456789");
    assert_eq!(claims["iss"], "http://localhost:8640");
    assert_eq!(claims["aud"], "sts.amazonaws.com");
    assert_eq!(
        claims["https://aws.amazon.com/tags"]["principal_tags"],
        json!({ "team": ["web"] })
    );
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        300,
        "the audience's own cap"
    );
    assert_eq!(
        members(&claims),
        [
            "aud",
            "exp",
            "https://aws.amazon.com/tags",
            "iat",
            "iss",
            "jti",
            "nbf",
            "sub",
            "task"
        ]
    );
    let (header, claims) = minted(&broker, "https://cluster.example").await;
    assert_eq!(header["alg"], "ES256");
    assert_eq!(claims["sub"], "github/123456/456789");
    broker.finish().await;
}

#[tokio::test]
async fn a_jwt_svid_is_one() {
    let broker = setup().start().await;
    let (header, claims) = minted(&broker, "spiffe://acme.dev/api").await;
    assert_eq!(members(&header), ["alg", "kid", "typ"]);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("JWT"), &json!("ES256"))
    );
    assert_eq!(claims["sub"], CALLER);
    assert_eq!(
        members(&claims),
        ["aud", "exp", "iat", "iss", "jti", "sub", "task"]
    );
    broker.finish().await;
}

#[tokio::test]
async fn an_audience_may_want_its_access_tokens_in_rs256() {
    let broker = setup().start().await;
    let (header, claims) = minted(&broker, "https://legacy.example").await;
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("at+jwt"), &json!("RS256"))
    );
    assert_eq!(claims["client_id"], CALLER);
    let (header, _) = minted(&broker, "https://other.example").await;
    assert_eq!(header["alg"], "ES256");
    broker.finish().await;
}

#[tokio::test]
async fn without_a_type_the_audience_decides() {
    let broker = setup().start().await;
    for (audience, issued, kind) in [
        ("sts.amazonaws.com", "jwt", TokenType::NotApplicable),
        ("spiffe://acme.dev/api", "jwt", TokenType::NotApplicable),
        ("https://legacy.example", "access_token", TokenType::Bearer),
    ] {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(audience);
        let granted = form.send().await.exchanged();
        assert_eq!(
            granted.issued_token_type,
            format!("{TYPE}{issued}"),
            "{audience}"
        );
        assert_eq!(granted.token_type, kind, "{audience}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn what_reads_no_access_tokens_gets_none() {
    let broker = setup().start().await;
    for audience in ["sts.amazonaws.com", "spiffe://acme.dev/api"] {
        let form = broker
            .ci("acme/web")
            .exchange("deploy", STAGING)
            .audience(audience);
        let form = form.field("requested_token_type", "access_token");
        let no = (OAuthError::InvalidTarget, "form");
        let refused = recorded_no(audience, &broker, form, no).await;
        assert_eq!(refused.code, Code::InvalidField);
    }
    assert_eq!(broker.released(), 0);
    broker.finish().await;
}

#[tokio::test]
async fn an_identity_token_is_a_bearer_token_whatever_was_proved() {
    let broker = setup().start().await;
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience("sts.amazonaws.com");
    let granted = form.proved_by(&DpopKey::default()).send().await.exchanged();
    assert_eq!(granted.token_type, TokenType::NotApplicable);
    let (_, claims) = verified(&broker, granted.access_token.expose()).await;
    assert_eq!(claims.get("cnf"), None);
    broker.finish().await;

    // So a policy that wants a bound credential gives none, proof or not.
    let broker = setup()
        .replace(
            "web.cedar",
            "@max_ttl(\"30m\")",
            "@max_ttl(\"30m\") @bind(\"dpop\")",
        )
        .start()
        .await;
    let form = broker
        .ci("acme/web")
        .exchange("deploy", STAGING)
        .audience("sts.amazonaws.com");
    let no = (OAuthError::InvalidAuthorizationDetails, "limit");
    recorded_no("bound", &broker, form.proved_by(&DpopKey::default()), no).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_caller_without_those_claims_has_no_name_there() {
    let broker = setup().policy("gitlab.cedar", GITLAB).start().await;
    let gitlab = broker.caller(Like::GitLab, "acme/web");
    let form = gitlab
        .exchange("deploy", STAGING)
        .audience("sts.amazonaws.com");
    let refused = form.send().await.no_token(OAuthError::InvalidRequest);
    assert!(
        refused.error_description.contains("`gitlab`"),
        "{refused:?}"
    );
    assert_eq!(broker.released(), 0);
    let form = gitlab
        .exchange("deploy", STAGING)
        .audience("https://cluster.example");
    let granted = form.send().await.exchanged();
    let (_, claims) = verified(&broker, granted.access_token.expose()).await;
    assert!(
        claims["sub"].as_str().unwrap().starts_with("gitlab/"),
        "{claims}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn the_json_twin_mints_the_same_flavour() {
    let broker = setup().start().await;
    let asking = broker.ci("acme/web").ask("deploy", STAGING);
    let granted = asking.jwt("sts.amazonaws.com").await.granted();
    let stint_wire::Credential::Jwt { token, .. } = granted.credential else {
        panic!("no token")
    };
    let (header, claims) = verified(&broker, token.expose()).await;
    assert_eq!(header["alg"], "RS256");
    assert_eq!(claims["sub"], "repo:123456:456789");
    broker.finish().await;
}
