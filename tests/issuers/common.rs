//! What the tests of issuers share.

use stint_audit::Digest;
use stint_tests::broker::Setup;
use stint_tests::evil::{Evil, IdpKey};
use stint_tests::{Answer, TestBroker};
use stint_wire::Code;

/// The worker of the issuer `idp` deploys to staging.
pub(crate) const POLICY: &str = r#"@id("idp-deploys") @owner("Group::\"release\"") @max_ttl("30m") @credential("x509,jwt")
permit (principal == Stint::Workload::"spiffe://acme.dev/idp/worker", action == Action::"deploy", resource in Environment::"staging")
when { context.caller.preset == "generic" };
"#;

/// The same for other issuers.
fn policy(idps: &[&Evil]) -> String {
    let of = |idp: &&Evil| {
        let id = POLICY.replace("idp-deploys", &format!("{}-deploys", idp.name));
        id.replace("/idp/", &format!("/{}/", idp.name))
    };
    idps.iter().map(of).collect()
}

/// A broker that takes the tokens of these issuers too, and lets their callers deploy to staging.
pub(crate) async fn broker(idps: &[&Evil]) -> TestBroker {
    let tables: String = idps.iter().map(|idp| idp.config()).collect();
    setup(&policy(idps), &tables).start().await
}

/// A broker to be, with these issuers and with policies for their callers.
pub(crate) fn setup(policy: &str, tables: &str) -> Setup {
    let sample = stint_policy::sample();
    let schema = std::str::from_utf8(sample.get("schema.cedarschema").unwrap()).unwrap();
    let schema = format!("type Extra = {{ sub?: String, job?: String }};\n{schema}");
    TestBroker::with()
        .policy("idp.cedar", policy)
        .policy("schema.cedarschema", &schema)
        .tables(tables)
}

/// Asks with this token for what the policy permits.
pub(crate) async fn ask(broker: &TestBroker, token: &str) -> Answer {
    let ask = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    ask.token(token).x509().await
}

/// Asks with a fresh token of `idp` under `key`.
pub(crate) async fn ask_as(broker: &TestBroker, idp: &Evil, key: &IdpKey) -> Answer {
    ask(broker, &idp.token(key, broker.now())).await
}

/// A caller of another issuer gets what it asks for.
pub(crate) async fn others_are_served(broker: &TestBroker) {
    let ask = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    drop(ask.x509().await.granted());
}

/// 503 and nothing of the cause; what is left when the id is cut out.
pub(crate) fn unavailable(answer: &Answer) -> String {
    let problem = answer.refused(Code::Unavailable);
    assert_eq!(answer.header("retry-after"), "2");
    let (head, id) = problem.detail.rsplit_once('(').unwrap();
    assert!(id.starts_with("err_"), "{}", problem.detail);
    let text = answer.text();
    text.replace(id.trim_end_matches(')'), head)
}

/// What names a set of these keys: SHA-256 over their sorted thumbprints.
pub(crate) fn set_of(keys: &[&IdpKey]) -> String {
    let decode = |key: &&IdpKey| {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(key.thumbprint().as_bytes());
        bytes.unwrap()
    };
    let mut thumbprints: Vec<Vec<u8>> = keys.iter().map(decode).collect();
    thumbprints.sort();
    Digest::of(&thumbprints.concat()).to_string()
}
