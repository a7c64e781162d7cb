//! TLS of the broker under test: a root of the tests' own, the listener's certificate under it, and clients that trust
//! it or show certificates.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A root that signs the listener's certificate. Real clocks and the tests' stand within its life.
pub struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

impl Pki {
    /// A new root, and a certificate for localhost in `folder`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "tests");
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self {
            root,
            folder: folder.to_owned(),
        };
        pki.renew(|_| ());
        pki
    }

    /// What goes into `[server]`.
    #[must_use]
    pub fn config(&self) -> String {
        format!(
            "tls = {{ cert = \"{}\", key = {{ file = \"{}\" }} }}",
            self.cert().display(),
            self.key().display()
        )
    }

    /// Where the listener's certificate is.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.folder.join("tls.pem")
    }

    /// Where its key is.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("tls.key")
    }

    /// Writes a new certificate and key, changed by `change`; the certificate, DER.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn renew(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut wanted = params(&["localhost", "127.0.0.1"]);
        change(&mut wanted);
        let key = KeyPair::generate().unwrap();
        let cert = wanted.signed_by(&key, &self.root).unwrap();
        fs::write(self.cert(), cert.pem()).unwrap();
        fs::write(self.key(), key.serialize_pem()).unwrap();
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).unwrap();
        cert.der().to_vec()
    }

    /// The root, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A client that trusts the root, and shows `identity` (chain and key, PEM) if there is one.
    ///
    /// # Panics
    /// When `identity` is none.
    #[must_use]
    pub fn client(&self, identity: Option<&str>) -> Client {
        let root = Certificate::from_pem(self.root.pem().as_bytes()).unwrap();
        let mut client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([root]);
        if let Some(pem) = identity {
            client = client.identity(Identity::from_pem(pem.as_bytes()).unwrap());
        }
        client.build().unwrap()
    }

    /// The same for connections without a client: `alpn` is what it speaks.
    ///
    /// # Panics
    /// When `identity` is none.
    #[must_use]
    pub fn connect(&self, alpn: &[&str], identity: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let chain = CertificateDer::pem_slice_iter(pem.as_bytes());
                let chain = chain.collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A certificate that signs itself and its key, PEM: an identity nobody knows.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn stranger() -> String {
    let key = KeyPair::generate().unwrap();
    let cert = params(&["stranger.test"]).self_signed(&key).unwrap();
    format!("{}{}", cert.pem(), key.serialize_pem())
}

/// For these names, good from 2020 until 2096.
fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2096, 1, 1);
    params
}
