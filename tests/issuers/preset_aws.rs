//! `aws`: a role's web identity token.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use stint_tests::issuer::encode;

use crate::platform::{Platform, does_not_load, lacks, set, table};

const ISSUER: &str = "https://4f7c1f0e-9a3b-4a52-8f4c-1d2e3f4a5b6c.tokens.sts.global.api.aws";
const STS: &str = "https://sts.amazonaws.com/";
const WHEN: &str = "context has aws.principal_tags && context.aws.aws_account == \"123456789012\" && \
                    context.aws.role_name == \"Deploy\" && context.aws.principal_tags.contains(\"team=web\")";

/// A role has no task of its own; here it is one.
const TASK: &str = "task = \"{aws_account}/{role_name}\"";

fn entry() -> String {
    format!(
        "preset = \"aws\"\nurl = \"{ISSUER}\"\nonly = {{ aws_account = [\"123456789012\"] }}\n{TASK}"
    )
}

fn good() -> Value {
    json!({
        "iss": ISSUER, "sub": "arn:aws:iam::123456789012:role/ci/Deploy", "jti": "c9c9e1f0",
        STS: {
            "aws_account": "123456789012", "source_region": "eu-west-1", "org_id": "o-abc1234567",
            "ou_path": ["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"],
            "principal_id": "arn:aws:iam::123456789012:role/ci/Deploy",
            "principal_tags": { "team": "web", "cost-center": "engineering" }, "source_identity": "kim",
            "ec2_source_instance_arn": "arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b",
            "request_tags": { "team": "root", "job-id": "7" }
        }
    })
}

async fn aws(name: &'static str) -> Platform {
    Platform::start(name, &entry(), WHEN, good()).await
}

fn sts(member: &str) -> String {
    format!("/https:~1~1sts.amazonaws.com~1/{member}")
}

/// A good token with one of the claims under STS's name changed.
fn with_sts(aws: &Platform, member: &str, value: Value) -> String {
    aws.with(|claims| *claims.pointer_mut(&sts(member)).unwrap() = value)
}

#[tokio::test]
async fn a_role_is_a_caller() {
    let aws = aws("aws").await;
    let origin = json!({ "tenant": "123456789012", "project": "Deploy", "actor": "kim", "region": "eu-west-1",
        "instance": "arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b" });
    let record = aws
        .accepts(
            "123456789012/Deploy",
            json!("aws:123456789012/Deploy"),
            origin,
        )
        .await;
    let wanted = json!({ "aws": {
        "aws_account": "123456789012", "role_name": "Deploy", "sub": "arn:aws:iam::123456789012:role/ci/Deploy",
        "source_identity": "kim", "org_id": "o-abc1234567", "source_region": "eu-west-1",
        "principal_tags": ["cost-center=engineering", "team=web"],
        "ec2_source_instance_arn": "arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b"
    } });
    assert_eq!(
        record, wanted,
        "and nothing of what the caller tagged itself with"
    );
    // Fresh tokens can be had, so the same one is a replay, whatever was proved with it.
    let once = aws.sign(&aws.claims());
    assert_eq!(aws.ask(&once).await.json()["code"], "evidence_rejected");
    aws.ends_with_its_token().await;
    aws.broker.finish().await;
}

#[tokio::test]
async fn a_role_is_parsed_and_never_guessed() {
    let aws = aws("aws-traps").await;
    let sub = |arn: &str| aws.with(set("/sub", json!(arn)));
    let hour = aws.broker.now().as_secs() + 3601;
    let mut liars = vec![
        (
            "another account in the body",
            "claims",
            with_sts(&aws, "aws_account", json!("123456789013")),
        ),
        (
            "an account as a number",
            "claims",
            with_sts(&aws, "aws_account", json!(123_456_789_012_i64)),
        ),
        (
            "no body",
            "claims",
            aws.with(lacks("https://sts.amazonaws.com/")),
        ),
        ("no jti", "claims", aws.with(lacks("jti"))),
        (
            "tags that look alike",
            "claims",
            with_sts(&aws, "principal_tags", json!({ "team=web": "" })),
        ),
        (
            "tags of numbers",
            "claims",
            with_sts(&aws, "principal_tags", json!({ "team": 1 })),
        ),
        (
            "two audiences",
            "audience",
            aws.with(set("/aud", json!(["http://localhost:8640", "b"]))),
        ),
        (
            "more than an hour",
            "lifetime",
            aws.with(set("/exp", json!(hour))),
        ),
    ];
    for arn in [
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:user/kim",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role",
        "arn:aws:iam::123456789013:role/Deploy",
        "arn:aws:sts::123456789012:assumed-role/Deploy/i-0a1b",
        "arn:aws:iam:eu-west-1:123456789012:role/Deploy",
        "arn:evil:iam::123456789012:role/Deploy",
        "ARN:aws:iam::123456789012:role/Deploy",
        "arn:aws:iam::123456789012:role/a:b",
        "arn:aws:iam::123456789012:role/a b",
        "Deploy",
    ] {
        liars.push((arn, "claims", sub(arn)));
    }
    // A role's name may have what an identity's segment may not: its entry takes the hash.
    liars.push((
        "a name with @",
        "claims",
        sub("arn:aws:iam::123456789012:role/Deploy@eu"),
    ));
    aws.refuses(liars).await;
    aws.broker.finish().await;
}

#[tokio::test]
async fn an_account_of_another_issuer_is_not_admitted() {
    let elsewhere = entry().replace("123456789012", "999999999999");
    let aws = Platform::start("aws-other", &elsewhere, WHEN, good()).await;
    let token = aws.sign(&aws.claims());
    aws.refuses(vec![("another account's issuer", "not_admitted", token)])
        .await;
    aws.broker.finish().await;
}

#[tokio::test]
async fn es384_is_what_it_signs_with() {
    let (algorithm, random) = (&ECDSA_P384_SHA384_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = key.public_key().as_ref();
    let (x, y) = (encode(&point[1..49]), encode(&point[49..]));
    let keys = format!(
        "{{ keys = [{{ kty = \"EC\", crv = \"P-384\", kid = \"e\", x = \"{x}\", y = \"{y}\" }}] }}"
    );
    let table = table("aws-ec", &entry(), &keys);
    let aws = Platform::of(("aws-ec", &table), WHEN, good()).await;
    let claims = aws.claims();
    let header = json!({ "alg": "ES384", "kid": "e" });
    let input = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = key.sign(&random, input.as_bytes()).unwrap();
    let me = aws
        .who(&format!("{input}.{}", encode(signature.as_ref())))
        .await;
    assert_eq!(
        me["spiffe_id"],
        "spiffe://acme.dev/aws-ec/123456789012/Deploy"
    );
    aws.broker.finish().await;
}

#[test]
fn an_entry_says_whose_account_it_is() {
    let url = format!("preset = \"aws\"\nurl = \"{ISSUER}\"");
    does_not_load(&url, &["only.aws_account", "12 digits"]);
    does_not_load(
        &format!("{url}\nonly = {{ aws_account = [\"123456789012\", \"210987654321\"] }}"),
        &["one account"],
    );
    does_not_load(
        &format!("{url}\nonly = {{ aws_account = [\"acme\"] }}"),
        &["one account"],
    );
    does_not_load(&format!("{}\nid = \"{{role_name}}\"", entry()), &["I03"]);
    does_not_load(
        &format!("{}\naudience = \"sts.amazonaws.com\"", entry()),
        &["I04"],
    );
}
