//! The authority: [`prepare`](Authority::prepare) makes the exact bytes, [`sign`](Authority::sign)
//! signs them once they are recorded. There is no other road to a key.
//!
//! INVARIANT: no signature without the receipt of the very bytes (DESIGN §2.1), and no credential
//! that outlives its grant, its profile's cap or its issuing CA (§2.7).

use std::{collections::BTreeMap, sync::Arc};

use stint_audit::{Digest, Receipt};
use stint_policy::{Ceiling, CredentialKind, Grant, Seconds, SpiffeId, Timestamp};

use crate::{
    audience::Audience,
    credential::{Credential, Form, Unsigned},
    issuer::{self, Issuing},
    jwt, lint,
    profile::Profile,
    scope::Scope,
    signer::Signer,
    subject::SubjectKey,
    x509::{self, Leaf, Serial},
};

mod error;
mod facts;
mod parts;
mod rehearsal;
mod token;

pub use error::{PrepareError, SignError, Whose};
pub use parts::{AuthorityParts, SetupError};

/// Everything that issues, checked at start and unchanged after; nothing here is made per grant.
#[derive(Debug)]
pub struct Authority {
    issuing: Issuing,
    chain_pem: Arc<[String]>,
    certificates: x509::Template,
    /// The keys of the tokens, one an algorithm; the first is the default.
    jwt: Vec<Arc<dyn Signer>>,
    tokens: jwt::Template,
    /// By `aud`.
    audiences: BTreeMap<String, (Audience, jwt::Template)>,
    profiles: BTreeMap<String, Profile>,
    trust_domain: String,
    log: String,
    jwt_max_ttl: Seconds,
    backdate: Seconds,
    own_keys: Vec<Vec<u8>>,
}

/// What a grant is to become, with all that is drawn by chance: [`Authority::prepare`] is pure.
#[derive(Debug)]
pub enum Order {
    /// A token of its audience's flavour.
    Jwt {
        /// 128 random bits of its own.
        jti: [u8; 16],
        /// What it is bound to.
        confirmation: Option<BoundTo>,
        /// The caller's claims that are one text each; an audience's `sub_template` takes immutable ones of them.
        claims: BTreeMap<String, String>,
    },
    /// A certificate.
    X509 {
        /// The key it is for.
        key: SubjectKey,
        /// Fresh and random.
        serial: Serial,
    },
}

/// What a token is good with, and with nothing else: `cnf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundTo {
    /// The client certificate with this SHA-256 of its DER, by mutual TLS: `x5t#S256` (RFC 8705 §3.1).
    Certificate([u8; 32]),
    /// The key of this RFC 7638 thumbprint, by DPoP proofs: `jkt` (RFC 9449 §6.1).
    Key([u8; 32]),
}

impl Authority {
    /// The bounds this authority sets on a credential that begins at `now`: for policy to shorten
    /// the grant by and to name.
    ///
    /// `audience`: of a token.
    ///
    /// # Errors
    /// [`PrepareError::UnknownProfile`].
    pub fn ceilings(
        &self,
        kind: CredentialKind,
        (profile, audience): (&str, Option<&str>),
        now: Timestamp,
    ) -> Result<Vec<Ceiling>, PrepareError> {
        let ceiling = |name: &str, not_after| Ceiling {
            name: name.to_owned(),
            not_after,
        };
        match kind {
            CredentialKind::Jwt => {
                let own = audience.and_then(|aud| self.audience(aud));
                let own = own.map(|own| ceiling("audience", now.plus(own.max_ttl())));
                let all = ceiling("jwt", now.plus(self.jwt_max_ttl));
                Ok(std::iter::once(all).chain(own).collect())
            }
            CredentialKind::None => Ok(Vec::new()),
            CredentialKind::X509 => {
                let cap = self.profile(profile)?.max_ttl();
                let end = Timestamp::from_millis(self.issuing.not_after.saturating_mul(1000));
                Ok(vec![
                    ceiling("profile", now.plus(cap)),
                    ceiling("issuing_ca", end),
                ])
            }
        }
    }

    /// The exact bytes of the credential, read back by a foreign parser and held against the grant.
    /// Pure: the same arguments give the same bytes.
    ///
    /// # Errors
    /// [`PrepareError`]; nothing was signed and nothing is to be recorded but the refusal.
    pub fn prepare(
        &self,
        grant: Grant,
        order: Order,
        now: Timestamp,
    ) -> Result<Unsigned, PrepareError> {
        let ours = |id: &SpiffeId| id.trust_domain() == self.trust_domain;
        if !ours(grant.caller()) || !grant.subject().is_none_or(ours) {
            return Err(PrepareError::OtherTrustDomain);
        }
        match (grant.kind(), order) {
            (CredentialKind::X509, Order::X509 { key, serial }) => {
                self.certificate(grant, &key, serial, now)
            }
            (
                CredentialKind::Jwt,
                Order::Jwt {
                    jti,
                    confirmation,
                    claims,
                },
            ) => self.token(grant, (jti, confirmation), &claims, now),
            (CredentialKind::X509 | CredentialKind::Jwt | CredentialKind::None, _) => {
                Err(PrepareError::OtherKind)
            }
        }
    }

    /// Signs what is durable in the ledger: the only door to a key.
    ///
    /// # Errors
    /// [`SignError`]; nothing was released. [`SignError::Signer`] and [`SignError::Mismatch`] are
    /// faults after the record, which a `sign_failed` entry tells of; the others say that the
    /// receipt is for something else.
    pub fn sign(
        &self,
        unsigned: Unsigned,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<Credential, SignError> {
        self.admits(&unsigned, receipt, now)?;
        match unsigned.kind() {
            CredentialKind::X509 => self.sign_certificate(unsigned),
            CredentialKind::Jwt => self.sign_token(unsigned),
            CredentialKind::None => Err(SignError::Mismatch),
        }
    }

    fn profile(&self, name: &str) -> Result<&Profile, PrepareError> {
        self.profiles
            .get(name)
            .ok_or_else(|| PrepareError::UnknownProfile(name.to_owned()))
    }

    fn certificate(
        &self,
        grant: Grant,
        key: &SubjectKey,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Unsigned, PrepareError> {
        let profile = self.profile(grant.profile())?;
        if self.own_keys.iter().any(|own| own == key.spki_der()) {
            return Err(PrepareError::OurKey);
        }
        let (not_before, not_after) = self.validity(&grant, profile, now)?;
        let leaf = Leaf {
            serial,
            not_before,
            not_after,
            spiffe_id: grant.caller().as_str(),
            common_name: profile.common_name(&grant)?,
            dns_names: profile.dns_names(&grant)?,
            usage: profile.usage(),
            key,
            scope: Scope::of(&grant),
        };
        within(key, &leaf)?;
        leaf.scope.fits()?;
        let bytes = self.certificates.tbs(&leaf).map_err(PrepareError::Encode)?;
        lint::certificate(&bytes, &self.certificates, &leaf)?;
        Ok(Unsigned {
            digest: Digest::of(&bytes),
            bytes,
            not_before: seconds(not_before),
            not_after: seconds(not_after),
            form: Form::X509 {
                serial,
                key: key.digest(),
            },
            grant,
        })
    }

    /// Both ends in seconds, both inside: at most a minute back, and the least bound less a second.
    fn validity(
        &self,
        grant: &Grant,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<(i64, i64), PrepareError> {
        let (begin, end) = (self.issuing.not_before, self.issuing.not_after);
        if !(begin..=end).contains(&now.as_secs()) {
            return Err(PrepareError::IssuingCa);
        }
        let cap = now.plus(profile.max_ttl());
        let bound = grant.not_after().min(cap).as_secs().min(end);
        let not_after = bound - 1;
        let not_before = begin.max(now.as_secs() - i64::from(self.backdate.as_u32()));
        match not_after > now.as_secs() {
            true => Ok((not_before, not_after)),
            false => Err(PrepareError::NoLife),
        }
    }

    fn admits(
        &self,
        unsigned: &Unsigned,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<(), SignError> {
        let header = receipt.header();
        let granted = receipt.granted().ok_or(SignError::NotGranted)?;
        if *header.log != *self.log {
            return Err(SignError::OtherLog);
        }
        if granted.tbs != unsigned.digest || header.id != unsigned.grant.id().to_string() {
            return Err(SignError::OtherBytes);
        }
        let ends = i64::try_from(granted.exp).unwrap_or(i64::MAX);
        if ends.min(unsigned.not_after.as_millis()) <= now.as_millis() {
            return Err(SignError::Ended);
        }
        Ok(())
    }

    fn sign_certificate(&self, unsigned: Unsigned) -> Result<Credential, SignError> {
        let Form::X509 { serial, .. } = unsigned.form else {
            return Err(SignError::Mismatch);
        };
        #[expect(clippy::disallowed_methods, reason = "after the receipt was checked")]
        let signature = self.issuing.signer.sign(&unsigned.bytes)?;
        let certificate = self
            .certificates
            .assemble(&unsigned.bytes, &signature)
            .map_err(|_unencodable| SignError::Mismatch)?;
        if !x509::contains(&certificate, &unsigned.bytes) {
            return Err(SignError::Mismatch);
        }
        Ok(Credential::X509 {
            certificate_pem: issuer::pem(&certificate).map_err(|_too_long| SignError::Mismatch)?,
            chain_pem: Arc::clone(&self.chain_pem),
            serial: serial.hex(),
            spiffe_id: unsigned.grant.caller().clone(),
            grant: unsigned.grant,
            not_before: unsigned.not_before,
            not_after: unsigned.not_after,
        })
    }
}

/// What a request asked for is in the leaf, or it is refused: never trimmed (SECURITY.md §4).
fn within(key: &SubjectKey, leaf: &Leaf<'_>) -> Result<(), PrepareError> {
    let wishes = key.wishes();
    let uri = wishes.uris.iter().find(|uri| *uri != leaf.spiffe_id);
    let dns = wishes
        .dns
        .iter()
        .find(|name| !leaf.dns_names.contains(name));
    let client = (wishes.client && !leaf.usage.client).then_some("clientAuth");
    let server = (wishes.server && !leaf.usage.server).then_some("serverAuth");
    let beyond = uri
        .or(dns)
        .map(|name| format!("the name `{name}`"))
        .or(client.or(server).map(str::to_owned));
    match beyond {
        None => Ok(()),
        Some(beyond) => Err(PrepareError::BeyondGrant(beyond)),
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests;
