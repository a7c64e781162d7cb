//! Passkeys (WebAuthn Level 3): what a person enrolled, and what they signed. One reading of both, in the broker when
//! a vote comes and in the verifier years later.
//!
//! [`enrol`] and [`check`] hold the bytes of a browser to what was asked for ([`Expected`]) and accept one form of
//! everything: the page itself, not a frame of another; the person present *and* verified; the key in the one CTAP2
//! encoding of three algorithms. Attestation is not asked for and not looked at: a key proves a person because of the
//! login it was enrolled under, never because of its maker. Pure: nothing here remembers a challenge or a counter.

mod client;
mod cose;
mod key;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::canonical::{CanonicalError, canonical};
use client::Ceremony;

pub use key::Key;

/// What a challenge over a vote's facts begins with.
const VOTE: &[u8] = b"stint/vote/v1\n";

/// Longest client data and longest authenticator data, bytes: a key of 4096 bits and a credential id of 1,023 bytes
/// are 1.6 KB.
const MAX_PART: usize = 4_096;

/// Longest credential id, bytes (WebAuthn §5.8.3).
const MAX_CREDENTIAL: usize = 1_023;

/// The person touched it.
const USER_PRESENT: u8 = 1;
/// The person was verified: a PIN, a finger, a face.
const USER_VERIFIED: u8 = 1 << 2;
/// The key may be synced to other devices.
const BACKUP_ELIGIBLE: u8 = 1 << 3;
/// The key is synced.
const BACKED_UP: u8 = 1 << 4;
/// A new key is in it.
const ATTESTED: u8 = 1 << 6;
/// Extensions stand behind.
const EXTENDED: u8 = 1 << 7;

/// What the broker asked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The relying party: the host of `origin`.
    pub rp: &'a str,
    /// The origin of the page, `https://HOST[:port]`.
    pub origin: &'a str,
    /// The challenge, as bytes.
    pub challenge: &'a [u8],
}

/// A new passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Its id, 1 to 1,023 bytes of the authenticator's choice.
    pub credential: Vec<u8>,
    /// Its public key.
    pub key: Key,
    /// The model of the authenticator, or zeros.
    pub aaguid: [u8; 16],
    /// Its signature counter; 0 where it counts nothing.
    pub count: u32,
    /// Whether it is synced to other devices.
    pub backed_up: bool,
}

/// What an authenticator signed, each member base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The id of the passkey.
    #[serde(with = "text")]
    pub credential: Vec<u8>,
    /// The authenticator data, 37 bytes and more.
    #[serde(with = "text")]
    pub authenticator_data: Vec<u8>,
    /// The client data, JSON as the browser wrote it.
    #[serde(with = "text")]
    pub client_data: Vec<u8>,
    /// The signature over authenticator data ‖ SHA-256(client data): DER for ES256 (WebAuthn §6.5.5).
    #[serde(with = "text")]
    pub signature: Vec<u8>,
}

/// Why an enrolment or an assertion does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Not 37 bytes of authenticator data with what its flags announce, or more than 4,096.
    #[error("the authenticator data has not its form")]
    AuthenticatorData,
    /// Synced, and not to be synced.
    #[error("the passkey is said to be synced, and not to be one that can be")]
    Backup,
    /// The challenge is another.
    #[error("signed over another challenge")]
    Challenge,
    /// Not an object of distinct members with type, challenge and origin, or more than 4,096 bytes.
    #[error("the client data has not its form")]
    ClientData,
    /// The key's type, algorithm or encoding is none of the three.
    #[error(
        "the key is not ES256, EdDSA (Ed25519) or RS256 of 2048 to 4096 bits in its one encoding"
    )]
    CoseKey,
    /// The credential is none of this person's, or its id is empty or too long.
    #[error("the passkey is none of this person's")]
    Credential,
    /// Made in a frame of another origin.
    #[error("made in a frame of another page")]
    CrossOrigin,
    /// What stands behind is not one map of extensions.
    #[error("the extensions have not their form")]
    Extensions,
    /// Not a public key as a JWK with exactly its members.
    #[error("not a public key of a passkey as a JWK")]
    Jwk,
    /// An enrolment without a key.
    #[error("no key was enrolled")]
    NoKey,
    /// Made on another page.
    #[error("made on a page of another origin")]
    Origin,
    /// Made for another relying party.
    #[error("made for another relying party")]
    Rp,
    /// The signature does not verify.
    #[error("the signature is false")]
    Signature,
    /// Says that another page frames this one.
    #[error("made in a frame: it names a top origin")]
    TopOrigin,
    /// An enrolment where an assertion was asked for, or the reverse.
    #[error("made for another ceremony")]
    Type,
    /// Nobody touched it.
    #[error("nobody was present")]
    UserPresence,
    /// The person was not verified.
    #[error("the person was not verified")]
    UserVerification,
}

/// Reads a new passkey out of what the browser answers to `navigator.credentials.create()`:
/// `getAuthenticatorData()` and `clientDataJSON`.
///
/// # Errors
/// The first rule that it breaks.
pub fn enrol(
    authenticator_data: &[u8],
    client_data: &[u8],
    expected: &Expected<'_>,
) -> Result<Enrolled, PasskeyError> {
    client::check(client_data, Ceremony::Create, expected)?;
    let data = AuthenticatorData::parse(authenticator_data, expected.rp)?;
    if !data.has(ATTESTED) {
        return Err(PasskeyError::NoKey);
    }
    let (aaguid, rest) = data.rest.split_first_chunk::<16>().ok_or(FORM)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(FORM)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > MAX_CREDENTIAL {
        return Err(PasskeyError::Credential);
    }
    let (credential, rest) = rest.split_at_checked(length).ok_or(FORM)?;
    let (key, rest) = cose::key(rest).ok_or(PasskeyError::CoseKey)?;
    data.extensions(rest)?;
    Ok(Enrolled {
        credential: credential.to_vec(),
        key,
        aaguid: *aaguid,
        count: data.count,
        backed_up: data.has(BACKED_UP),
    })
}

/// Checks what the browser answers to `navigator.credentials.get()` under `key`, and gives the counter it signed.
/// Whether `assertion.credential` is the one `key` came with, and whether the counter went up, is the caller's to ask.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(
    assertion: &Assertion,
    key: &Key,
    expected: &Expected<'_>,
) -> Result<u32, PasskeyError> {
    client::check(&assertion.client_data, Ceremony::Get, expected)?;
    let data = AuthenticatorData::parse(&assertion.authenticator_data, expected.rp)?;
    if data.has(ATTESTED) {
        return Err(FORM);
    }
    data.extensions(data.rest)?;
    let hash = Digest::of(&assertion.client_data);
    let signed = [assertion.authenticator_data.as_slice(), hash.as_bytes()].concat();
    if key.verifies(&signed, &assertion.signature) {
        Ok(data.count)
    } else {
        Err(PasskeyError::Signature)
    }
}

/// What a vote is signed over: SHA-256 of `stint/vote/v1`, LF, the nonce and the canonical bytes of the facts.
///
/// # Errors
/// When `facts` has no canonical bytes.
pub fn challenge(nonce: &[u8; 32], facts: &Value) -> Result<Digest, CanonicalError> {
    let facts = canonical(facts)?;
    Ok(Digest::of(&[VOTE, nonce, &facts].concat()))
}

/// The host of `https://HOST[:port]` (or of `http://`, which browsers take for localhost alone): the relying party of
/// the passkeys that are made there. `None` if it is no such origin.
#[must_use]
pub fn host(origin: &str) -> Option<&str> {
    let authority = origin.split_once("://").and_then(|(scheme, rest)| {
        let known = matches!(scheme, "https" | "http");
        known.then_some(rest)
    })?;
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let good = !host.is_empty() && host.bytes().all(letters) && port.is_none_or(digits);
    good.then_some(host)
}

const FORM: PasskeyError = PasskeyError::AuthenticatorData;

/// The part that all authenticator data has (WebAuthn §6.1), its rules checked.
struct AuthenticatorData<'a> {
    flags: u8,
    count: u32,
    rest: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    fn parse(bytes: &'a [u8], rp: &str) -> Result<Self, PasskeyError> {
        if bytes.len() > MAX_PART {
            return Err(FORM);
        }
        let (hash, rest) = bytes.split_first_chunk::<32>().ok_or(FORM)?;
        let (&flags, rest) = rest.split_first().ok_or(FORM)?;
        let (count, rest) = rest.split_first_chunk::<4>().ok_or(FORM)?;
        let count = u32::from_be_bytes(*count);
        let data = Self { flags, count, rest };
        if hash != Digest::of(rp.as_bytes()).as_bytes() {
            return Err(PasskeyError::Rp);
        }
        if !data.has(USER_PRESENT) {
            return Err(PasskeyError::UserPresence);
        }
        if !data.has(USER_VERIFIED) {
            return Err(PasskeyError::UserVerification);
        }
        if data.has(BACKED_UP) && !data.has(BACKUP_ELIGIBLE) {
            return Err(PasskeyError::Backup);
        }
        Ok(data)
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// `rest` is one map if the flag says so, and nothing otherwise.
    fn extensions(&self, rest: &[u8]) -> Result<(), PasskeyError> {
        match (self.has(EXTENDED), rest.is_empty()) {
            (false, true) => Ok(()),
            (false, false) => Err(FORM),
            (true, _) if cose::is_map(rest) => Ok(()),
            (true, _) => Err(PasskeyError::Extensions),
        }
    }
}

/// Bytes as base64url without padding.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::BASE64URL_NOPAD;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64URL_NOPAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_not| D::Error::custom("not base64url without padding"))
    }
}

#[cfg(test)]
mod tests;
