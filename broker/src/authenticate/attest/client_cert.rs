//! Client certificates of an existing PKI: the handshake proved the key, and here the chain is judged (IDENTITY.md §4,
//! SECURITY.md §4). To the operator's own roots alone, at the walk's `now`, without dialling anybody: neither an issuer's
//! certificate nor a revocation list is ever fetched from where a certificate says.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::HEXLOWER;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use stint_policy::{Attributes, SpiffeId, Timestamp};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use super::certificate::Read;
use super::revocation::{Revocation, strict};
use super::{Attested, Attestor, Cause};
use crate::authenticate::Seen;
use crate::authenticate::claims::is_text;
use crate::authenticate::entry::fault::{Fault, Faults};
use crate::authenticate::keys::sha256;
use crate::config::Attest;

/// The attestor of `kind = "client-cert"`.
#[derive(Debug)]
pub(super) struct ClientCert {
    anchors: Vec<TrustAnchor<'static>>,
    /// Subjects of the anchors, DER.
    subjects: BTreeSet<Vec<u8>>,
    /// The trust domain whose SPIFFE IDs give `{spiffe_path}`.
    theirs: Option<String>,
    /// Ours: what we issued is no evidence.
    ours: String,
    revocation: Option<Revocation>,
}

impl ClientCert {
    /// Reads roots and revocation lists.
    ///
    /// # Errors
    /// What of the bundle or the lists is not readable, is no CA, or has a key we do not calculate with.
    pub(super) fn build(config: &Attest, ours: &str) -> Result<ClientCert, Vec<Fault>> {
        let mut faults = Faults::default();
        let theirs = config
            .trust_domain
            .as_ref()
            .map(|it| it.as_str().to_owned());
        if theirs.as_deref() == Some(ours) {
            let text = "is this broker's own: what Stint issued is no evidence";
            faults.push(Fault::new("trust_domain", text));
        }
        let (mut anchors, mut subjects) = (Vec::new(), BTreeSet::new());
        for (root, subject) in faults.keep(roots(&config.bundle)).into_iter().flatten() {
            anchors.push(root);
            subjects.insert(subject);
        }
        let revocation = match config.crl.as_slice() {
            [] => None,
            files => faults.keep(Revocation::read(files)),
        };
        faults.or(ClientCert {
            anchors,
            subjects,
            theirs,
            ours: format!("spiffe://{ours}/"),
            revocation,
        })
    }

    /// The names that count: one URI at most, and none that we gave ourselves.
    fn check_names(&self, leaf: &Read) -> Result<(), Cause> {
        let printable = |name: &String| is_text(name);
        let ours = |uri: &String| uri.starts_with(&self.ours);
        let readable = leaf.uris.iter().chain(&leaf.dns).all(printable);
        match leaf.uris.len() > 1 || !readable || leaf.uris.iter().any(ours) {
            true => Err(Cause::Name),
            false => Ok(()),
        }
    }

    /// A path to a root of the bundle, each certificate of it valid at `now` and, where lists are configured, not
    /// revoked.
    fn check_path(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Cause> {
        let [leaf, rest @ ..] = chain else {
            return Err(Cause::Form);
        };
        let leaf = EndEntityCert::try_from(leaf).or(Err(Cause::Form))?;
        let seconds = u64::try_from(now.as_secs()).or(Err(Cause::Path))?;
        let lists = self.revocation.as_ref().map(Revocation::lists);
        let lists: Option<Vec<_>> = lists.as_deref().map(|lists| lists.iter().collect());
        let revocation = match &lists {
            Some(lists) => Some(strict(lists).ok_or(Cause::Revoked)?),
            None => None,
        };
        let path = leaf
            .verify_for_usage(
                ALGORITHMS,
                &self.anchors,
                rest,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                KeyUsage::client_auth(),
                revocation,
                None,
            )
            .map_err(|error| cause(&error))?;
        match path.intermediate_certificates().count() < MAX_DEPTH {
            true => Ok(()),
            false => Err(Cause::Depth),
        }
    }

    fn fields(&self, leaf: &Read) -> Attributes {
        let mut fields = Attributes::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                fields.insert(name.to_owned(), value.into());
            }
        };
        put("issuer_sha256", &HEXLOWER.encode(&sha256(&leaf.issuer)));
        put("spki_sha256", &HEXLOWER.encode(&leaf.spki));
        put("serial", &leaf.serial);
        if let [uri] = leaf.uris.as_slice() {
            put("uri", uri);
            put("spiffe_path", self.spiffe_path(uri).unwrap_or_default());
        }
        // Two spellings of one name would be two callers: one of them is no name here.
        if let [name] = leaf.dns.as_slice()
            && !name.bytes().any(|b| b.is_ascii_uppercase())
        {
            put("dns", name);
        }
        fields
    }

    /// The path of a SPIFFE ID of their trust domain, without the first slash.
    fn spiffe_path<'u>(&self, uri: &'u str) -> Option<&'u str> {
        let theirs = self.theirs.as_deref()?;
        let id = SpiffeId::parse(uri).ok()?;
        let path = uri.strip_prefix("spiffe://")?.strip_prefix(theirs)?;
        (id.trust_domain() == theirs)
            .then_some(path)?
            .strip_prefix('/')
    }
}

impl Attestor for ClientCert {
    fn kind(&self) -> &'static str {
        "client-cert"
    }

    fn knows(&self, chain: &[CertificateDer<'_>]) -> bool {
        let reads = chain.iter().take(MOST_CERTIFICATES).map(Read::of);
        reads.flatten().any(|it| self.subjects.contains(&it.issuer))
    }

    fn attest(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Attested, Cause> {
        let bytes: usize = chain.iter().map(|it| it.len()).sum();
        if chain.len() > MOST_CERTIFICATES || bytes > MAX_BYTES {
            return Err(Cause::Depth);
        }
        // Every key, before any of them is calculated with.
        let read = chain.iter().map(Read::of).collect::<Result<Vec<_>, _>>()?;
        let leaf = read.first().ok_or(Cause::Form)?;
        if !leaf.is_for_clients() {
            return Err(Cause::Usage);
        }
        self.check_names(leaf)?;
        self.check_path(chain, now)?;
        Ok(Attested {
            fields: self.fields(leaf),
            selectors: selectors(leaf),
            proof: leaf.proof(),
            seen: Seen {
                digest: leaf.digest,
                issued: leaf.not_before,
                expires: leaf.not_after,
                key: leaf.spki,
            },
        })
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.revocation.as_ref().is_some_and(|it| it.is_due(now))
    }

    fn refresh(&self) {
        if let Some(revocation) = &self.revocation {
            revocation.refresh();
        }
    }
}

/// `x509:NAME:VALUE`, the words of IDENTITY.md §4.
fn selectors(leaf: &Read) -> BTreeSet<String> {
    let named = |name: &'static str| move |value: &String| format!("x509:{name}:{value}");
    let uris = leaf.uris.iter().map(named("uri"));
    let dns = leaf.dns.iter().map(named("dns"));
    let mut all: BTreeSet<String> = uris.chain(dns).collect();
    let issuer = HEXLOWER.encode(&sha256(&leaf.issuer));
    all.insert(format!("x509:issuer_sha256:{issuer}"));
    all.insert(format!("x509:spki_sha256:{}", HEXLOWER.encode(&leaf.spki)));
    all.insert(format!("x509:serial:{}", leaf.serial));
    all
}

fn cause(error: &webpki::Error) -> Cause {
    use webpki::Error;
    match error {
        Error::CertRevoked
        | Error::UnknownRevocationStatus
        | Error::CrlExpired { .. }
        | Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner => Cause::Revoked,
        _ => Cause::Path, // for the log alone; the caller reads one sentence for all
    }
}

/// The roots with their subjects; each a CA whose key we calculate with.
fn roots(files: &[PathBuf]) -> Result<Vec<(TrustAnchor<'static>, Vec<u8>)>, Fault> {
    let mut roots = Vec::new();
    for file in files {
        let shown = file.display();
        let wrong = |text: String| Fault::new("bundle", format!("`{shown}` {text}"));
        let pem = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        for der in CertificateDer::pem_slice_iter(&pem) {
            let der = der.map_err(|error| wrong(format!("is not PEM: {error}")))?;
            let read = Read::of(&der).map_err(|cause| wrong(format!("cannot be used: {cause}")))?;
            if !read.is_root() {
                return Err(wrong("holds a certificate that is no CA".to_owned()));
            }
            let anchor = anchor_from_trusted_cert(&der);
            let anchor = anchor.map_err(|error| wrong(format!("cannot be used: {error}")))?;
            roots.push((anchor.to_owned(), read.subject));
        }
    }
    match roots.is_empty() {
        true => Err(Fault::new(
            "bundle",
            "holds no certificate: nobody could come in",
        )),
        false => Ok(roots),
    }
}

/// Signatures inside a chain: what ring verifies, on the keys that [`Read::of`] lets through.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Certificates of a path below the root, the leaf counted (IDENTITY.md §4).
const MAX_DEPTH: usize = 4;

/// As many, and a root that need not have been sent.
const MOST_CERTIFICATES: usize = MAX_DEPTH + 1;

/// Of all certificates together (IDENTITY.md §4).
const MAX_BYTES: usize = 16 * 1024;
