//! One certificate of a client's chain: what it says, and its key held against the sizes we calculate with.
//!
//! Nothing here checks a signature: that a key signed this is for [`super::client_cert`].

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Encode, Sequence};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use stint_policy::Timestamp;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::Cause;
use crate::authenticate::keys::{Key, sha256};
use crate::authenticate::{Proof, ProofKind};

/// A certificate that was read whole.
pub(super) struct Read {
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// Lower-case hex, as it stands there.
    pub(super) serial: String,
    /// SHA-256 of its DER.
    pub(super) digest: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo's DER.
    pub(super) spki: [u8; 32],
    /// RFC 7638 thumbprint of its key.
    pub(super) thumbprint: [u8; 32],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) is_ca: bool,
    usage: Option<KeyUsage>,
    extended: Option<ExtendedKeyUsage>,
}

impl Read {
    /// Reads strict DER.
    ///
    /// # Errors
    /// [`Cause::Form`]; [`Cause::Key`] for a key of a kind or size we do not calculate with.
    pub(super) fn of(der: &CertificateDer<'_>) -> Result<Read, Cause> {
        let form = |_: der::Error| Cause::Form;
        let certificate = Certificate::from_der(der).map_err(form)?;
        let tbs = certificate.tbs_certificate();
        let spki = tbs.subject_public_key_info();
        let key = public_key(spki).ok_or(Cause::Key)?;
        let (mut uris, mut dns) = (Vec::new(), Vec::new());
        let names = tbs.get_extension::<SubjectAltName>().map_err(form)?;
        for name in names.into_iter().flat_map(|(_, names)| names.0) {
            match name {
                GeneralName::UniformResourceIdentifier(uri) => uris.push(uri.as_str().to_owned()),
                GeneralName::DnsName(name) => dns.push(name.as_str().to_owned()),
                _ => {} // neither name us nor count
            }
        }
        let basic = tbs.get_extension::<BasicConstraints>().map_err(form)?;
        let usage = tbs.get_extension::<KeyUsage>().map_err(form)?;
        let extended = tbs.get_extension::<ExtendedKeyUsage>().map_err(form)?;
        let validity = tbs.validity();
        Ok(Read {
            subject: tbs.subject().to_der().map_err(form)?,
            issuer: tbs.issuer().to_der().map_err(form)?,
            serial: HEXLOWER.encode(tbs.serial_number().as_bytes()),
            digest: sha256(der),
            spki: sha256(&spki.to_der().map_err(form)?),
            thumbprint: key.thumbprint(),
            not_before: moment(validity.not_before)?,
            not_after: moment(validity.not_after)?,
            uris,
            dns,
            is_ca: basic.is_some_and(|(_, basic)| basic.ca),
            usage: usage.map(|(_, usage)| usage),
            extended: extended.map(|(_, extended)| extended),
        })
    }

    /// Whether it is made for a client that signs, and for no CA (RFC 5280 §4.2.1.3, §4.2.1.12).
    pub(super) fn is_for_clients(&self) -> bool {
        let signs = self.usage.as_ref().is_some_and(|usage| {
            usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign()
        });
        let clients = |extended: &ExtendedKeyUsage| extended.0.contains(&CLIENT_AUTH);
        signs && !self.is_ca && self.extended.as_ref().is_some_and(clients)
    }

    /// Whether it may stand at the top: a CA that signs certificates.
    pub(super) fn is_root(&self) -> bool {
        let signs = self
            .usage
            .as_ref()
            .is_none_or(|usage| usage.key_cert_sign());
        self.is_ca && signs
    }

    /// The key, as it was proved by a handshake that presented this certificate.
    pub(super) fn proof(&self) -> Proof {
        Proof {
            thumbprint: self.thumbprint,
            kind: ProofKind::Tls {
                certificate: self.digest,
            },
        }
    }
}

/// The key of a handshake's first certificate; `None` for one that we do not calculate with.
pub(crate) fn proof_of(leaf: &CertificateDer<'_>) -> Option<Proof> {
    Read::of(leaf).ok().map(|leaf| leaf.proof())
}

fn moment(time: x509_cert::time::Time) -> Result<Timestamp, Cause> {
    let millis = i64::try_from(time.to_unix_duration().as_millis());
    millis.map(Timestamp::from_millis).or(Err(Cause::Form))
}

/// The key by the rules of all keys here: P-256, P-384, Ed25519; RSA of 2048, 3072 or 4096 bits with 65537.
fn public_key(spki: &SubjectPublicKeyInfoOwned) -> Option<Key> {
    let bits = spki.subject_public_key.as_bytes()?;
    let parameters = spki.algorithm.parameters.as_ref();
    let curve = || parameters?.decode_as::<ObjectIdentifier>().ok();
    let jwk = match spki.algorithm.oid {
        RSA => rsa(bits)?,
        EC => match curve()? {
            P256 => point("P-256", bits)?,
            P384 => point("P-384", bits)?,
            _ => return None,
        },
        ED25519 => json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(bits) }),
        _ => return None,
    };
    Key::public(jwk.as_object()?, None)
}

fn rsa(bits: &[u8]) -> Option<Value> {
    let key = RsaPublicKey::from_der(bits).ok()?;
    let text = |number: &UintRef<'_>| BASE64URL_NOPAD.encode(number.as_bytes());
    Some(json!({ "kty": "RSA", "n": text(&key.modulus), "e": text(&key.exponent) }))
}

fn point(curve: &str, bits: &[u8]) -> Option<Value> {
    let (tag, both) = bits.split_first()?;
    let (x, y) = both.split_at_checked(both.len() / 2)?;
    let text = |bytes| BASE64URL_NOPAD.encode(bytes);
    // SEC 1 §2.3.3: 4 says that both coordinates follow.
    (*tag == 4).then(|| json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) }))
}

/// RFC 8017 §A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// id-kp-clientAuth.
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
