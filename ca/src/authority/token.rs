//! Tokens: a grant for an audience becomes the signing input of the sort of JWT that this audience reads.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use stint_audit::Digest;
use stint_policy::{Binding, Grant, Timestamp};

use super::{Authority, BoundTo, PrepareError, SignError, seconds};
use crate::{
    audience::{Audience, Flavour},
    credential::{Credential, Form, Unsigned},
    jwt,
    lint::{self, LintError},
    scope::Scope,
    signer::{Algorithm, Signer},
};

impl Authority {
    pub(super) fn token(
        &self,
        grant: Grant,
        (jti, confirmation): ([u8; 16], Option<BoundTo>),
        claims: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<Unsigned, PrepareError> {
        let audience = grant.audience().ok_or(PrepareError::NoAudience)?.to_owned();
        let (own, template) = match self.audiences.get(&audience) {
            Some((own, template)) => (Some(own), template),
            None => (None, &self.tokens),
        };
        bindable(&grant, confirmation, self.flavour_of(&audience))?;
        let cap = own.map_or(self.jwt_max_ttl, |own| own.max_ttl().min(self.jwt_max_ttl));
        let bound = grant.not_after().min(now.plus(cap));
        let jti = BASE64URL_NOPAD.encode(&jti);
        let particulars = jwt::Particulars {
            audience: &audience,
            issued: now.as_secs(),
            expires: bound.as_secs(),
            jti: &jti,
            confirmation,
        };
        if particulars.expires <= particulars.issued {
            return Err(PrepareError::NoLife);
        }
        let subject = own.map(|own| own.subject(grant.caller(), claims));
        let subject = subject.transpose().map_err(PrepareError::Subject)?;
        let scope = Scope::of(&grant);
        let payload = payload(
            &grant,
            &scope,
            (template.issuer(), particulars),
            (own, subject.as_deref()),
        );
        let bytes = template.signing_input(&payload);
        let bytes = bytes.ok_or(LintError("payload"))?;
        lint::token(&bytes, template, &payload, bound)?;
        Ok(Unsigned {
            digest: Digest::of(&bytes),
            bytes,
            not_before: seconds(now.as_secs()),
            not_after: seconds(bound.as_secs()),
            form: Form::Jwt {
                jti,
                audience,
                algorithm: template.algorithm(),
            },
            grant,
        })
    }

    pub(super) fn audience(&self, aud: &str) -> Option<&Audience> {
        self.audiences.get(aud).map(|(audience, _)| audience)
    }

    fn token_key(&self, algorithm: Algorithm) -> Option<&dyn Signer> {
        let mut keys = self.jwt.iter();
        keys.find(|key| key.algorithm() == algorithm)
            .map(|key| &**key)
    }

    pub(super) fn sign_token(&self, unsigned: Unsigned) -> Result<Credential, SignError> {
        let Form::Jwt {
            jti,
            audience,
            algorithm,
        } = unsigned.form
        else {
            return Err(SignError::Mismatch);
        };
        let signer = self.token_key(algorithm).ok_or(SignError::Mismatch)?;
        #[expect(clippy::disallowed_methods, reason = "after the receipt was checked")]
        let signature = signer.sign(&unsigned.bytes)?;
        let token = jwt::assemble(unsigned.bytes, &signature).ok_or(SignError::Mismatch)?;
        Ok(Credential::Jwt {
            token,
            audience,
            jti,
            grant: unsigned.grant,
            not_before: unsigned.not_before,
            not_after: unsigned.not_after,
        })
    }
}

/// What the audience reads: who it is, by the name it has there, or what may be done.
fn payload<'a>(
    grant: &'a Grant,
    scope: &'a Scope<'a>,
    (issuer, own): (&'a str, jwt::Particulars<'a>),
    named: (Option<&'a Audience>, Option<&'a str>),
) -> jwt::Payload<'a> {
    match named {
        (Some(audience), Some(subject)) if !audience.flavour().binds() => {
            let fixed = (audience.flavour(), audience.claims());
            jwt::Payload::Identity(jwt::Identity::new(issuer, subject, scope.task, own, fixed))
        }
        (_, _) => jwt::Payload::Access(jwt::Claims::new(issuer, grant, scope, own)),
    }
}

/// A bound grant becomes a bound token; a flavour without `cnf` is for a grant that needs none (PROTOCOLS.md §3.8).
fn bindable(
    grant: &Grant,
    confirmation: Option<BoundTo>,
    flavour: Flavour,
) -> Result<(), PrepareError> {
    // Who acts for whom is said in `act`, and an identity token has none.
    if grant.subject().is_some() && !flavour.binds() {
        return Err(PrepareError::OtherKind);
    }
    match (grant.bind(), confirmation, flavour.binds()) {
        (Binding::Bearer, None, _) | (Binding::Bearer, Some(_), true) => Ok(()),
        (Binding::Dpop | Binding::Key, Some(BoundTo::Key(_)), true) => Ok(()),
        (Binding::Mtls, Some(BoundTo::Certificate(_)), true) => Ok(()),
        (Binding::Bearer, Some(_), false)
        | (Binding::Dpop | Binding::Key | Binding::Mtls, _, false) => Err(PrepareError::OtherKind),
        (Binding::Dpop | Binding::Key | Binding::Mtls, _, true) => Err(PrepareError::Unbound),
    }
}
