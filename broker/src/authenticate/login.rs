//! The ID token of a person's login (IDENTITY.md §6): the same checks as for evidence (§2.1), for one issuer and one
//! client. `openidconnect` checks it too; a token counts if both accept it.

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{self, SHA256, SHA384, SHA512};
use serde_json::{Map, Value};
use stint_policy::{Seconds, Timestamp};

use crate::authenticate::claims::{is_id, is_text};
use crate::authenticate::jws::Unverified;
use crate::authenticate::keys::{KeySet, KeySetError, KeyUse};
use crate::authenticate::template::hashed;
use crate::authenticate::{LEEWAY, Label};

/// The provider's keys.
#[derive(Debug)]
pub(crate) struct LoginKeys(KeySet);

/// What the token must say.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) access_token: &'a str,
}

/// What the provider says of a person, just now and to us.
#[derive(Debug)]
pub(crate) struct Identity {
    claims: Map<String, Value>,
    sub: String,
    auth_time: Option<Timestamp>,
}

impl LoginKeys {
    /// Reads a JWK Set.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub(crate) fn parse(json: &[u8]) -> Result<LoginKeys, KeySetError> {
        KeySet::parse(json, KeyUse::Signature).map(LoginKeys)
    }

    /// Whether the published key of `stintd dev` is among them.
    pub(crate) fn are_dev(&self) -> bool {
        self.0.jwks().iter().any(|(_, jwk)| {
            let modulus = jwk.get("n").and_then(Value::as_str);
            modulus.is_some_and(crate::dev::is_dev_key)
        })
    }
}

impl Identity {
    /// Judges `token`.
    ///
    /// # Errors
    /// [`Label::Key`] for a `kid` that is not among `keys`; any other [`Label`].
    pub(crate) fn read(
        token: &str,
        keys: &LoginKeys,
        expected: Expected<'_>,
        now: Timestamp,
    ) -> Result<Identity, Label> {
        if token.len() > MAX_BYTES {
            return Err(Label::TooLarge);
        }
        let token = Unverified::of_any_size(token)?;
        let header = token.evidence_header()?;
        if header.typ.is_some_and(|typ| typ != "JWT") {
            return Err(Label::Header);
        }
        let key = keys.0.get(header.kid).ok_or(Label::Key)?;
        if header.alg != key.algorithm().as_str() {
            return Err(Label::Alg);
        }
        let hash = match header.alg {
            "EdDSA" => &SHA512,
            "ES384" => &SHA384,
            _ => &SHA256,
        };
        let verified = token.verify(key)?;
        let claims = verified.payload();
        about(claims, expected, hash)?;
        let auth_time = timely(claims, now)?;
        let sub = text(claims, "sub").filter(|sub| is_id(sub));
        Ok(Identity {
            sub: sub.ok_or(Label::Claims)?.to_owned(),
            auth_time,
            claims: claims.clone(),
        })
    }

    /// The last segment of the person's SPIFFE ID: `{sub:h}`.
    pub(crate) fn segment(&self) -> String {
        hashed(&self.sub)
    }

    /// When the provider saw the person, if it says so.
    pub(crate) fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }

    /// A claim, or what a pointer into claims finds (`/a/b`, RFC 6901).
    pub(crate) fn claim(&self, path: &str) -> Option<&Value> {
        let Some(pointer) = path.strip_prefix('/') else {
            return self.claims.get(path);
        };
        let (first, rest) = match pointer.split_once('/') {
            Some((first, rest)) => (first, format!("/{rest}")),
            None => (pointer, String::new()),
        };
        let first = first.replace("~1", "/").replace("~0", "~");
        self.claims.get(&first)?.pointer(&rest)
    }

    /// An account's id: a text or a whole number.
    pub(crate) fn account(&self, path: &str) -> Result<Option<String>, Label> {
        match self.claim(path) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if is_id(text) => Ok(Some(text.clone())),
            Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string())),
            Some(_) => Err(Label::Claims),
        }
    }

    /// A name to show; the provider's subject where it has none that can be shown.
    pub(crate) fn name(&self) -> &str {
        let names = ["name", "preferred_username"].into_iter();
        let mut names = names.filter_map(|claim| text(&self.claims, claim));
        names
            .find(|name| can_be_shown(name, 64))
            .unwrap_or(&self.sub)
    }

    /// The address that the provider says it has verified.
    pub(crate) fn email(&self) -> Option<&str> {
        // Some providers send the word.
        let verified = self
            .claims
            .get("email_verified")
            .is_some_and(|it| *it == Value::Bool(true) || *it == "true");
        let email = text(&self.claims, "email").filter(|_| verified);
        email.filter(|email| is_id(email) && email.contains('@'))
    }
}

/// Whether a text is one for people: 1 to `most` characters that show what they are.
pub(crate) fn can_be_shown(text: &str, most: usize) -> bool {
    is_text(text) && text.chars().count() <= most
}

/// Who says it, to whom, and in answer to what.
fn about(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
    hash: &'static digest::Algorithm,
) -> Result<(), Label> {
    if text(claims, "iss") != Some(expected.issuer) {
        return Err(Label::Issuer);
    }
    // One audience, in either spelling.
    let audience = match claims.get("aud") {
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(one)] => Some(one),
            _ => None,
        },
        Some(Value::String(one)) => Some(one),
        _ => None,
    };
    let party = claims.get("azp");
    if audience.is_none_or(|one| one != expected.client)
        || party.is_some_and(|party| party != expected.client)
    {
        return Err(Label::Audience);
    }
    if text(claims, "nonce") != Some(expected.nonce) {
        return Err(Label::Replay);
    }
    // OpenID Connect Core §3.1.3.6: the left half of the hash that the algorithm uses.
    if let Some(said) = claims.get("at_hash") {
        let whole = digest::digest(hash, expected.access_token.as_bytes());
        let (half, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        if *said != BASE64URL_NOPAD.encode(half) {
            return Err(Label::Claims);
        }
    }
    Ok(())
}

/// Whether it is of now; and when the person was seen.
fn timely(claims: &Map<String, Value>, now: Timestamp) -> Result<Option<Timestamp>, Label> {
    let moment = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => value
            .as_i64()
            .filter(|seconds| (0..MAX_SECONDS).contains(seconds))
            .map(|seconds| Some(Timestamp::from_millis(seconds * 1_000)))
            .ok_or(Label::Claims),
    };
    let (issued, expires) = (moment("iat")?, moment("exp")?);
    let (issued, expires) = issued.zip(expires).ok_or(Label::Claims)?;
    if now >= expires.plus(LEEWAY) || now >= issued.plus(LONGEST) {
        return Err(Label::Expired);
    }
    let before = moment("nbf")?.unwrap_or(issued);
    let auth_time = moment("auth_time")?;
    let latest = issued.max(before).max(auth_time.unwrap_or(issued));
    match latest <= now.plus(LEEWAY) {
        true => Ok(auth_time),
        false => Err(Label::Early),
    }
}

fn text<'c>(claims: &'c Map<String, Value>, claim: &str) -> Option<&'c str> {
    claims.get(claim).and_then(Value::as_str)
}

/// SECURITY.md §4: as large as any token of an issuer may be; 256 groups fit.
const MAX_BYTES: usize = 16 * 1024;

/// The answer to a question that was asked ten minutes ago at most.
const LONGEST: Seconds = Seconds::new(600);

/// The year 9999.
const MAX_SECONDS: i64 = 253_402_300_799;
