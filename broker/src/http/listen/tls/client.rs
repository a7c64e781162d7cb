//! What the handshake wants of a client's certificate: proof of its key, and nothing else.
//!
//! The chain is judged in `authenticate`, so that a bad certificate fails like other evidence (SECURITY.md §4): a
//! handshake that told good chains from bad ones would say so to strangers.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Takes any chain of a bounded size whose first key signed the handshake.
#[derive(Debug)]
pub(super) struct ProofOnly {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ProofOnly {
    pub(super) fn new(provider: &CryptoProvider) -> ProofOnly {
        ProofOnly {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for ProofOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: which authorities count is not told.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes: usize = rest.iter().map(|it| it.len()).sum::<usize>() + leaf.len();
        if rest.len() >= MAX_CHAIN || bytes > MAX_BYTES {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Certificates in a chain: depth 4 and a root that need not have been sent (SECURITY.md §4).
const MAX_CHAIN: usize = 5;
/// Bytes of a chain: they are kept as long as the connection is.
const MAX_BYTES: usize = 32 * 1024;
