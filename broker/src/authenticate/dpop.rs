//! DPoP proofs (RFC 9449; PROTOCOLS.md §3.7): that the sender of this request holds a key. Every failure is one
//! [`InvalidProof`]; it is judged by itself and tells nothing about the evidence beside it. Server nonces are not used.

use data_encoding::BASE64URL_NOPAD;
use reqwest::Url;
use serde_json::Value;
use stint_policy::{Seconds, Timestamp};

use crate::authenticate::claims::is_id;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::jws::{Payload, Unverified};
use crate::authenticate::keys::{Key, sha256};
use crate::authenticate::{LEEWAY, Proof, ProofKind};

/// The request a proof must be made for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `POST`, compared byte for byte.
    pub method: &'a str,
    /// Our configured URL of the route, never one made from `Host`.
    pub url: &'a str,
    /// The token that came with it in `Authorization`, if one did: the proof must carry its hash.
    pub token: Option<&'a str>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A proof that holds. It counts once: `key` is spent with the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The key that was proved; its thumbprint is what `cnf.jkt` holds.
    pub proof: Proof,
    /// SHA-256 over (thumbprint, `jti`).
    pub key: [u8; 32],
    /// Until when `key` must be remembered.
    pub until: Timestamp,
}

/// `invalid_dpop_proof`: no proof, or not for this request. Which it was is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DPoP proof is invalid")]
pub struct InvalidProof;

/// Checks the one `DPoP` header of a request.
///
/// # Errors
/// [`InvalidProof`].
pub fn check(proof: &str, request: &Request<'_>, now: Timestamp) -> Result<Checked, InvalidProof> {
    checked(proof, request, now).ok_or(InvalidProof)
}

fn checked(proof: &str, request: &Request<'_>, now: Timestamp) -> Option<Checked> {
    let proof = Unverified::parse(proof).ok()?;
    if proof.header_text("typ").ok()? != Some("dpop+jwt") {
        return None;
    }
    let algorithm = match proof.header_text("alg").ok()?? {
        "ES256" => Algorithm::Es256,
        // RFC 9864 gives the second name to the same thing.
        "EdDSA" | "Ed25519" => Algorithm::EdDsa,
        _ => return None,
    };
    let key = Key::public(proof.header_jwk()?, Some(algorithm))?;
    let proof = proof.verify(&key).ok()?;
    let claims = proof.payload();
    let jti = text(claims, "jti").filter(|jti| is_id(jti))?;
    let made = claims
        .get("iat")
        .and_then(Value::as_i64)
        .filter(|iat| *iat >= 0)?;
    let made = Timestamp::from_millis(made.saturating_mul(1000));
    let fresh = made <= now.plus(LEEWAY) && now <= made.plus(LEEWAY);
    if text(claims, "htm")? != request.method
        || !same_place(text(claims, "htu")?, request.url)
        || !fresh
    {
        return None;
    }
    let hash = |token: &str| BASE64URL_NOPAD.encode(&sha256(token.as_bytes()));
    if request
        .token
        .is_some_and(|token| text(claims, "ath") != Some(&hash(token)))
    {
        return None;
    }
    let thumbprint = key.thumbprint();
    Some(Checked {
        proof: Proof {
            thumbprint,
            kind: ProofKind::Dpop,
        },
        key: sha256(
            &[
                b"stint/replay/dpop\n",
                thumbprint.as_slice(),
                jti.as_bytes(),
            ]
            .concat(),
        ),
        until: made.plus(LEEWAY).plus(REMEMBERED),
    })
}

fn text<'p>(claims: &'p Payload, claim: &str) -> Option<&'p str> {
    claims.get(claim).and_then(Value::as_str)
}

/// RFC 9449 §4.3 (9): without query and fragment, after normalisation (RFC 3986 §6.2.2, §6.2.3).
fn same_place(htu: &str, ours: &str) -> bool {
    // What a browser's parser would mend is no URI, so it is refused before it can be mended.
    let plain = htu.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') && htu.contains("://");
    let place = |url: &str| {
        let mut url = Url::parse(url).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    plain && place(htu).is_some_and(|theirs| Some(theirs) == place(ours))
}

/// How long past its last moment a proof's key is kept, as with evidence (IDENTITY.md §2.2).
const REMEMBERED: Seconds = Seconds::new(60);

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::authenticate::crypto;

    const URL: &str = "https://stint.example/oauth2/token";
    const NOW: i64 = 1_800_000_000;

    struct Holder(EcdsaKeyPair);

    impl Holder {
        fn new() -> Holder {
            crypto::install().unwrap();
            let (alg, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap();
            Holder(EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).unwrap())
        }

        fn jwk(&self) -> Value {
            let point = self.0.public_key().as_ref();
            let part = |range| BASE64URL_NOPAD.encode(&point[range]);
            json!({"kty": "EC", "crv": "P-256", "x": part(1..33), "y": part(33..65)})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
            let input = format!("{}.{}", part(header), part(claims));
            let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
            format!("{input}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
        }
    }

    fn request() -> Request<'static> {
        Request {
            method: "POST",
            url: URL,
            token: None,
        }
    }

    fn check_at(proof: &str, request: &Request<'_>) -> Result<Checked, InvalidProof> {
        check(proof, request, Timestamp::from_millis(NOW * 1000))
    }

    fn changed(change: impl Fn(&mut Value, &mut Value)) -> Result<Checked, InvalidProof> {
        let holder = Holder::new();
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": holder.jwk()});
        let mut claims = json!({"jti": "a1", "htm": "POST", "htu": URL, "iat": NOW});
        change(&mut header, &mut claims);
        check_at(&holder.sign(&header, &claims), &request())
    }

    #[test]
    fn accepts_a_proof_for_this_request() {
        let checked = changed(|_, _| ()).unwrap();
        assert_eq!(checked.until, Timestamp::from_millis((NOW + 90) * 1000));
        for htu in [
            "https://stint.example/oauth2/token?x=1#y",
            "HTTPS://STINT.example:443/oauth2/token",
            "https://stint.example/a/../oauth2/token",
        ] {
            assert!(
                changed(|_, claims| claims["htu"] = json!(htu)).is_ok(),
                "{htu}"
            );
        }
        assert!(changed(|_, claims| claims["iat"] = json!(NOW - 30)).is_ok());
        assert!(changed(|_, claims| claims["iat"] = json!(NOW + 30)).is_ok());
    }

    #[test]
    fn refuses_every_other_proof_with_one_answer() {
        type Change = fn(&mut Value, &mut Value);
        let changes: [(&str, Change); 22] = [
            ("typ absent", |h, _| h["typ"] = Value::Null),
            ("typ of a token", |h, _| h["typ"] = json!("JWT")),
            ("none", |h, _| h["alg"] = json!("none")),
            ("HMAC", |h, _| h["alg"] = json!("HS256")),
            ("another curve's", |h, _| h["alg"] = json!("ES384")),
            ("another family's", |h, _| h["alg"] = json!("EdDSA")),
            ("no key", |h, _| h["jwk"] = Value::Null),
            ("private key", |h, _| h["jwk"]["d"] = json!("AQ")),
            ("another key", |h, _| h["jwk"] = Holder::new().jwk()),
            ("crit", |h, _| h["crit"] = json!(["x"])),
            ("method", |_, c| c["htm"] = json!("GET")),
            ("method in small letters", |_, c| c["htm"] = json!("post")),
            ("another route", |_, c| {
                c["htu"] = json!("https://stint.example/v1/grants")
            }),
            ("another host", |_, c| {
                c["htu"] = json!("https://stint.example.evil/oauth2/token")
            }),
            ("another scheme", |_, c| {
                c["htu"] = json!("http://stint.example/oauth2/token")
            }),
            ("a user", |_, c| {
                c["htu"] = json!("https://me@stint.example/oauth2/token")
            }),
            ("backslashes", |_, c| {
                c["htu"] = json!("https:\\\\stint.example\\oauth2\\token")
            }),
            ("no jti", |_, c| c["jti"] = Value::Null),
            ("empty jti", |_, c| c["jti"] = json!("")),
            ("old", |_, c| c["iat"] = json!(NOW - 31)),
            ("future", |_, c| c["iat"] = json!(NOW + 31)),
            ("float", |_, c| c["iat"] = json!(1.8e9 + 0.5)),
        ];
        for (what, change) in changes {
            assert_eq!(changed(change), Err(InvalidProof), "{what}");
        }
    }

    #[test]
    fn a_token_beside_it_must_be_the_one_it_names() {
        let holder = Holder::new();
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": holder.jwk()});
        // RFC 9449 §7.1.
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let claims =
            |ath: &str| json!({"jti": "a1", "htm": "POST", "htu": URL, "iat": NOW, "ath": ath});
        let with = |ath: &str, token| {
            check_at(
                &holder.sign(&header, &claims(ath)),
                &Request {
                    token: Some(token),
                    ..request()
                },
            )
        };
        assert!(with("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo", token).is_ok());
        assert_eq!(
            with("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo", "another"),
            Err(InvalidProof)
        );
        assert_eq!(with("", token), Err(InvalidProof));
    }

    #[test]
    fn one_proof_has_one_key_and_another_jti_another() {
        let holder = Holder::new();
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": holder.jwk()});
        let key = |jti: &str| {
            let claims = json!({"jti": jti, "htm": "POST", "htu": URL, "iat": NOW});
            check_at(&holder.sign(&header, &claims), &request())
                .unwrap()
                .key
        };
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
    }
}
