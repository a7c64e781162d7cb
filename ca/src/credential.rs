//! The two states of a credential: its exact bytes before, and itself after the signature.

use std::{fmt, sync::Arc};

use stint_audit::Digest;
use stint_policy::{CredentialKind, Grant, SpiffeId, Timestamp};

use crate::{jwt::Detail, scope::Scope, signer::Algorithm, x509::Serial};

/// The exact bytes of a credential, linted, with the grant they are of. Made by
/// [`Authority::prepare`](crate::Authority::prepare) alone; no Clone, no Serialize.
///
/// ```compile_fail
/// fn copy(unsigned: &stint_ca::Unsigned) -> stint_ca::Unsigned {
///     unsigned.clone()
/// }
/// ```
pub struct Unsigned {
    pub(crate) grant: Grant,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) form: Form,
}

/// What identifies the credential beside its bytes.
#[derive(Debug)]
pub(crate) enum Form {
    Jwt {
        jti: String,
        audience: String,
        algorithm: Algorithm,
    },
    X509 {
        serial: Serial,
        key: Digest,
    },
}

impl Unsigned {
    /// SHA-256 of the bytes to be signed: `tbs` of the `granted` entry (LEDGER.md §6).
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The grant, for the entry to tell of.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The first moment of the credential's life.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Its end, in whole seconds: the last second inside for a certificate, the first outside for a
    /// token. `exp` of the `granted` entry.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// What it will be.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        match self.form {
            Form::Jwt { .. } => CredentialKind::Jwt,
            Form::X509 { .. } => CredentialKind::X509,
        }
    }

    /// A certificate's serial: 40 lower-case hex digits.
    #[must_use]
    pub fn serial_hex(&self) -> Option<String> {
        match &self.form {
            Form::X509 { serial, .. } => Some(serial.hex()),
            Form::Jwt { .. } => None,
        }
    }

    /// A token's `jti`: 22 base64url characters.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        match &self.form {
            Form::Jwt { jti, .. } => Some(jti),
            Form::X509 { .. } => None,
        }
    }

    /// SHA-256 of a certificate's SPKI.
    #[must_use]
    pub fn key_digest(&self) -> Option<Digest> {
        match &self.form {
            Form::X509 { key, .. } => Some(*key),
            Form::Jwt { .. } => None,
        }
    }
}

impl fmt::Debug for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsigned")
            .field("grant", &self.grant.id())
            .field("digest", &self.digest)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// What the caller came for. Made by [`Authority::sign`](crate::Authority::sign) alone.
pub enum Credential {
    /// An access token (RFC 9068).
    #[non_exhaustive]
    Jwt {
        /// The compact JWS. A secret, unless it is bound.
        token: String,
        /// The one audience.
        audience: String,
        /// 22 base64url characters.
        jti: String,
        /// What it is of.
        grant: Grant,
        /// `iat` and `nbf`.
        not_before: Timestamp,
        /// `exp`.
        not_after: Timestamp,
    },
    /// A certificate (RFC 5280, SPIFFE X.509-SVID).
    #[non_exhaustive]
    X509 {
        /// One PEM block.
        certificate_pem: String,
        /// The issuing CA, one PEM block; never the root.
        chain_pem: Arc<[String]>,
        /// 40 lower-case hex digits.
        serial: String,
        /// The one URI name.
        spiffe_id: SpiffeId,
        /// What it is of.
        grant: Grant,
        /// `notBefore`.
        not_before: Timestamp,
        /// `notAfter`, the last second inside.
        not_after: Timestamp,
    },
}

impl Credential {
    /// What it is of.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        match self {
            Credential::Jwt { grant, .. } | Credential::X509 { grant, .. } => grant,
        }
    }

    /// What was granted, for `ttl_s` seconds, as an access token's `authorization_details` say it (RFC 9396,
    /// PROTOCOLS.md §3.2): canonical uids, sorted; their hash where there are more than 32.
    #[must_use]
    pub fn authorization_details(&self, ttl_s: i64) -> serde_json::Value {
        serde_json::json!([Detail::of(&Scope::of(self.grant()), ttl_s)])
    }

    /// The first moment of its life.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        match self {
            Credential::Jwt { not_before, .. } | Credential::X509 { not_before, .. } => *not_before,
        }
    }

    /// Its end, as [`Unsigned::not_after`].
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        match self {
            Credential::Jwt { not_after, .. } | Credential::X509 { not_after, .. } => *not_after,
        }
    }
}

/// Names it without showing it.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, id) = match self {
            Credential::Jwt { jti, .. } => ("Jwt", jti),
            Credential::X509 { serial, .. } => ("X509", serial),
        };
        f.debug_struct(form).field("id", id).finish_non_exhaustive()
    }
}
