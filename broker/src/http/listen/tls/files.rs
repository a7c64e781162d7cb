//! Certificate and key, from their files to what can be served, and what an operator should know of them.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use der::Decode as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use stint_policy::Timestamp;
use x509_cert::Certificate;

use super::TlsError;
use crate::config::{SecretRef, TlsFiles};

/// A chain whose first certificate is good now, and a key.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    until: Timestamp,
    cert: String,
}

impl Loaded {
    /// Reads both.
    ///
    /// # Errors
    /// [`TlsError`]; that they belong together is seen where they are put together.
    pub(super) fn read(files: &TlsFiles, now: Timestamp) -> Result<Loaded, TlsError> {
        let path = &files.cert;
        let form = |why: String| TlsError::Form {
            what: format!("`{}`", path.display()),
            wanted: "a certificate and its chain",
            why,
        };
        let pem = contents(path).map_err(|source| TlsError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| form(error.to_string()))?;
        let leaf = chain
            .first()
            .ok_or_else(|| form("there is none".to_owned()))?;
        let leaf = Certificate::from_der(leaf).map_err(|error| form(error.to_string()))?;
        let (from, until) = validity(&leaf).ok_or_else(|| form("its times".to_owned()))?;
        if now < from || until < now {
            return Err(TlsError::Time {
                path: path.clone(),
                from: from.rfc3339(),
                until: until.rfc3339(),
            });
        }
        Ok(Loaded {
            key: key(&files.key)?,
            chain,
            until,
            cert: path.display().to_string(),
        })
    }

    /// What is accepted and risky.
    pub(super) fn warnings(&self, host: &str, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        let cert = &self.cert;
        let named = self.chain.first().is_some_and(|leaf| names(leaf, host));
        if !named {
            warnings.push(format!(
                "warning   [server] tls: the certificate in `{cert}` does not name `{host}`, the host of `url`: \
                 clients will refuse it"
            ));
        }
        if self.until.as_millis().saturating_sub(now.as_millis()) < SOON_MS {
            let until = self.until.rfc3339();
            warnings.push(format!(
                "warning   [server] tls: the certificate in `{cert}` ends soon: {until}"
            ));
        }
        warnings
    }
}

fn key(secret: &SecretRef) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = secret.read()?;
    #[expect(clippy::disallowed_methods, reason = "the TLS library takes the key")]
    let key = PrivateKeyDer::from_pem_slice(pem.expose());
    key.map_err(|error| TlsError::Form {
        what: secret.to_string(),
        wanted: "a private key",
        // No more than the kind of fault: what is in there may be a key all the same.
        why: match error {
            rustls::pki_types::pem::Error::NoItemsFound => "there is none".to_owned(),
            _ => "it is broken".to_owned(),
        },
    })
}

fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn validity(leaf: &Certificate) -> Option<(Timestamp, Timestamp)> {
    let validity = leaf.tbs_certificate().validity();
    let time = |time: x509_cert::time::Time| {
        let millis = i64::try_from(time.to_unix_duration().as_millis()).ok()?;
        Some(Timestamp::from_millis(millis))
    };
    Some((time(validity.not_before)?, time(validity.not_after)?))
}

fn names(leaf: &CertificateDer<'_>, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    let (Ok(parsed), Ok(name)) = (
        ParsedCertificate::try_from(leaf),
        ServerName::try_from(host),
    ) else {
        return false;
    };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}

/// How the files look from outside: enough to see that one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    cert: Option<Look>,
    key: Option<Look>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl Glance {
    pub(super) fn at(files: &TlsFiles) -> Glance {
        let look = |path: &Path| {
            let it = fs::metadata(path).ok()?;
            Some(Look {
                device: it.dev(),
                inode: it.ino(),
                modified: (it.mtime(), it.mtime_nsec()),
                length: it.len(),
            })
        };
        Glance {
            cert: look(&files.cert),
            key: files.key.path().and_then(|path| look(&path)),
        }
    }
}

/// A chain of five certificates with long names is a tenth of it.
const LARGEST: u64 = 256 * 1024;

/// Seven days: a renewal that failed once can still be mended.
const SOON_MS: i64 = 7 * 86_400 * 1_000;
