//! The caller's half of a credential: its key pair, and an ask that carries the request for it. A key never leaves us.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use stint_wire::{Ask, CredentialAsk, CredentialKind};
use zeroize::Zeroizing;

use crate::Error;

/// A fresh P-256 private key for one certificate.
pub struct CertificateKey(Zeroizing<String>);

impl CertificateKey {
    /// PKCS#8, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey(P-256)")
    }
}

/// An ask for a certificate, with a new key and a CSR that says nothing but the key: the grant alone decides the rest.
///
/// # Errors
/// [`Error::Key`] if no key could be made.
pub fn x509<R: Into<String>>(
    action: impl Into<String>,
    resources: impl IntoIterator<Item = R>,
) -> Result<(CertificateKey, Ask), Error> {
    let key = KeyPair::generate().map_err(|_rcgen| Error::Key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .map_err(|_rcgen| Error::Key)?;
    let pem = CertificateKey(Zeroizing::new(key.serialize_pem()));
    let credential = CredentialAsk {
        csr: Some(csr),
        ..bare(CredentialKind::X509)
    };
    Ok((pem, ask(action.into(), resources, credential)))
}

/// An ask for a JWT for one audience.
pub fn jwt<R: Into<String>>(
    action: impl Into<String>,
    resources: impl IntoIterator<Item = R>,
    audience: impl Into<String>,
) -> Ask {
    let credential = CredentialAsk {
        audience: Some(audience.into()),
        ..bare(CredentialKind::Jwt)
    };
    ask(action.into(), resources, credential)
}

fn bare(kind: CredentialKind) -> CredentialAsk {
    CredentialAsk {
        kind,
        csr: None,
        spki: None,
        profile: None,
        audience: None,
    }
}

fn ask<R: Into<String>>(
    action: String,
    resources: impl IntoIterator<Item = R>,
    credential: CredentialAsk,
) -> Ask {
    Ask {
        action,
        resources: resources.into_iter().map(Into::into).collect(),
        credential,
        input: None,
        ttl_s: None,
        reason: None,
        task: None,
        audience: None,
        on_behalf_of: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{jwt, x509};

    #[test]
    fn every_certificate_has_its_own_key_and_the_csr_names_nobody() {
        let (one, ask) = x509("deploy", ["Environment::prod/web"]).unwrap();
        let (two, _) = x509("deploy", ["Environment::prod/web"]).unwrap();
        assert!(one.pem().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_ne!(one.pem(), two.pem());
        let csr = ask.credential.csr.unwrap();
        let read = rcgen::CertificateSigningRequestParams::from_pem(&csr).unwrap();
        assert_eq!(read.params.distinguished_name.iter().count(), 0);
        assert!(read.params.subject_alt_names.is_empty());
    }

    #[test]
    fn a_token_names_its_audience() {
        let ask = jwt("call", ["Api::crm"], "https://crm.acme.dev");
        assert_eq!(
            ask.credential.audience.as_deref(),
            Some("https://crm.acme.dev")
        );
        assert_eq!(ask.credential.csr, None);
    }
}
