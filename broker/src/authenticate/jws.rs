//! One compact JWS, from bytes to something that is signed (IDENTITY.md §2.1 checks 1 to 3, 6 and 7).
//!
//! Form comes before content: size, alphabet, two dots, canonical base64url, strict JSON, and only then a key. The
//! payload is parsed once; before the signature it may choose an issuer entry, after it is what the token says. No URL in
//! a header is read, and the library that checks the signature checks nothing else.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::authenticate::Label;
use crate::authenticate::crypto::verifies;
use crate::authenticate::keys::{Key, is_kid, sha256};
use crate::strict::{self, Limits};

/// The members of a JWT's payload.
pub(super) type Payload = Map<String, Value>;

/// A JWS in good form that nobody vouches for yet.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    signing_input: &'t str,
    signature: &'t str,
    header: Map<String, Value>,
    payload: Payload,
}

impl<'t> Unverified<'t> {
    /// Reads the form; nothing of the content is judged.
    ///
    /// # Errors
    /// [`Label::TooLarge`] above 8,192 bytes, [`Label::Form`] for a text that is no canonical compact JWS over a strict
    /// JSON object, [`Label::Header`] for a header that is none or names an extension we do not have.
    pub(super) fn parse(token: &'t str) -> Result<Unverified<'t>, Label> {
        match token.len() > MAX_BYTES {
            true => Err(Label::TooLarge),
            false => Unverified::of_any_size(token),
        }
    }

    /// The same where another bound was kept before.
    pub(super) fn of_any_size(token: &'t str) -> Result<Unverified<'t>, Label> {
        let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let dots = token.bytes().filter(|b| *b == b'.').count();
        if dots != 2 || !token.bytes().all(in_alphabet) {
            return Err(Label::Form);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Label::Form)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Label::Form)?;
        decode(signature)?;
        let (header, payload) = (decode(header)?, decode(payload)?);
        if header.len() > MAX_HEADER_BYTES {
            return Err(Label::Header);
        }
        let object = |json: &[u8], label| strict::object(json, Limits::WIRE).or(Err(label));
        let header = object(&header, Label::Header)?;
        if UNSUPPORTED
            .iter()
            .any(|member| header.contains_key(*member))
        {
            return Err(Label::Header);
        }
        Ok(Unverified {
            signing_input,
            signature,
            header,
            payload: object(&payload, Label::Form)?,
        })
    }

    /// `alg` and `kid` of evidence, which has no key of its own in the header.
    ///
    /// # Errors
    /// [`Label::Header`], if one is missing, of another type or out of form, or if there is a `jwk`.
    pub(super) fn evidence_header(&self) -> Result<EvidenceHeader<'_>, Label> {
        if self.header.contains_key("jwk") {
            return Err(Label::Header);
        }
        let kid = self
            .header_text("kid")?
            .filter(|kid| is_kid(kid))
            .ok_or(Label::Header)?;
        let alg = self.header_text("alg")?.ok_or(Label::Header)?;
        let usual = |member: &String| ["alg", "kid", "typ"].contains(&member.as_str());
        Ok(EvidenceHeader {
            alg,
            kid,
            typ: self.header_text("typ")?,
            more: !self.header.keys().all(usual),
        })
    }

    /// A member of the header that is a string wherever it is there.
    ///
    /// # Errors
    /// [`Label::Header`], if it is something else.
    pub(super) fn header_text(&self, member: &str) -> Result<Option<&str>, Label> {
        match self.header.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Label::Header),
        }
    }

    /// The key a DPoP proof carries.
    pub(super) fn header_jwk(&self) -> Option<&Map<String, Value>> {
        self.header.get("jwk")?.as_object()
    }

    /// What the token *claims*, to look something up by; nothing may be concluded from it.
    pub(super) fn untrusted(&self) -> &Payload {
        &self.payload
    }

    /// Checks the signature over the bytes that were received.
    ///
    /// # Errors
    /// [`Label::Signature`].
    pub(super) fn verify(self, key: &Key) -> Result<Verified, Label> {
        if !verifies(key, self.signing_input, self.signature) {
            return Err(Label::Signature);
        }
        Ok(Verified {
            payload: self.payload,
            digest: sha256(self.signing_input.as_bytes()),
            key: key.thumbprint(),
        })
    }
}

/// The header of an OIDC token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EvidenceHeader<'a> {
    pub(super) alg: &'a str,
    pub(super) kid: &'a str,
    pub(super) typ: Option<&'a str>,
    /// Whether it has other members, which nobody reads.
    pub(super) more: bool,
}

/// What `key` signed. Made by [`Unverified::verify`] alone.
#[derive(Debug)]
pub(super) struct Verified {
    payload: Payload,
    digest: [u8; 32],
    key: [u8; 32],
}

impl Verified {
    pub(super) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// SHA-256 of the signing input: an ECDSA signature can be altered by anybody and still verify, so it is left out.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The thumbprint of the key that verified.
    pub(super) fn key(&self) -> [u8; 32] {
        self.key
    }
}

/// One base64url part: not empty, no padding, spare bits zero.
fn decode(part: &str) -> Result<Vec<u8>, Label> {
    let bytes = BASE64URL_NOPAD
        .decode(part.as_bytes())
        .or(Err(Label::Form))?;
    Some(bytes)
        .filter(|bytes| !bytes.is_empty())
        .ok_or(Label::Form)
}

/// IDENTITY.md §2.1 check 1: the largest token that is read.
pub(super) const MAX_BYTES: usize = 8192;

const MAX_HEADER_BYTES: usize = 2048;

/// Header members that would change what a JWS means or where its key is from. `jwk` is refused where it does not belong.
const UNSUPPORTED: [&str; 7] = ["crit", "b64", "zip", "enc", "jku", "x5u", "x5c"];

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(part: &str) -> String {
        BASE64URL_NOPAD.encode(part.as_bytes())
    }

    fn check(token: &str, expected: Result<(), Label>) {
        let outcome = Unverified::parse(token).and_then(|t| t.evidence_header().map(|_| ()));
        assert_eq!(outcome, expected, "{token}");
    }

    fn check_header(header: &str, expected: Result<(), Label>) {
        check(
            &format!("{}.{}.c2ln", encode(header), encode("{}")),
            expected,
        );
    }

    #[test]
    fn form_comes_first() {
        let good = format!(
            "{}.{}.c2ln",
            encode(r#"{"alg":"RS256","kid":"k"}"#),
            encode("{}")
        );
        let (head, sig) = good.rsplit_once('.').unwrap();
        let (header, payload) = head.split_once('.').unwrap();
        check(&good, Ok(()));
        for bad in [
            String::new(),
            "..".to_owned(),
            head.to_owned(),
            format!("{good}."),
            format!("{header}..{payload}.{sig}"),
            format!("{header}.x.{payload}.y.{sig}"),
            format!("{header}.{payload}."),
            format!(".{payload}.{sig}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("{good}="),
            format!("{header}.{payload}.c2lu=="),
            format!("{header}.{payload}.c2lnZE"),
            format!("{header}.{payload}.c2l+"),
            format!("{header}.{payload}.c2lné"),
            format!("{header}.{}.{sig}", encode(r#"{"iss":1,"iss":1}"#)),
            format!("{header}.{}.{sig}", encode("[]")),
            format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{sig}"}}"#),
        ] {
            check(&bad, Err(Label::Form));
        }
        check(&"a".repeat(8193), Err(Label::TooLarge));
    }

    #[test]
    fn a_header_has_alg_and_kid_and_no_extension() {
        check_header(
            r#"{"alg":"RS256","kid":"k","typ":"JWT","x5t":"unread"}"#,
            Ok(()),
        );
        for bad in [
            r#"{"alg":"RS256"}"#,
            r#"{"kid":"k"}"#,
            r#"{"alg":1,"kid":"k"}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","kid":""}"#,
            r#"{"alg":"RS256","kid":"ü"}"#,
            r#"{"alg":"RS256","kid":"k","typ":1}"#,
            r#"{"alg":"RS256","kid":"k","kid":"k"}"#,
            r#"{"alg":"RS256","kid":"k","crit":["exp"]}"#,
            r#"{"alg":"RS256","kid":"k","b64":false}"#,
            r#"{"alg":"RS256","kid":"k","zip":"DEF"}"#,
            r#"{"alg":"dir","kid":"k","enc":"A128GCM"}"#,
            r#"{"alg":"RS256","kid":"k","jku":"https://evil.example"}"#,
            r#"{"alg":"RS256","kid":"k","jwk":{}}"#,
            r#"{"alg":"RS256","kid":"k","x5u":"https://evil.example"}"#,
            r#"{"alg":"RS256","kid":"k","x5c":[]}"#,
            "[]",
        ] {
            check_header(bad, Err(Label::Header));
        }
        check_header(
            &format!(r#"{{"alg":"RS256","kid":"k","x":"{}"}}"#, "x".repeat(2048)),
            Err(Label::Header),
        );
    }
}
