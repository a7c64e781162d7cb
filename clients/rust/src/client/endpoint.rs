//! Where a broker is, and how it is recognised.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::Error;

/// Where the broker is and how it is recognised.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its URL as users know it; proofs are bound to it.
    pub url: String,
    /// Who vouches for its TLS certificate.
    pub anchor: Anchor,
    /// The root of its trust domain, if pinned: no other is taken, neither as the broker's own before evidence is sent
    /// nor with a grant, and a certificate must lead to it.
    ///
    /// A root is public, so showing it proves nothing of who answers: that, and with it all else that is said (facts,
    /// refusals, holds, a JWT, whose signature is checked by its audience), rests on TLS and [`Endpoint::anchor`].
    pub fingerprint: Option<Fingerprint>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Endpoint {
    /// A broker with no pinned root and 30 s a call.
    #[must_use]
    pub fn new(url: impl Into<String>, anchor: Anchor) -> Self {
        Self {
            url: url.into(),
            anchor,
            fingerprint: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Who vouches for the broker's TLS certificate.
#[derive(Debug, Clone)]
pub enum Anchor {
    /// These CA certificates and no others, PEM.
    Pem(Vec<u8>),
    /// The machine's own.
    System,
}

/// SHA-256 of a root certificate's DER, written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of the one certificate in a PEM text; `None` if there is none, or a second.
    pub(crate) fn of_pem(pem: &str) -> Option<Self> {
        let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(only)), None) = (all.next(), all.next()) else {
            return None;
        };
        digest(&SHA256, &only).as_ref().try_into().ok().map(Self)
    }

    /// Compares it with the one certificate in `bundle`.
    ///
    /// # Errors
    /// [`Error::Fingerprint`] for another one, [`Error::Unfit`] for none or several.
    pub(crate) fn check(self, bundle: &str) -> Result<(), Error> {
        match Self::of_pem(bundle) {
            None => Err(Error::Unfit("its trust bundle is not one certificate")),
            Some(found) if found != self => Err(Error::Fingerprint {
                pinned: self,
                found,
            }),
            Some(_) => Ok(()),
        }
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex: Vec<u8> = text
            .strip_prefix("sha256:")
            .unwrap_or(text)
            .bytes()
            .filter(|byte| *byte != b':')
            .collect();
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let bytes: Option<Vec<u8>> = hex
            .chunks(2)
            .map(|pair| {
                pair.iter()
                    .try_fold(0u8, |sum, byte| Some(sum << 4 | digit(*byte)?))
            })
            .collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or("not `sha256:` and 64 hex digits")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
