//! A grant as the exact bytes of a JWT: access token (RFC 9068), JWT-SVID or federation token, PROTOCOLS.md §3.8.
//!
//! What is signed is the JWS signing input, `b64url(header).b64url(payload)` (RFC 7515 §5.1), as
//! bytes, by a [`Signer`](crate::signer::Signer); no JWT library is near a private key.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stint_policy::{Grant, Kind};

use crate::{
    audience::Flavour,
    authority::BoundTo,
    jwk::PublicKey,
    scope::Scope,
    signer::{Algorithm, Signer},
};

/// What all tokens of one key and one flavour share.
#[derive(Debug)]
pub(crate) struct Template {
    /// `b64url(header)` and the dot after it.
    header: String,
    issuer: String,
    algorithm: Algorithm,
}

impl Template {
    /// `None` for a key of a kind we do not know.
    pub(crate) fn new(issuer: &str, signer: &dyn Signer, flavour: Flavour) -> Option<Template> {
        let key = PublicKey::from_spki(signer.public_key_spki())?;
        let kid = kid(&key);
        let alg = signer.algorithm();
        let header = json_bytes(&Header {
            typ: flavour.typ(),
            alg: alg.jose(),
            kid: &kid,
        })?;
        Some(Template {
            header: format!("{}.", BASE64URL_NOPAD.encode(&header)),
            issuer: issuer.to_owned(),
            algorithm: alg,
        })
    }

    /// The signing input of these claims; `None` if they are not JSON.
    pub(crate) fn signing_input(&self, claims: &Payload<'_>) -> Option<Vec<u8>> {
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

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
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
    pub(crate) confirmation: Option<BoundTo>,
}

/// What a token says, by its flavour; the lint reads it back.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack, for as long as it is encoded"
)]
pub(crate) enum Payload<'a> {
    Access(Claims<'a>),
    Identity(Identity<'a>),
}

impl Payload<'_> {
    /// The same, as `bytes` say it; `None` if they are of no such form.
    pub(crate) fn read_back(&self, bytes: &[u8]) -> Option<Payload<'static>> {
        match self {
            Payload::Access(_) => serde_json::from_slice(bytes).ok().map(Payload::Access),
            Payload::Identity(_) => serde_json::from_slice(bytes).ok().map(Payload::Identity),
        }
    }

    /// `iss`, `iat`, `exp`.
    pub(crate) fn bounds(&self) -> (&str, i64, i64) {
        match self {
            Payload::Access(it) => (&it.iss, it.iat, it.exp),
            Payload::Identity(it) => (&it.iss, it.iat, it.exp),
        }
    }
}

/// A JWT-SVID or a federation token: who it is, and in which task. Unknown members are the operator's fixed claims.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity<'a> {
    iss: Cow<'a, str>,
    sub: Cow<'a, str>,
    aud: Cow<'a, str>,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    iat: i64,
    jti: Cow<'a, str>,
    task: Cow<'a, str>,
    #[serde(flatten)]
    fixed: Map<String, Value>,
}

impl<'a> Identity<'a> {
    /// `subject`: as the audience knows the caller. Not every reader of JWT-SVIDs takes `nbf`, so they have none.
    pub(crate) fn new(
        issuer: &'a str,
        subject: &'a str,
        task: &'a str,
        own: Particulars<'a>,
        (flavour, fixed): (Flavour, &Map<String, Value>),
    ) -> Identity<'a> {
        Identity {
            iss: issuer.into(),
            sub: subject.into(),
            aud: own.audience.into(),
            exp: own.expires,
            nbf: (flavour == Flavour::Federation).then_some(own.issued),
            iat: own.issued,
            jti: own.jti.into(),
            task: task.into(),
            fixed: fixed.clone(),
        }
    }
}

/// The payload of an access token. RFC 9068 §2.2 requires the first seven (`nbf` is ours).
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

/// What the token is good with: proofs by the key of a thumbprint (RFC 9449 §6.1), or the client certificate of a hash
/// (RFC 8705 §3.1). One of them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jkt: Option<Cow<'a, str>>,
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    x5t: Option<Cow<'a, str>>,
}

impl Confirmation<'_> {
    fn of(bound: BoundTo) -> Self {
        let text = |hash: [u8; 32]| Some(BASE64URL_NOPAD.encode(&hash).into());
        match bound {
            BoundTo::Certificate(hash) => Confirmation {
                jkt: None,
                x5t: text(hash),
            },
            BoundTo::Key(thumbprint) => Confirmation {
                jkt: text(thumbprint),
                x5t: None,
            },
        }
    }
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
            authorization_details: [Detail::of(scope, own.expires - own.issued)],
            act: None,
            cnf: own.confirmation.map(Confirmation::of),
        }
    }
}

impl<'a> Detail<'a> {
    /// What was granted, for so many seconds.
    pub(crate) fn of(scope: &'a Scope<'a>, ttl_s: i64) -> Detail<'a> {
        Detail {
            kind: "stint_task".into(),
            action: scope.action.as_str().into(),
            resources: scope.resources.iter().map(|r| r.as_str().into()).collect(),
            resources_hash: scope.resources_hash_text().map(Cow::from),
            task: TaskName {
                id: scope.task.into(),
            },
            ttl_s,
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

/// The public key as `/oauth2/jwks` shows it (RFC 7517); `None` for a key of a kind we do not know.
pub(crate) fn public_jwk_of(signer: &dyn Signer) -> Option<Value> {
    let key = PublicKey::from_spki(signer.public_key_spki())?;
    let mut jwk = json!(key.members());
    let members = jwk.as_object_mut()?;
    members.insert("kid".into(), kid(&key).into());
    members.insert("use".into(), "sig".into());
    members.insert("alg".into(), signer.algorithm().jose().into());
    Some(jwk)
}

/// RFC 7638.
fn kid(key: &PublicKey) -> String {
    BASE64URL_NOPAD.encode(&key.thumbprint())
}

fn json_bytes(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}
