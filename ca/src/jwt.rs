//! A grant as the exact bytes of an access token: RFC 9068, PROTOCOLS.md §3.8.
//!
//! What is signed is the JWS signing input, `b64url(header).b64url(payload)` (RFC 7515 §5.1), as
//! bytes, by a [`Signer`](crate::signer::Signer); no JWT library is near a private key.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stint_policy::{Grant, Kind};

use crate::{
    jwk::PublicKey,
    scope::Scope,
    signer::{Algorithm, Signer},
};

/// What all tokens of one key share.
#[derive(Debug)]
pub(crate) struct Template {
    /// `b64url(header)` and the dot after it.
    header: String,
    issuer: String,
    jwk: Value,
}

impl Template {
    /// `None` for a key of a kind we do not know.
    pub(crate) fn new(issuer: &str, signer: &dyn Signer) -> Option<Template> {
        let key = PublicKey::from_spki(signer.public_key_spki())?;
        let kid = BASE64URL_NOPAD.encode(&key.thumbprint());
        let alg = signer.algorithm();
        let header = json_bytes(&Header {
            typ: "at+jwt",
            alg: alg.jose(),
            kid: &kid,
        })?;
        Some(Template {
            header: format!("{}.", BASE64URL_NOPAD.encode(&header)),
            issuer: issuer.to_owned(),
            jwk: public_jwk(&key, &kid, alg),
        })
    }

    /// The public key as `/oauth2/jwks` shows it (RFC 7517).
    pub(crate) fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// The signing input of these claims; `None` if they are not JSON.
    pub(crate) fn signing_input(&self, claims: &Claims<'_>) -> Option<Vec<u8>> {
        let payload = json_bytes(claims)?;
        let mut input = String::with_capacity(self.header.len() + payload.len() * 4 / 3 + 4);
        input.push_str(&self.header);
        BASE64URL_NOPAD.encode_append(&payload, &mut input);
        Some(input.into_bytes())
    }

    /// The payload of a signing input that begins with our header.
    pub(crate) fn payload(&self, input: &[u8]) -> Option<Vec<u8>> {
        let payload = input.strip_prefix(self.header.as_bytes())?;
        BASE64URL_NOPAD.decode(payload).ok()
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The compact JWS.
pub(crate) fn assemble(signing_input: Vec<u8>, signature: &[u8]) -> Option<String> {
    let mut token = String::from_utf8(signing_input).ok()?;
    token.push('.');
    BASE64URL_NOPAD.encode_append(signature, &mut token);
    Some(token)
}

/// What is the token's own, beside its grant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Particulars<'a> {
    pub(crate) audience: &'a str,
    /// Seconds since 1970; `expires` is no longer inside.
    pub(crate) issued: i64,
    pub(crate) expires: i64,
    pub(crate) jti: &'a str,
    pub(crate) confirmation: Option<[u8; 32]>,
}

/// The payload. RFC 9068 §2.2 requires the first seven (`nbf` is ours); the lint reads it back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims<'a> {
    pub(crate) iss: Cow<'a, str>,
    pub(crate) aud: Cow<'a, str>,
    pub(crate) sub: Cow<'a, str>,
    pub(crate) client_id: Cow<'a, str>,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) jti: Cow<'a, str>,
    pub(crate) grant: Cow<'a, str>,
    pub(crate) task: Cow<'a, str>,
    pub(crate) authorization_details: [Detail<'a>; 1],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Act<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation<'a>>,
}

/// RFC 9396, type `stint_task` (PROTOCOLS.md §3.2).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detail<'a> {
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    action: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resources_hash: Option<Cow<'a, str>>,
    task: TaskName<'a>,
    ttl_s: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskName<'a> {
    id: Cow<'a, str>,
}

/// Who acts (RFC 8693 §4.1): the caller outermost, earlier actors nested in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act<'a> {
    iss: Cow<'a, str>,
    sub: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub_profile: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Box<Act<'a>>>,
}

/// RFC 9449 §6.1: the token is good only with proofs by the key of this thumbprint.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation<'a> {
    jkt: Cow<'a, str>,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(
        issuer: &'a str,
        grant: &'a Grant,
        scope: &'a Scope<'a>,
        own: Particulars<'a>,
    ) -> Claims<'a> {
        let caller = grant.caller().as_str();
        Claims {
            sub: scope.initiator.unwrap_or(caller).into(),
            act: scope.initiator.map(|_| Act::of(issuer, grant)),
            ..Claims::of_caller(issuer, caller, scope, own)
        }
    }

    /// The claims of a token whose subject is the caller itself.
    pub(crate) fn of_caller(
        issuer: &'a str,
        caller: &'a str,
        scope: &'a Scope<'a>,
        own: Particulars<'a>,
    ) -> Claims<'a> {
        Claims {
            iss: issuer.into(),
            aud: own.audience.into(),
            sub: caller.into(),
            client_id: caller.into(),
            iat: own.issued,
            nbf: own.issued,
            exp: own.expires,
            jti: own.jti.into(),
            grant: scope.grant.as_str().into(),
            task: scope.task.into(),
            authorization_details: [Detail {
                kind: "stint_task".into(),
                action: scope.action.as_str().into(),
                resources: scope.resources.iter().map(|r| r.as_str().into()).collect(),
                resources_hash: scope.resources_hash_text().map(Cow::from),
                task: TaskName {
                    id: scope.task.into(),
                },
                ttl_s: own.expires - own.issued,
            }],
            act: None,
            cnf: own.confirmation.map(|thumbprint| Confirmation {
                jkt: BASE64URL_NOPAD.encode(&thumbprint).into(),
            }),
        }
    }
}

impl<'a> Act<'a> {
    fn of(issuer: &'a str, grant: &'a Grant) -> Act<'a> {
        let earlier = grant.actors().iter().rev().fold(None, |inner, actor| {
            Some(Box::new(Act {
                iss: issuer.into(),
                sub: actor.as_str().into(),
                sub_profile: None,
                act: inner,
            }))
        });
        let profile = match grant.caller_kind() {
            Kind::Agent => "ai_agent",
            Kind::User => "user",
            Kind::Workload => "service",
        };
        Act {
            iss: issuer.into(),
            sub: grant.caller().as_str().into(),
            sub_profile: Some(profile.into()),
            act: earlier,
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

fn public_jwk(key: &PublicKey, kid: &str, alg: Algorithm) -> Value {
    let mut jwk = json!(key.members());
    if let Some(members) = jwk.as_object_mut() {
        members.insert("kid".into(), kid.into());
        members.insert("use".into(), "sig".into());
        members.insert("alg".into(), alg.jose().into());
    }
    jwk
}

fn json_bytes(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}
