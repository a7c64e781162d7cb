//! What an authority is made of, and the checks that make it one. All of them are done at start; the
//! walk finds nothing left to check but the grant at hand.

use std::{collections::BTreeMap, sync::Arc};

use stint_policy::Seconds;

use super::{Authority, rehearsal};
use crate::{
    audience::{Audience, Flavour},
    issuer::Issuing,
    jwt,
    profile::Profile,
    signer::Signer,
    x509,
};

/// What an [`Authority`] is made of.
#[derive(Debug)]
pub struct AuthorityParts {
    /// `td.example`: the issuing CA's, and the domain of every caller's SPIFFE ID.
    pub trust_domain: String,
    /// `[server] url`: `iss` of the tokens, byte for byte.
    pub url: String,
    /// The ledger's origin; a receipt of another log opens nothing.
    pub log: String,
    /// The issuing CA.
    pub issuing: Issuing,
    /// The keys of the tokens, one an algorithm. The first signs what no audience wants otherwise.
    pub jwt: Vec<Arc<dyn Signer>>,
    /// `[jwt] max_ttl`.
    pub jwt_max_ttl: Seconds,
    /// The `[audience]`s.
    pub audiences: Vec<Audience>,
    /// The `[ca.profile]`s.
    pub profiles: Vec<Profile>,
    /// `[ca] backdate`, at most 60 s.
    pub backdate: Seconds,
    /// `[server] pki_url`, without a slash at its end: where CRL and OCSP are to be found. Absent,
    /// certificates point nowhere.
    pub pki_url: Option<String>,
    /// `[ca] arc`: the operator's own arc for our extension's OID.
    pub arc: Option<String>,
    /// SPKIs, in DER, of keys of ours that are not in here (the ledger's): nobody is certified for
    /// them.
    pub own_keys: Vec<Vec<u8>>,
}

impl Authority {
    /// Checks the parts, then mints every profile once for a made-up grant, under a throw-away root
    /// that looks like the real one, and has foreign parsers and a path validator judge the chain.
    /// The real key signs nothing.
    ///
    /// # Errors
    /// [`SetupError`]: the operator mends it.
    pub fn new(parts: AuthorityParts) -> Result<Authority, SetupError> {
        let oid = x509::grant_oid(parts.arc.as_deref().unwrap_or(x509::DEFAULT_ARC));
        let oid = oid.ok_or(SetupError::Arc)?;
        if parts.backdate > MAX_BACKDATE {
            return Err(SetupError::Backdate(parts.backdate));
        }
        if parts.jwt_max_ttl.as_u32() == 0 {
            return Err(SetupError::MaxTtl);
        }
        let certificates = x509::Template::new(
            &parts.issuing.subject,
            parts.issuing.signer.algorithm(),
            parts.issuing.key_identifier,
            &parts.log,
            (oid, parts.pki_url.as_deref()),
        )
        .map_err(|fault| SetupError::Certificates(fault.to_string()))?;
        let default = parts.jwt.first().ok_or(SetupError::UnknownTokenKey)?;
        let tokens = jwt::Template::new(&parts.url, &**default, Flavour::AccessToken)
            .ok_or(SetupError::UnknownTokenKey)?;
        let audiences = by_aud(parts.audiences, &parts.jwt, &parts.url)?;

        let mut own_keys = parts.own_keys;
        own_keys.push(parts.issuing.signer.public_key_spki().to_vec());
        own_keys.push(parts.issuing.root_spki.clone());
        let keys = parts.jwt.iter();
        own_keys.extend(keys.map(|key| key.public_key_spki().to_vec()));
        let authority = Authority {
            chain_pem: Arc::from([parts.issuing.certificate_pem.clone()]),
            profiles: by_name(parts.profiles)?,
            issuing: parts.issuing,
            certificates,
            jwt: parts.jwt,
            tokens,
            audiences,
            trust_domain: parts.trust_domain,
            log: parts.log,
            jwt_max_ttl: parts.jwt_max_ttl,
            backdate: parts.backdate,
            own_keys,
        };
        rehearsal::rehearse(&authority, (oid, parts.pki_url.as_deref()))?;
        Ok(authority)
    }
}

/// Why an authority cannot be. The operator mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// `arc` is not an OID with parts of at most 31 bits.
    #[error("`arc` is no OID whose parts have at most 31 bits")]
    Arc,
    /// More than a minute.
    #[error("`backdate` is at most 60s, not `{0}`")]
    Backdate(Seconds),
    /// Two audiences of one `aud`.
    #[error("two audiences have the `aud` `{0}`")]
    AudienceTwice(String),
    /// An audience wants an algorithm no key is there for.
    #[error("[audience.{audience}] wants {alg}, and there is no such key")]
    AudienceKey {
        /// Its name.
        audience: String,
        /// The algorithm, in JOSE's words.
        alg: &'static str,
    },
    /// The parts give no certificate.
    #[error("certificates cannot be made of these parts: {0}")]
    Certificates(String),
    /// `[jwt] max_ttl` is zero.
    #[error("`max_ttl` of tokens is zero")]
    MaxTtl,
    /// Two profiles of one name.
    #[error("there are two profiles `{0}`")]
    ProfileTwice(String),
    /// The made-up certificate of a profile was not accepted.
    #[error("a certificate of profile `{profile}` was refused: {fault}")]
    Rehearsal {
        /// The profile's name.
        profile: String,
        /// What a foreign parser said of it.
        fault: String,
    },
    /// The token key's public half is of no kind we know.
    #[error("the token key is of an unknown kind")]
    UnknownTokenKey,
}

fn by_aud(
    audiences: Vec<Audience>,
    keys: &[Arc<dyn Signer>],
    url: &str,
) -> Result<BTreeMap<String, (Audience, jwt::Template)>, SetupError> {
    let mut by_aud = BTreeMap::new();
    for audience in audiences {
        let key = keys
            .iter()
            .find(|key| key.algorithm() == audience.algorithm());
        let template = key.and_then(|key| jwt::Template::new(url, &**key, audience.flavour()));
        let template = template.ok_or_else(|| SetupError::AudienceKey {
            audience: audience.name().to_owned(),
            alg: audience.algorithm().jose(),
        })?;
        let aud = audience.aud().to_owned();
        if by_aud.insert(aud.clone(), (audience, template)).is_some() {
            return Err(SetupError::AudienceTwice(aud));
        }
    }
    Ok(by_aud)
}

fn by_name(profiles: Vec<Profile>) -> Result<BTreeMap<String, Profile>, SetupError> {
    let mut named = BTreeMap::new();
    for profile in profiles {
        if let Some(twice) = named.insert(profile.name().to_owned(), profile) {
            return Err(SetupError::ProfileTwice(twice.name().to_owned()));
        }
    }
    Ok(named)
}

/// DESIGN.md §7.
const MAX_BACKDATE: Seconds = Seconds::new(60);
