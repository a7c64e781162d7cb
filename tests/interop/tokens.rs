//! Our JWTs before npm `jose`: it finds the keys by discovery, as any resource server would.

use std::time::Duration;

use stint_broker::clock::Stopwatch;

use crate::dev::Dev;
use crate::foreign::{self, Said};

#[tokio::test]
async fn jose_takes_our_token_and_reads_rfc_9068_in_it() {
    let dev = Dev::start();
    let said = verify(&dev, AUDIENCE, &dev.jwt(AUDIENCE, 300).await);
    assert!(said.ok, "{said:?}");
    let claims = &said.json()["claims"];
    assert_eq!(said.json()["alg"], "ES256");
    assert_eq!(claims["sub"], "spiffe://acme.dev/github/123456/456789");
    assert_eq!(claims["iss"], dev.url.as_str());
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((1..=300).contains(&life), "{claims}");
}

#[tokio::test]
async fn jose_refuses_a_token_for_somebody_else() {
    let dev = Dev::start();
    let said = verify(&dev, "https://other.example", &dev.jwt(AUDIENCE, 300).await);
    refused(&said, "ERR_JWT_CLAIM_VALIDATION_FAILED");
}

#[tokio::test]
async fn jose_refuses_a_token_of_which_one_letter_changed() {
    let dev = Dev::start();
    let token = dev.jwt(AUDIENCE, 300).await;
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        panic!("{token}")
    };
    refused(
        &verify(
            &dev,
            AUDIENCE,
            &format!("{header}.{claims}.{}", other(signature)),
        ),
        "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
    );
    // The middle of the claims: still JSON or not, never verified.
    let (head, tail) = claims.split_at(claims.len() / 2);
    let said = verify(
        &dev,
        AUDIENCE,
        &format!("{header}.{head}{}.{signature}", other(tail)),
    );
    refused(&said, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED");
}

#[tokio::test]
async fn jose_refuses_a_token_that_is_over() {
    let dev = Dev::start();
    let token = dev.jwt(AUDIENCE, SHORTEST).await;
    let watch = Stopwatch::start();
    let mut said = verify(&dev, AUDIENCE, &token);
    while said.ok && watch.elapsed() < PATIENCE {
        said = verify(&dev, AUDIENCE, &token);
    }
    refused(&said, "ERR_JWT_EXPIRED");
}

fn verify(dev: &Dev, audience: &str, token: &str) -> Said {
    let mut command = foreign::node("jose-verify.mjs");
    foreign::run(
        command.args(["--issuer", &dev.url, "--audience", audience]),
        token,
    )
}

fn refused(said: &Said, code: &str) {
    assert!(!said.ok, "{said:?}");
    assert_eq!(said.json()["code"], code, "{said:?}");
}

/// The same length and alphabet, and another first letter.
fn other(text: &str) -> String {
    let first = if text.starts_with('A') { 'B' } else { 'A' };
    format!("{first}{}", text.get(1..).unwrap())
}

const AUDIENCE: &str = "https://deploy.acme.dev";
/// Seconds: nothing shorter is granted.
const SHORTEST: u32 = 30;
/// For such a life, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(45);
