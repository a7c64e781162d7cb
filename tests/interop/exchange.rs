//! The token endpoint before OAuth clients of others: nothing of ours is installed where these run.

use serde_json::{Value, json};

use crate::dev::Dev;
use crate::foreign::{self, Said};

#[tokio::test]
async fn openid_client_exchanges_a_token() {
    let dev = Dev::start();
    let said = node(&dev, "openid-client", &[], &parameters(&dev).await);
    access_token(&dev, &said, "bearer");
}

#[tokio::test]
async fn openid_client_exchanges_with_a_dpop_key() {
    let dev = Dev::start();
    let said = node(&dev, "openid-client", &["--dpop"], &parameters(&dev).await);
    let claims = access_token(&dev, &said, "dpop");
    assert_eq!(claims["cnf"]["jkt"], said.json()["jkt"]);
}

#[tokio::test]
async fn oauth4webapi_exchanges_a_token_by_either_metadata() {
    let dev = Dev::start();
    for metadata in ["oidc", "oauth2"] {
        let said = node(
            &dev,
            "oauth4webapi",
            &["--algorithm", metadata],
            &parameters(&dev).await,
        );
        access_token(&dev, &said, "bearer");
    }
}

#[tokio::test]
async fn oauth4webapi_exchanges_with_a_dpop_key() {
    let dev = Dev::start();
    let said = node(&dev, "oauth4webapi", &["--dpop"], &parameters(&dev).await);
    let claims = access_token(&dev, &said, "dpop");
    assert_eq!(claims["cnf"]["jkt"], said.json()["jkt"]);
}

#[tokio::test]
async fn oauth4webapi_gets_a_certificate() {
    let dev = Dev::start();
    let mut parameters = parameters(&dev).await;
    parameters.as_object_mut().unwrap().remove("audience");
    parameters["requested_token_type"] = json!("urn:stint:token-type:x509");
    parameters["csr"] = json!(stint_tests::keys::csr());
    let said = node(&dev, "oauth4webapi", &[], &parameters);
    assert!(said.ok, "{said:?}");
    let response = &said.json()["response"];
    assert_eq!(response["token_type"], "n_a");
    assert_eq!(response["spiffe_id"], CALLER);
    assert!(
        response["access_token"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
}

#[tokio::test]
async fn authlib_exchanges_and_joserfc_verifies() {
    let dev = Dev::start();
    let said = python(&dev, &parameters(&dev).await);
    assert!(said.ok, "{said:?}");
    let said = said.json();
    assert_eq!(said["header"]["typ"], "at+jwt");
    assert_eq!(said["claims"]["client_id"], CALLER);
    assert_eq!(said["response"]["token_type"], "Bearer");
}

#[tokio::test]
async fn each_of_them_reads_our_refusals() {
    let dev = Dev::start();
    let denied = |mut parameters: Value| {
        parameters["authorization_details"] = json!(
            r#"[{"type":"stint_task","action":"deploy","resources":["Environment::other"]}]"#
        );
        parameters
    };
    let spoiled = |mut parameters: Value| {
        parameters["subject_token"] = json!("eyJhbGciOiJub25lIn0.e30.");
        parameters
    };
    let (no, rejected) = ("invalid_authorization_details", "invalid_request");
    for client in ["openid-client", "oauth4webapi"] {
        refused(
            &node(&dev, client, &[], &denied(parameters(&dev).await)),
            no,
        );
        refused(
            &node(&dev, client, &[], &spoiled(parameters(&dev).await)),
            rejected,
        );
    }
    refused(&python(&dev, &denied(parameters(&dev).await)), no);
    refused(&python(&dev, &spoiled(parameters(&dev).await)), rejected);
}

/// A fresh token of a job of acme/web, and what it wants.
async fn parameters(dev: &Dev) -> Value {
    json!({
        "subject_token": dev.evidence().await,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": AUDIENCE,
        "authorization_details":
            r#"[{"type":"stint_task","action":"deploy","resources":["Environment::staging/web"],"ttl_s":300}]"#,
    })
}

fn node(dev: &Dev, client: &str, more: &[&str], parameters: &Value) -> Said {
    let mut command = foreign::node("exchange.mjs");
    command.args([
        "--client",
        client,
        "--issuer",
        &dev.url,
        "--client-id",
        CALLER,
    ]);
    foreign::run(command.args(more), &parameters.to_string())
}

fn python(dev: &Dev, parameters: &Value) -> Said {
    let mut command = foreign::python("exchange.py");
    command.args([dev.url.as_str(), CALLER]);
    command.env("AUTHLIB_INSECURE_TRANSPORT", "1");
    foreign::run(&mut command, &parameters.to_string())
}

/// The claims of the access token in it, verified once more by npm `jose` with keys it found itself.
fn access_token(dev: &Dev, said: &Said, token_type: &str) -> Value {
    assert!(said.ok, "{said:?}");
    let response = &said.json()["response"];
    assert_eq!(response["token_type"], token_type, "{said:?}");
    assert_eq!(response["expires_in"], 300);
    let mut command = foreign::node("jose-verify.mjs");
    command.args(["--issuer", &dev.url, "--audience", AUDIENCE]);
    let verified = foreign::run(&mut command, response["access_token"].as_str().unwrap());
    assert!(verified.ok, "{verified:?}");
    let claims = verified.json()["claims"].clone();
    assert_eq!(claims["client_id"], CALLER);
    assert_eq!(
        claims["authorization_details"],
        response["authorization_details"]
    );
    claims
}

fn refused(said: &Said, error: &str) {
    assert!(!said.ok, "{said:?}");
    assert_eq!(said.json()["error"], error, "{said:?}");
}

const AUDIENCE: &str = "https://deploy.acme.dev";
const CALLER: &str = "spiffe://acme.dev/github/123456/456789";
