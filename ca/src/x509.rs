//! A grant and a profile as the exact DER of a TBSCertificate: PROTOCOLS.md §3.13, field by field.
//!
//! INVARIANT: a certificate is a function of the grant, the profile and the verified key. Nothing of
//! a request is in reach here but that key. What all leaves of one issuing CA share is encoded once.

use std::time::Duration;

use der::{
    DateTime, Decode, Encode, Sequence,
    asn1::{
        AnyRef, BitStringRef, Ia5String, ObjectIdentifier, OctetString, OctetStringRef, SetOfVec,
        UintRef, Utf8StringRef,
    },
    oid::AssociatedOid,
};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::pkix::{
        AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
        CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
        crl::dp::DistributionPoint,
        name::{DistributionPointName, GeneralName},
    },
    time::{Time, Validity},
};

use crate::{
    profile::Usage,
    scope::Scope,
    signer::Algorithm,
    subject::{CLIENT_AUTH, ECDSA_WITH_SHA256, ID_ED25519, SERVER_AUTH, SubjectKey},
};

/// A certificate's serial number: 159 random bits, positive, unique by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial([u8; 20]);

impl Serial {
    /// Drops the highest of 160 random bits, so that the number is positive in 20 octets (RFC 5280
    /// §4.1.2.2); zero, which no CA may use, becomes one.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 20]) -> Serial {
        if let Some(first) = bytes.first_mut() {
            *first &= 0x7f;
        }
        if let (true, Some(last)) = (bytes == [0; 20], bytes.last_mut()) {
            *last = 1;
        }
        Serial(bytes)
    }

    /// 20 bytes, big-endian.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// All 20 bytes in lower-case hex.
    #[must_use]
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

/// All that sets one leaf apart from another. Plain, so that the start-up lint can make one up
/// without a grant.
#[derive(Debug, Clone)]
pub(crate) struct Leaf<'a> {
    pub(crate) serial: Serial,
    /// Both ends in seconds since 1970, and both count as inside.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) spiffe_id: &'a str,
    pub(crate) common_name: Option<String>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) usage: Usage,
    pub(crate) key: &'a SubjectKey,
    pub(crate) scope: Scope<'a>,
}

/// What all leaves of one issuing CA share, encoded once.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) issuer: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) log: String,
    pub(crate) grant_oid: ObjectIdentifier,
    pub(crate) authority_key_identifier: [u8; 20],
    pub(crate) crl_url: Option<String>,
    pub(crate) ocsp_url: Option<String>,
    encoded: Encoded,
}

/// Extension values that never change.
#[derive(Debug)]
struct Encoded {
    basic_constraints: Vec<u8>,
    key_usage: Vec<u8>,
    authority_key_identifier: Vec<u8>,
    crl_distribution_points: Option<Vec<u8>>,
    authority_information_access: Option<Vec<u8>>,
}

impl Template {
    /// `issuer`: DER of the issuing CA's subject. `pki_url`: without a slash at its end.
    pub(crate) fn new(
        issuer: &[u8],
        algorithm: Algorithm,
        key_identifier: [u8; 20],
        log: &str,
        (grant_oid, pki_url): (ObjectIdentifier, Option<&str>),
    ) -> der::Result<Template> {
        let id = data_encoding::HEXLOWER.encode(&key_identifier);
        let crl_url = pki_url.map(|url| format!("{url}/crl/{id}.crl"));
        let ocsp_url = pki_url.map(|url| format!("{url}/ocsp"));
        let authority_key_identifier = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(key_identifier)?),
            ..AuthorityKeyIdentifier::default()
        };
        let encoded = Encoded {
            basic_constraints: BasicConstraints {
                ca: false,
                path_len_constraint: None,
            }
            .to_der()?,
            key_usage: KeyUsage(x509_cert::ext::pkix::KeyUsages::DigitalSignature.into())
                .to_der()?,
            authority_key_identifier: authority_key_identifier.to_der()?,
            crl_distribution_points: crl_url.as_deref().map(crl_points).transpose()?,
            authority_information_access: ocsp_url.as_deref().map(ocsp_access).transpose()?,
        };
        Ok(Template {
            issuer: issuer.to_vec(),
            algorithm,
            log: log.to_owned(),
            grant_oid,
            authority_key_identifier: key_identifier,
            crl_url,
            ocsp_url,
            encoded,
        })
    }

    /// The bytes to be signed: DER of the leaf's TBSCertificate.
    pub(crate) fn tbs(&self, leaf: &Leaf<'_>) -> der::Result<Vec<u8>> {
        let names = names(leaf)?;
        let usages = usages(leaf.usage)?;
        let subject_key_identifier =
            SubjectKeyIdentifier(OctetString::new(leaf.key.identifier())?).to_der()?;
        let grant = grant_extension(&leaf.scope, &self.log)?;
        let subject = subject(leaf.common_name.as_deref())?;

        let mut extensions = Vec::with_capacity(9);
        let mut add = |oid, critical, value| -> der::Result<()> {
            extensions.push(ExtensionRef {
                oid,
                critical,
                value: OctetStringRef::new(value)?,
            });
            Ok(())
        };
        let encoded = &self.encoded;
        add(SubjectAltName::OID, leaf.common_name.is_none(), &names)?;
        add(BasicConstraints::OID, true, &encoded.basic_constraints)?;
        add(KeyUsage::OID, true, &encoded.key_usage)?;
        add(ExtendedKeyUsage::OID, false, &usages)?;
        add(SubjectKeyIdentifier::OID, false, &subject_key_identifier)?;
        let identifier = &encoded.authority_key_identifier;
        add(AuthorityKeyIdentifier::OID, false, identifier)?;
        if let Some(points) = &encoded.crl_distribution_points {
            add(CrlDistributionPoints::OID, false, points)?;
        }
        if let Some(access) = &encoded.authority_information_access {
            add(AuthorityInfoAccessSyntax::OID, false, access)?;
        }
        add(self.grant_oid, false, &grant)?;

        TbsCertificate {
            version: V3,
            serial: UintRef::new(leaf.serial.as_bytes())?,
            signature: signature_algorithm(self.algorithm)?,
            issuer: AnyRef::from_der(&self.issuer)?,
            validity: Validity::new(time(leaf.not_before)?, time(leaf.not_after)?),
            subject: AnyRef::from_der(&subject)?,
            public_key: AnyRef::from_der(leaf.key.spki_der())?,
            extensions,
        }
        .to_der()
    }

    /// The certificate: those very bytes, and a signature in the form [`Signer::sign`] gives.
    ///
    /// [`Signer::sign`]: crate::signer::Signer::sign
    pub(crate) fn assemble(&self, tbs: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
        let signature = match self.algorithm {
            Algorithm::Es256 => ecdsa_signature(signature)?,
            Algorithm::Ed25519 | Algorithm::Rs256 => signature.to_vec(),
        };
        Certificate {
            tbs: AnyRef::from_der(tbs)?,
            algorithm: signature_algorithm(self.algorithm)?,
            signature: BitStringRef::from_bytes(&signature)?,
        }
        .to_der()
    }
}

/// Whether the certificate is of these very bytes: they are its first element, whole.
pub(crate) fn contains(certificate: &[u8], tbs: &[u8]) -> bool {
    Certificate::from_der(certificate)
        .and_then(|read| read.tbs.to_der())
        .is_ok_and(|read| read == tbs)
}

/// RFC 5280 §4.1, as far as leaves have it.
#[derive(Sequence)]
struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: UintRef<'a>,
    signature: AlgorithmIdentifier,
    issuer: AnyRef<'a>,
    validity: Validity,
    subject: AnyRef<'a>,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<ExtensionRef<'a>>,
}

/// RFC 5280 §4.1.
#[derive(Sequence)]
struct Certificate<'a> {
    tbs: AnyRef<'a>,
    algorithm: AlgorithmIdentifier,
    signature: BitStringRef<'a>,
}

/// RFC 5280 §4.1.2.9.
#[derive(Sequence)]
struct ExtensionRef<'a> {
    oid: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    critical: bool,
    value: &'a OctetStringRef,
}

/// Neither algorithm has parameters (RFC 5758 §3.2, RFC 8410 §3).
#[derive(Sequence)]
struct AlgorithmIdentifier {
    oid: ObjectIdentifier,
}

/// RFC 3279 §2.2.3.
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// PROTOCOLS.md §3.13.
#[derive(Sequence)]
struct StintGrant<'a> {
    version: u8,
    grant: Utf8StringRef<'a>,
    task: Utf8StringRef<'a>,
    action: Utf8StringRef<'a>,
    resources: Vec<Utf8StringRef<'a>>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    resources_hash: Option<&'a OctetStringRef>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    log: Option<Utf8StringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    initiator: Option<Utf8StringRef<'a>>,
}

fn names(leaf: &Leaf<'_>) -> der::Result<Vec<u8>> {
    let mut names = vec![uri(leaf.spiffe_id)?];
    for name in &leaf.dns_names {
        names.push(GeneralName::DnsName(Ia5String::new(name)?));
    }
    SubjectAltName(names).to_der()
}

fn usages(usage: Usage) -> der::Result<Vec<u8>> {
    let server = usage.server.then_some(SERVER_AUTH);
    let client = usage.client.then_some(CLIENT_AUTH);
    ExtendedKeyUsage(server.into_iter().chain(client).collect()).to_der()
}

fn subject(common_name: Option<&str>) -> der::Result<Vec<u8>> {
    let mut name: Vec<SetOfVec<AttributeTypeAndValue>> = Vec::new();
    if let Some(common_name) = common_name {
        let common_name = AttributeTypeAndValue {
            oid: COMMON_NAME,
            value: AnyRef::from(Utf8StringRef::new(common_name)?).into(),
        };
        name.push(SetOfVec::try_from(vec![common_name])?);
    }
    name.to_der()
}

fn grant_extension(scope: &Scope<'_>, log: &str) -> der::Result<Vec<u8>> {
    let text = Utf8StringRef::new::<str>;
    let resources: der::Result<Vec<_>> = scope.resources.iter().map(|r| text(r)).collect();
    let hash = scope.resources_hash.as_ref();
    StintGrant {
        version: 1,
        grant: text(&scope.grant)?,
        task: text(scope.task)?,
        action: text(&scope.action)?,
        resources: resources?,
        resources_hash: hash.map(|hash| OctetStringRef::new(hash)).transpose()?,
        log: Some(text(log)?),
        initiator: scope.initiator.map(text).transpose()?,
    }
    .to_der()
}

fn crl_points(url: &str) -> der::Result<Vec<u8>> {
    CrlDistributionPoints(vec![DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![uri(url)?])),
        reasons: None,
        crl_issuer: None,
    }])
    .to_der()
}

fn ocsp_access(url: &str) -> der::Result<Vec<u8>> {
    AuthorityInfoAccessSyntax(vec![AccessDescription {
        access_method: AD_OCSP,
        access_location: uri(url)?,
    }])
    .to_der()
}

fn uri(uri: &str) -> der::Result<GeneralName> {
    Ia5String::new(uri).map(GeneralName::UniformResourceIdentifier)
}

/// RS256 signs JWTs alone; [`crate::issuer::Issuing`] refuses such a key before this could.
fn signature_algorithm(algorithm: Algorithm) -> der::Result<AlgorithmIdentifier> {
    match algorithm {
        Algorithm::Es256 => Ok(ECDSA_WITH_SHA256),
        Algorithm::Ed25519 => Ok(ID_ED25519),
        Algorithm::Rs256 => Err(der::ErrorKind::Failed.into()),
    }
    .map(|oid| AlgorithmIdentifier { oid })
}

/// `r ‖ s` as SEQUENCE { r, s }.
fn ecdsa_signature(fixed: &[u8]) -> der::Result<Vec<u8>> {
    let (r, s) = fixed.split_at_checked(32).unwrap_or_default();
    if s.len() != 32 {
        return Err(der::ErrorKind::Failed.into());
    }
    EcdsaSignature {
        r: UintRef::new(r)?,
        s: UintRef::new(s)?,
    }
    .to_der()
}

/// UTCTime up to 2049, GeneralizedTime after (RFC 5280 §4.1.2.5).
fn time(seconds: i64) -> der::Result<Time> {
    let seconds = u64::try_from(seconds).map_err(|_before_1970| der::ErrorKind::DateTime)?;
    DateTime::from_unix_duration(Duration::from_secs(seconds)).map(Time::from)
}

/// The third version is spelt 2 (RFC 5280 §4.1.2.1).
const V3: u8 = 2;

/// RFC 4519 §2.3.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// RFC 5280 §4.2.2.1.
const AD_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");

/// The arc of our extensions until a number of our own is registered: RFC 5612's for documentation.
pub(crate) const DEFAULT_ARC: &str = "1.3.6.1.4.1.32473";

/// `<arc>.1.1`, the OID of the `stint` extension; `None` for an arc that is no OID, or with a part
/// above 31 bits, for which common verifiers refuse the whole certificate.
pub(crate) fn grant_oid(arc: &str) -> Option<ObjectIdentifier> {
    let oid = ObjectIdentifier::new(&format!("{arc}.1.1")).ok()?;
    oid.arcs().all(|part| part <= 0x7fff_ffff).then_some(oid)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use der::Encode;

    use super::{DEFAULT_ARC, Serial, ecdsa_signature, grant_extension, grant_oid};
    use crate::scope::Scope;

    #[test]
    fn the_stint_extension_has_its_golden_bytes() {
        let scope = Scope::new(
            "gr_01jd9x2m7q".into(),
            "github:74/100/2/4242",
            vec!["Environment::\"prod/web\"".into()],
        )
        .action("deploy".into());
        let value = grant_extension(&scope, "stint.example/ledger").unwrap();
        assert_eq!(
            HEXLOWER.encode(&value),
            "30610201010c0d67725f30316a643978326d37710c146769746875623a37342f3130302f322f343234\
             320c066465706c6f7930190c17456e7669726f6e6d656e743a3a2270726f642f7765622281147374\
             696e742e6578616d706c652f6c6564676572"
        );
        let oid = grant_oid(DEFAULT_ARC).unwrap().to_der().unwrap();
        assert_eq!(HEXLOWER.encode(&oid), "060a2b0601040181fd590101");
    }

    #[test]
    fn an_arc_has_parts_of_31_bits() {
        assert!(grant_oid("1.3.6.1.4.1.2147483647").is_some());
        assert!(grant_oid("1.3.6.1.4.1.2147483648").is_none());
        assert!(grant_oid("stint").is_none());
    }

    #[test]
    fn a_serial_is_positive_and_never_zero() {
        assert_eq!(Serial::from_random([0xff; 20]).as_bytes()[0], 0x7f);
        assert_eq!(Serial::from_random([0; 20]).as_bytes()[19], 1);
        assert_eq!(Serial::from_random([0x80; 20]).hex().len(), 40);
    }

    #[test]
    fn an_ecdsa_signature_in_der_is_minimal() {
        let mut fixed = [0; 64];
        fixed[31] = 1;
        fixed[32] = 0x80;
        let der = ecdsa_signature(&fixed).unwrap();
        assert_eq!(HEXLOWER.encode(&der[..8]), "3026020101022100");
        assert!(ecdsa_signature(&[1; 63]).is_err());
    }
}
