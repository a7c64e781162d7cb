//! Before the first grant: every profile is minted once, under a throw-away root and issuing CA made
//! as the real ones are, and the chain is judged by rustls-webpki; the bytes under the real issuer's
//! name are read back by the lint. A mistake in a profile, in the parts or in an encoder stops the
//! start, not a deployment at night.

use std::{sync::Arc, time::Duration};

use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use stint_policy::Timestamp;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use super::{Authority, SetupError};
use crate::{
    issuer::{self, IssuerError, Issuing},
    jwt, lint,
    profile::{NameSource, Profile},
    scope::Scope,
    signer::{
        Algorithm, Signer,
        software::{self, SoftwareSigner},
    },
    subject::SubjectKey,
    x509::{self, Leaf, Serial},
};

/// Judges all profiles, and a token, before `authority` is handed out.
pub(super) fn rehearse(
    authority: &Authority,
    pointers: (ObjectIdentifier, Option<&str>),
) -> Result<(), SetupError> {
    let stage = Stage::new(authority, pointers).map_err(SetupError::Certificates)?;
    for profile in authority.profiles.values() {
        stage
            .certificate(authority, profile)
            .map_err(|fault| SetupError::Rehearsal {
                profile: profile.name().to_owned(),
                fault,
            })?;
    }
    stage.token(authority).map_err(SetupError::Certificates)
}

/// A throw-away hierarchy and a throw-away key to certify.
struct Stage {
    issuing: Issuing,
    template: x509::Template,
    key: SubjectKey,
    spiffe_id: String,
    now: i64,
}

impl Stage {
    fn new(
        authority: &Authority,
        pointers: (ObjectIdentifier, Option<&str>),
    ) -> Result<Stage, String> {
        let domain = &authority.trust_domain;
        // INVARIANT: no clock here. The first moment of the real issuing CA will do.
        let now = authority.issuing.not_before;
        let issuing = throw_away(domain, now).map_err(text)?;
        let template = x509::Template::new(
            &issuing.subject,
            Algorithm::Es256,
            issuing.key_identifier,
            &authority.log,
            pointers,
        )
        .map_err(text)?;
        let key = signer().map_err(text)?;
        Ok(Stage {
            key: SubjectKey::from_spki_der(key.public_key_spki()).map_err(text)?,
            spiffe_id: format!("spiffe://{domain}/stint/rehearsal"),
            issuing,
            template,
            now,
        })
    }

    fn certificate(&self, authority: &Authority, profile: &Profile) -> Result<(), String> {
        let leaf = self.leaf(profile);
        let real = authority.certificates.tbs(&leaf).map_err(text)?;
        lint::certificate(&real, &authority.certificates, &leaf).map_err(text)?;

        let tbs = self.template.tbs(&leaf).map_err(text)?;
        lint::certificate(&tbs, &self.template, &leaf).map_err(text)?;
        #[expect(clippy::disallowed_methods, reason = "a throw-away key rehearses")]
        let signature = self.issuing.signer.sign(&tbs).map_err(text)?;
        let certificate = self.template.assemble(&tbs, &signature).map_err(text)?;
        if !x509::contains(&certificate, &tbs) {
            return Err("the certificate does not contain what was signed".into());
        }
        let usage = profile.usage();
        let client = usage.client.then(KeyUsage::client_auth);
        let server = usage.server.then(KeyUsage::server_auth);
        for usage in client.into_iter().chain(server) {
            verify(&self.issuing, &certificate, self.now, usage)?;
        }
        Ok(())
    }

    fn token(&self, authority: &Authority) -> Result<(), String> {
        let scope = scope();
        let own = jwt::Particulars {
            audience: "https://audience.example",
            issued: self.now,
            expires: self.now + LIFE,
            jti: "AAAAAAAAAAAAAAAAAAAAAA",
            confirmation: Some(super::BoundTo::Key([0; 32])),
        };
        let bound = super::seconds(own.expires);
        let tokens = &authority.tokens;
        let claims = jwt::Claims::of_caller(tokens.issuer(), &self.spiffe_id, &scope, own);
        read_back(tokens, &jwt::Payload::Access(claims), bound)?;
        for (audience, tokens) in authority.audiences.values() {
            let (flavour, fixed) = (audience.flavour(), audience.claims());
            if !flavour.binds() {
                let subject = &self.spiffe_id;
                let claims =
                    jwt::Identity::new(tokens.issuer(), subject, scope.task, own, (flavour, fixed));
                read_back(tokens, &jwt::Payload::Identity(claims), bound)?;
            }
        }
        Ok(())
    }

    fn leaf(&self, profile: &Profile) -> Leaf<'_> {
        let common_name = profile.cn_from().map(|source| match source {
            NameSource::Caller | NameSource::TaskName => "rehearsal",
            NameSource::Grant => "gr_00000000000000000000000000",
            NameSource::Task => "task_00000000000000000000000000",
        });
        let dns = profile
            .has_dns_names()
            .then(|| "rehearsal.example".to_owned());
        Leaf {
            serial: Serial::from_random([0x55; 20]),
            not_before: self.now,
            not_after: self.now + LIFE,
            spiffe_id: &self.spiffe_id,
            common_name: common_name.map(str::to_owned),
            dns_names: dns.into_iter().collect(),
            usage: profile.usage(),
            key: &self.key,
            scope: scope(),
        }
    }
}

fn read_back(
    tokens: &jwt::Template,
    claims: &jwt::Payload<'_>,
    bound: Timestamp,
) -> Result<(), String> {
    let input = tokens.signing_input(claims).ok_or("a token has no JSON")?;
    lint::token(&input, tokens, claims, bound).map_err(text)
}

/// Whether a path from `leaf` to the root stands at `now` for `usage`, as rustls sees it.
pub(super) fn verify(
    issuing: &Issuing,
    leaf: &[u8],
    now: i64,
    usage: KeyUsage,
) -> Result<(), String> {
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(text)?;
    let root = anchor_from_trusted_cert(&issuing.root).map_err(text)?;
    let now = Duration::from_secs(u64::try_from(now).map_err(text)?);
    leaf.verify_for_usage(
        &[ring::ECDSA_P256_SHA256, ring::ED25519],
        &[root],
        std::slice::from_ref(&issuing.certificate),
        UnixTime::since_unix_epoch(now),
        usage,
        None,
        None,
    )
    .map(|_path| ())
    .map_err(text)
}

fn throw_away(domain: &str, now: i64) -> Result<Issuing, IssuerError> {
    let now = Timestamp::from_millis(now.saturating_mul(1000));
    let root = issuer::new_root(domain, now, 1)?;
    let made = issuer::new_issuing((&root.certificate_pem, &root.key), domain, now, 1)?;
    let signer = SoftwareSigner::from_pkcs8(Algorithm::Es256, &made.key)
        .map_err(|e| IssuerError::Made(e.to_string()))?;
    Issuing::new(
        &root.certificate_pem,
        &made.certificate_pem,
        Arc::new(signer),
        domain,
    )
}

fn signer() -> Result<SoftwareSigner, software::KeyRejected> {
    SoftwareSigner::from_pkcs8(Algorithm::Es256, &software::generate(Algorithm::Es256)?)
}

fn scope() -> Scope<'static> {
    let grant = "gr_00000000000000000000000000".to_owned();
    let resources = vec!["Rehearsal::\"a\"".to_owned(), "Rehearsal::\"b\"".to_owned()];
    Scope::new(grant, "rehearsal:1", resources).action("rehearse".to_owned())
}

fn text(fault: impl ToString) -> String {
    fault.to_string()
}

/// A minute: long enough to be a life.
const LIFE: i64 = 60;
