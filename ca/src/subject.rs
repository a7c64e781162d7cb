//! The key a certificate is for: read from a request, an SPKI or a JWK, and verified.
//!
//! INVARIANT: from a certificate request only the public key survives (DESIGN §2.6). Its subject is
//! ignored. Its extensions are never copied: what no profile ever gives is refused here, and the
//! names and usages that one might are kept as wishes, which [`Authority::prepare`] holds against
//! the grant and then forgets.
//!
//! [`Authority::prepare`]: crate::Authority::prepare

use data_encoding::BASE64;
use der::{
    Decode, Encode, Sequence,
    asn1::{AnyRef, BitStringRef, ObjectIdentifier},
    oid::AssociatedOid,
};
use ring::{
    agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1,
        ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use stint_audit::Digest;
use x509_cert::{
    ext::{
        Extension,
        pkix::{
            BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            name::GeneralName,
        },
    },
    request::{CertReqInfo, ExtensionReq},
};

use crate::jwk::{self, PublicKey};

/// A public key whose holder asks for a credential: P-256, P-384 or Ed25519.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKey {
    key: PublicKey,
    spki: Vec<u8>,
    wishes: Wishes,
}

/// What a request asked for beside a key, as far as a profile might give it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) client: bool,
    pub(crate) server: bool,
}

impl SubjectKey {
    /// The verified key of one PKCS #10 request (RFC 2986): PEM with exactly one block, or base64 of
    /// its DER; at most 8 KiB of DER, version 0, signed by its own key.
    ///
    /// # Errors
    /// [`KeyError`]: all of them are the caller's to mend.
    pub fn from_csr(text: &str) -> Result<SubjectKey, KeyError> {
        let request = decode(text)?;
        let request = Request::from_der(&request).map_err(malformed)?;
        let signed = request.info.to_der().map_err(malformed)?;
        let info = CertReqInfo::from_der(&signed).map_err(malformed)?;
        // What the decoder took and would not write so is not DER.
        if info.to_der().map_err(malformed)? != signed {
            return Err(KeyError::Malformed);
        }
        let spki = info.public_key.to_der().map_err(malformed)?;
        let key = subject_key(&spki)?;
        verify(&key, &request, &signed)?;
        let wishes = wishes(&info)?;
        Ok(SubjectKey { key, spki, wishes })
    }

    /// A bare key, as DER of a SubjectPublicKeyInfo. That its holder asks must be shown by other
    /// means: this request's DPoP proof or TLS client key being that very key.
    ///
    /// # Errors
    /// [`KeyError::Kind`], [`KeyError::Point`].
    pub fn from_spki_der(spki: &[u8]) -> Result<SubjectKey, KeyError> {
        let key = subject_key(spki)?;
        on_curve(&key)?;
        Ok(SubjectKey {
            key,
            spki: spki.to_vec(),
            wishes: Wishes::default(),
        })
    }

    /// A bare key, as a public JWK (RFC 7517), with the same need of proof.
    ///
    /// # Errors
    /// [`KeyError::Kind`], also for a JWK with a private member; [`KeyError::Point`].
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<SubjectKey, KeyError> {
        let key = PublicKey::from_jwk(jwk).ok_or(KeyError::Kind)?;
        SubjectKey::from_spki_der(&key.to_spki().ok_or(KeyError::Kind)?)
    }

    /// DER of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The SHA-256 JWK thumbprint (RFC 7638): `jkt` of RFC 9449.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        self.key.thumbprint()
    }

    /// SHA-256 of the SPKI's DER: how the ledger names a key.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.spki)
    }

    pub(crate) fn identifier(&self) -> [u8; 20] {
        jwk::key_identifier(&self.key)
    }

    pub(crate) fn wishes(&self) -> &Wishes {
        &self.wishes
    }
}

/// Why a key was not taken. One kind of refusal for the caller: `bad_csr`, PROTOCOLS §3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An attribute other than one `extensionRequest`.
    #[error("the request has an attribute other than one `extensionRequest`")]
    Attribute,
    /// An extension that no profile ever gives, `CA:TRUE` first of all.
    #[error("the request asks for what no certificate here carries: {0}")]
    Extension(&'static str),
    /// Not P-256, P-384 or Ed25519, or not in its one encoding.
    #[error("the key is not a P-256, P-384 or Ed25519 key in its one DER encoding")]
    Kind,
    /// Not one strict DER request, or not one PEM block of it.
    #[error("not exactly one PKCS #10 request in PEM or in base64 of strict DER")]
    Malformed,
    /// A point that is not on its curve.
    #[error("the key's point is not on its curve")]
    Point,
    /// The request's own signature does not verify by its key.
    #[error("the request is not signed by its own key")]
    Signature,
    /// More than 8 KiB.
    #[error("the request is larger than 8 KiB")]
    TooLarge,
}

/// RFC 2986 §4.2, with the part that is signed left as it came.
#[derive(Sequence)]
struct Request<'a> {
    info: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

/// None of the algorithms taken here has parameters (RFC 5758 §3.2, RFC 8410 §3).
#[derive(Sequence)]
struct SignatureAlgorithm {
    oid: ObjectIdentifier,
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.len() > MAX_TEXT {
        return Err(KeyError::TooLarge);
    }
    let text = text.trim_ascii();
    let base64 = match text.strip_prefix(PEM_BEGIN) {
        Some(block) => block.strip_suffix(PEM_END).ok_or(KeyError::Malformed)?,
        None => text,
    };
    let base64: Vec<u8> = base64
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    // A second block, headers or any other text are not base64.
    let request = BASE64
        .decode(&base64)
        .map_err(|_not_base64| KeyError::Malformed)?;
    if request.len() > MAX_REQUEST {
        return Err(KeyError::TooLarge);
    }
    Ok(request)
}

fn subject_key(spki: &[u8]) -> Result<PublicKey, KeyError> {
    match PublicKey::from_spki(spki) {
        Some(PublicKey::Rsa { .. }) | None => Err(KeyError::Kind),
        Some(key) => Ok(key),
    }
}

fn verify(key: &PublicKey, request: &Request<'_>, signed: &[u8]) -> Result<(), KeyError> {
    let SignatureAlgorithm { oid } = request.algorithm.decode_as().map_err(malformed)?;
    let algorithm: &'static dyn VerificationAlgorithm = match key {
        PublicKey::P256(_) if oid == ECDSA_WITH_SHA256 => &ECDSA_P256_SHA256_ASN1,
        PublicKey::P256(_) if oid == ECDSA_WITH_SHA384 => &ECDSA_P256_SHA384_ASN1,
        PublicKey::P384(_) if oid == ECDSA_WITH_SHA256 => &ECDSA_P384_SHA256_ASN1,
        PublicKey::P384(_) if oid == ECDSA_WITH_SHA384 => &ECDSA_P384_SHA384_ASN1,
        PublicKey::Ed25519(_) if oid == ID_ED25519 => &ED25519,
        PublicKey::P256(_) | PublicKey::P384(_) | PublicKey::Ed25519(_) | PublicKey::Rsa { .. } => {
            return Err(KeyError::Signature);
        }
    };
    let signature = request.signature.as_bytes().ok_or(KeyError::Signature)?;
    UnparsedPublicKey::new(algorithm, key.bits())
        .verify(signed, signature)
        .map_err(|ring::error::Unspecified| KeyError::Signature)
}

/// A signature that verified has shown as much; a bare key is tried in a key agreement, where ring
/// checks the point. Ed25519 keys have no such check: one that is no point verifies nothing.
fn on_curve(key: &PublicKey) -> Result<(), KeyError> {
    let curve = match key {
        PublicKey::P256(_) => &ECDH_P256,
        PublicKey::P384(_) => &ECDH_P384,
        PublicKey::Ed25519(_) | PublicKey::Rsa { .. } => return Ok(()),
    };
    let off = |ring::error::Unspecified| KeyError::Point;
    let ours = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(off)?;
    let theirs = agreement::UnparsedPublicKey::new(curve, key.bits());
    agreement::agree_ephemeral(ours, &theirs, |_shared| ()).map_err(off)
}

fn wishes(info: &CertReqInfo) -> Result<Wishes, KeyError> {
    let mut wishes = Wishes::default();
    let mut attributes = info.attributes.iter();
    let Some(attribute) = attributes.next() else {
        return Ok(wishes);
    };
    let mut values = attribute.values.iter();
    let (true, Some(value), None, None) = (
        attribute.oid == ExtensionReq::OID,
        values.next(),
        values.next(),
        attributes.next(),
    ) else {
        return Err(KeyError::Attribute);
    };
    let requested: Vec<Extension> = value.decode_as().map_err(malformed)?;
    for (place, extension) in requested.iter().enumerate() {
        let earlier = requested.iter().take(place);
        if earlier.into_iter().any(|e| e.extn_id == extension.extn_id) {
            return Err(KeyError::Extension("an extension twice"));
        }
        wish(&mut wishes, extension)?;
    }
    Ok(wishes)
}

fn wish(wishes: &mut Wishes, extension: &Extension) -> Result<(), KeyError> {
    let value = extension.extn_value.as_bytes();
    match extension.extn_id {
        SubjectAltName::OID => {
            for name in SubjectAltName::from_der(value).map_err(malformed)?.0 {
                match name {
                    GeneralName::UniformResourceIdentifier(uri) => {
                        wishes.uris.push(uri.as_str().to_owned());
                    }
                    GeneralName::DnsName(name) => wishes.dns.push(name.as_str().to_owned()),
                    GeneralName::OtherName(_)
                    | GeneralName::Rfc822Name(_)
                    | GeneralName::DirectoryName(_)
                    | GeneralName::EdiPartyName(_)
                    | GeneralName::IpAddress(_)
                    | GeneralName::RegisteredId(_) => {
                        return Err(KeyError::Extension("a name that is no URI and no DNS name"));
                    }
                }
            }
        }
        ExtendedKeyUsage::OID => {
            for usage in ExtendedKeyUsage::from_der(value).map_err(malformed)?.0 {
                match usage {
                    CLIENT_AUTH => wishes.client = true,
                    SERVER_AUTH => wishes.server = true,
                    _ => return Err(KeyError::Extension("an extended key usage of another kind")),
                }
            }
        }
        BasicConstraints::OID => {
            let asked = BasicConstraints::from_der(value).map_err(malformed)?;
            if asked.ca || asked.path_len_constraint.is_some() {
                return Err(KeyError::Extension("CA:TRUE"));
            }
        }
        KeyUsage::OID => {
            let asked = KeyUsage::from_der(value).map_err(malformed)?;
            if asked
                .0
                .into_iter()
                .any(|usage| usage != KeyUsages::DigitalSignature)
            {
                return Err(KeyError::Extension("a key usage beyond digitalSignature"));
            }
        }
        _ => return Err(KeyError::Extension("an extension of another kind")),
    }
    Ok(())
}

fn malformed(_why: der::Error) -> KeyError {
    KeyError::Malformed
}

/// SECURITY.md §4: 8 KiB of DER, far more than a request with one key needs.
const MAX_REQUEST: usize = 8 * 1024;

/// The same in base64 (4/3), with room for line ends and the PEM labels.
const MAX_TEXT: usize = MAX_REQUEST * 3 / 2;

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const PEM_END: &str = "-----END CERTIFICATE REQUEST-----";

/// RFC 5280 §4.2.1.12.
pub(crate) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// RFC 5280 §4.2.1.12.
pub(crate) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// RFC 5758 §3.2.
pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// RFC 5758 §3.2.
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
/// RFC 8410 §3: the same for keys and signatures.
pub(crate) const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

#[cfg(test)]
mod tests;
