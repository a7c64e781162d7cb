//! Certificates of authorities: the root and the issuing CA are made here, by rcgen, where every
//! parameter is ours; one that is brought is checked before it may issue.
//!
//! An issuing CA serves one trust domain: critical CA:TRUE with pathLen 0, keyCertSign and cRLSign,
//! the domain's SPIFFE ID as its one name, no name constraints (PROTOCOLS.md §3.13).

use std::{fmt, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use stint_policy::Timestamp;
use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};
use zeroize::Zeroizing;

use crate::{
    jwk::{self, PublicKey},
    signer::{Algorithm, Signer, software},
    x509::Serial,
};

/// An issuing CA that may issue: its certificate is the root's, and its key is the certificate's.
#[derive(Debug, Clone)]
pub struct Issuing {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    pub(crate) subject: Vec<u8>,
    pub(crate) key_identifier: [u8; 20],
    /// Both ends in seconds since 1970, and both count as inside.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// When the root ends, in seconds since 1970.
    pub(crate) root_not_after: i64,
    pub(crate) root_spki: Vec<u8>,
}

impl Issuing {
    /// Takes an issuing CA into use for `trust_domain`. Each PEM holds exactly one certificate.
    ///
    /// # Errors
    /// [`IssuerError::Unfit`] names the first thing that is wrong; [`IssuerError::Pem`].
    pub fn new(
        root_pem: &str,
        certificate_pem: &str,
        signer: Arc<dyn Signer>,
        trust_domain: &str,
    ) -> Result<Issuing, IssuerError> {
        let root_der = one_certificate(root_pem)?;
        let der = one_certificate(certificate_pem)?;
        let root = parse(&root_der)?;
        let issuing = parse(&der)?;
        fits_root(&issuing, &root)?;
        fits_domain(&issuing, trust_domain)?;
        if signer.algorithm() == Algorithm::Rs256 {
            return Err(IssuerError::Unfit("an RS256 key signs no certificates"));
        }
        if issuing.public_key().raw != signer.public_key_spki() {
            return Err(IssuerError::Unfit("the key is not the certificate's"));
        }
        Ok(Issuing {
            key_identifier: key_identifier(&issuing)?,
            subject: issuing.subject().as_raw().to_vec(),
            not_before: issuing.validity().not_before.timestamp(),
            not_after: issuing.validity().not_after.timestamp(),
            root_not_after: root.validity().not_after.timestamp(),
            root_spki: root.public_key().raw.to_vec(),
            certificate_pem: pem(&der)?,
            root_pem: pem(&root_der)?,
            certificate: der.clone(),
            root: root_der.clone(),
            signer,
        })
    }

    /// Whether two thirds of its life are over at `now`: time for the next one.
    #[must_use]
    pub fn is_late(&self, now: Timestamp) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        now.as_secs() > self.not_before.saturating_add(life / 3 * 2)
    }
}

/// A new authority: its certificate, and its key as PKCS#8 DER.
pub struct Made {
    /// One PEM block.
    pub certificate_pem: String,
    /// Wiped when dropped; belongs into a key file ([`crate::keyfile::seal`]).
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// A new self-signed P-256 root for `trust_domain`, valid from a minute before `now` for `days`.
///
/// # Errors
/// [`IssuerError::Made`] when it cannot be made: no randomness, or an end beyond the year 9999.
pub fn new_root(trust_domain: &str, now: Timestamp, days: u32) -> Result<Made, IssuerError> {
    let (key, pair) = new_key()?;
    let mut params = authority(trust_domain, "Stint root", &pair, Life { now, days })?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let certificate = params.self_signed(&pair).map_err(made)?;
    Ok(Made {
        certificate_pem: pem(certificate.der())?,
        key,
    })
}

/// A new P-256 issuing CA for `trust_domain`, signed by the root, valid from a minute before `now`
/// for `days`, and no longer than the root.
///
/// `root_key`: PKCS#8 DER of a P-256 key.
///
/// # Errors
/// [`IssuerError::Pem`], [`IssuerError::Unfit`] for a root that has ended or whose key this is not,
/// [`IssuerError::Made`].
pub fn new_issuing(
    (root_pem, root_key): (&str, &[u8]),
    trust_domain: &str,
    now: Timestamp,
    days: u32,
) -> Result<Made, IssuerError> {
    let root_der = one_certificate(root_pem)?;
    let root = parse(&root_der)?;
    let root_pair = key_pair(root_key)?;
    if root.public_key().raw != root_pair.subject_public_key_info() {
        return Err(IssuerError::Unfit("the key is not the root's"));
    }
    let root_end = root.validity().not_after.timestamp();
    if root_end <= now.as_secs() {
        return Err(IssuerError::Unfit("the root has ended"));
    }
    let (key, pair) = new_key()?;
    let mut params = authority(trust_domain, "Stint issuing CA", &pair, Life { now, days })?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    params.not_after = params.not_after.min(moment(root_end)?);
    let issuer = rcgen::Issuer::from_ca_cert_der(&root_der, root_pair).map_err(made)?;
    let certificate = params.signed_by(&pair, &issuer).map_err(made)?;
    Ok(Made {
        certificate_pem: pem(certificate.der())?,
        key,
    })
}

/// Why an authority was not made, or may not issue. The operator mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Making one failed.
    #[error("the certificate could not be made: {0}")]
    Made(String),
    /// Not exactly one certificate.
    #[error("not exactly one certificate in PEM")]
    Pem,
    /// A certificate that must not issue here.
    #[error("unfit to issue: {0}")]
    Unfit(&'static str),
}

/// How long an authority is valid.
struct Life {
    now: Timestamp,
    days: u32,
}

fn authority(
    trust_domain: &str,
    name: &str,
    pair: &KeyPair,
    life: Life,
) -> Result<CertificateParams, IssuerError> {
    let spki = PublicKey::from_spki(&pair.subject_public_key_info())
        .ok_or(IssuerError::Unfit("a key of another kind"))?;
    let identifier = jwk::key_identifier(&spki);
    let short = data_encoding::HEXLOWER.encode(identifier.first_chunk::<4>().unwrap_or(&[0; 4]));
    let id = format!("spiffe://{trust_domain}");
    let begin = life.now.as_secs() - BACKDATE;
    let mut serial = [0; 20];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|ring::error::Unspecified| IssuerError::Made("no randomness".into()))?;

    let mut params = CertificateParams::default();
    params.not_before = moment(begin)?;
    params.not_after = moment(life.now.as_secs() + i64::from(life.days) * DAY)?;
    params.serial_number = Some(SerialNumber::from_slice(
        Serial::from_random(serial).as_bytes(),
    ));
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().map_err(made)?)];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{name} {short}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.to_vec());
    Ok(params)
}

fn new_key() -> Result<(Zeroizing<Vec<u8>>, KeyPair), IssuerError> {
    let key = software::generate(Algorithm::Es256).map_err(|e| IssuerError::Made(e.to_string()))?;
    let pair = key_pair(&key)?;
    Ok((key, pair))
}

fn key_pair(pkcs8: &[u8]) -> Result<KeyPair, IssuerError> {
    let der = PrivatePkcs8KeyDer::from(pkcs8);
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(made)
}

fn moment(seconds: i64) -> Result<OffsetDateTime, IssuerError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|e| IssuerError::Made(e.to_string()))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape `map_err` wants of it"
)]
fn made(fault: rcgen::Error) -> IssuerError {
    IssuerError::Made(fault.to_string())
}

fn one_certificate(pem: &str) -> Result<CertificateDer<'static>, IssuerError> {
    let mut blocks = CertificateDer::pem_slice_iter(pem.as_bytes());
    match (blocks.next(), blocks.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        (None | Some(_), _) => Err(IssuerError::Pem),
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, IssuerError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(IssuerError::Pem),
    }
}

/// One block of PEM, 64 columns, ended by a line feed.
pub(crate) fn pem(der: &[u8]) -> Result<String, IssuerError> {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der)
        .map_err(|_too_long| IssuerError::Pem)
}

fn fits_root(issuing: &X509Certificate<'_>, root: &X509Certificate<'_>) -> Result<(), IssuerError> {
    if !root.is_ca() || issuing.issuer().as_raw() != root.subject().as_raw() {
        return Err(IssuerError::Unfit("the root did not issue it"));
    }
    issuing
        .verify_signature(Some(root.public_key()))
        .map_err(|_unverified| IssuerError::Unfit("the root did not sign it"))?;
    if issuing.validity().not_after.timestamp() > root.validity().not_after.timestamp() {
        return Err(IssuerError::Unfit("it outlives the root"));
    }
    Ok(())
}

fn fits_domain(issuing: &X509Certificate<'_>, trust_domain: &str) -> Result<(), IssuerError> {
    let unfit = |why| move |_twice| IssuerError::Unfit(why);
    let constraints = issuing
        .basic_constraints()
        .map_err(unfit("basic constraints twice"))?;
    if !constraints
        .is_some_and(|c| c.critical && c.value.ca && c.value.path_len_constraint == Some(0))
    {
        return Err(IssuerError::Unfit("not a critical CA:TRUE with pathLen 0"));
    }
    let usage = issuing.key_usage().map_err(unfit("key usage twice"))?;
    if !usage.is_some_and(|u| u.critical && u.value.key_cert_sign() && u.value.crl_sign()) {
        return Err(IssuerError::Unfit("no critical keyCertSign and cRLSign"));
    }
    let constrained = issuing.name_constraints();
    if !matches!(constrained, Ok(None)) {
        return Err(IssuerError::Unfit("it has name constraints"));
    }
    let id = format!("spiffe://{trust_domain}");
    let names = issuing
        .subject_alternative_name()
        .map_err(unfit("names twice"))?;
    match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) if *uri == id => Ok(()),
        _ => Err(IssuerError::Unfit("its one name is not the trust domain")),
    }
}

fn key_identifier(issuing: &X509Certificate<'_>) -> Result<[u8; 20], IssuerError> {
    issuing
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => identifier.0.try_into().ok(),
            _ => None,
        })
        .ok_or(IssuerError::Unfit("no subject key identifier of 160 bits"))
}

/// A minute: what clocks elsewhere may be behind (DESIGN.md §7).
const BACKDATE: i64 = 60;

const DAY: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stint_policy::Timestamp;

    use super::{IssuerError, Issuing, Made, new_issuing, new_root};
    use crate::signer::{Algorithm, Signer, software::SoftwareSigner};

    const NOW: i64 = 1_795_341_000_000;

    fn signer(made: &Made) -> Arc<dyn Signer> {
        Arc::new(SoftwareSigner::from_pkcs8(Algorithm::Es256, &made.key).unwrap())
    }

    fn made(days: (u32, u32)) -> (Made, Made) {
        let now = Timestamp::from_millis(NOW);
        let root = new_root("td.example", now, days.0).unwrap();
        let parts = (root.certificate_pem.as_str(), &root.key[..]);
        let issuing = new_issuing(parts, "td.example", now, days.1).unwrap();
        (root, issuing)
    }

    #[test]
    fn what_is_made_may_issue_for_its_domain_alone() {
        let (root, issuing) = made((3650, 30));
        let take = |domain| {
            let (root, ca) = (&root.certificate_pem, &issuing.certificate_pem);
            Issuing::new(root, ca, signer(&issuing), domain)
        };
        let taken = take("td.example").unwrap();
        assert_eq!(taken.not_before, NOW / 1000 - 60);
        assert_eq!(taken.not_after, NOW / 1000 + 30 * 86_400);
        assert_eq!(
            take("other.example").unwrap_err(),
            IssuerError::Unfit("its one name is not the trust domain")
        );
    }

    #[test]
    fn an_issuing_ca_ends_with_its_root() {
        let (root, issuing) = made((10, 30));
        let taken = Issuing::new(
            &root.certificate_pem,
            &issuing.certificate_pem,
            signer(&issuing),
            "td.example",
        );
        assert_eq!(taken.unwrap().not_after, NOW / 1000 + 10 * 86_400);
    }

    #[test]
    fn refuses_a_key_a_root_or_a_certificate_of_somebody_else() {
        let (root, issuing) = made((3650, 30));
        let (other_root, other) = made((3650, 30));
        let refused = |root: &Made, certificate: &str, key: &Made| {
            Issuing::new(
                &root.certificate_pem,
                certificate,
                signer(key),
                "td.example",
            )
            .unwrap_err()
        };
        assert_eq!(
            refused(&root, &issuing.certificate_pem, &other),
            IssuerError::Unfit("the key is not the certificate's")
        );
        assert_eq!(
            refused(&other_root, &issuing.certificate_pem, &issuing),
            IssuerError::Unfit("the root did not issue it")
        );
        assert_eq!(
            refused(&root, &root.certificate_pem, &root),
            IssuerError::Unfit("not a critical CA:TRUE with pathLen 0")
        );
        let two = format!("{}{}", issuing.certificate_pem, issuing.certificate_pem);
        assert_eq!(refused(&root, &two, &issuing), IssuerError::Pem);
    }

    #[test]
    fn a_root_signs_with_its_own_key_only() {
        let (root, issuing) = made((3650, 30));
        let parts = (root.certificate_pem.as_str(), &issuing.key[..]);
        assert_eq!(
            new_issuing(parts, "td.example", Timestamp::from_millis(NOW), 1).unwrap_err(),
            IssuerError::Unfit("the key is not the root's")
        );
        let parts = (root.certificate_pem.as_str(), &root.key[..]);
        let late = Timestamp::from_millis(NOW + 3651 * 86_400_000);
        assert_eq!(
            new_issuing(parts, "td.example", late, 1).unwrap_err(),
            IssuerError::Unfit("the root has ended")
        );
    }
}
