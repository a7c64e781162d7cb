//! What a grant must be before its caller gets to see it: of the kind that was asked for and, a certificate, for the key
//! that asked, on a path to the trust domain's root. A JWT is judged by whoever it is for, who has the keys for that.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use stint_wire::{Ask, Credential, CredentialAsk, CredentialKind, Granted};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use crate::{Error, Fingerprint};

/// Checks `granted` against its ask, and against the pin if there is one. `now`: the broker's time, seconds since 1970.
///
/// # Errors
/// [`Error::Fingerprint`] for another root, [`Error::Unfit`] for anything else.
pub(crate) fn check(
    ask: &Ask,
    granted: &Granted,
    pinned: Option<Fingerprint>,
    now: i64,
) -> Result<(), Error> {
    if let Some(pinned) = pinned {
        pinned.check(&granted.trust_bundle)?;
    }
    match (ask.credential.kind, &granted.credential) {
        (CredentialKind::Jwt, Credential::Jwt { .. }) => Ok(()),
        (
            CredentialKind::X509,
            Credential::X509 {
                certificate, chain, ..
            },
        ) => leaf(
            &key(&ask.credential).ok_or(Error::Unfit("the ask has no key to compare"))?,
            certificate,
            chain,
            &granted.trust_bundle,
            now,
        ),
        _ => Err(Error::Unfit("the credential is of another kind")),
    }
}

/// The certificate carries `key` and leads to a root in `bundle`, for a client or a server.
fn leaf(
    key: &[u8],
    certificate: &str,
    chain: &[String],
    bundle: &str,
    now: i64,
) -> Result<(), Error> {
    let unreadable = || Error::Unfit("a certificate cannot be read");
    let read = |pem: &str| {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_pem| unreadable())
    };
    let (leaf, chain, roots) = (read(certificate)?, read(&chain.concat())?, read(bundle)?);
    let [leaf] = leaf.as_slice() else {
        return Err(unreadable());
    };
    let leaf = EndEntityCert::try_from(leaf).map_err(|_der| unreadable())?;
    if leaf.subject_public_key_info().as_ref() != key {
        return Err(Error::Unfit("the certificate is for another key"));
    }
    let anchors = roots
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_der| unreadable())?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    let leads = |usage| {
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &chain,
            now,
            usage,
            None,
            None,
        )
        .is_ok()
    };
    if leads(KeyUsage::client_auth()) || leads(KeyUsage::server_auth()) {
        Ok(())
    } else {
        Err(Error::Unfit(
            "the certificate does not lead to the trust domain's root",
        ))
    }
}

/// The SubjectPublicKeyInfo that was sent, DER.
fn key(ask: &CredentialAsk) -> Option<Vec<u8>> {
    let base64 = |text: &str| {
        let text: String = text.split_ascii_whitespace().collect();
        BASE64.decode(text).ok()
    };
    let Some(csr) = &ask.csr else {
        return base64(ask.spki.as_deref()?);
    };
    let der = match parse_x509_pem(csr.as_bytes()) {
        Ok((_, pem)) => pem.contents,
        Err(_not_pem) => base64(csr)?,
    };
    let (_, request) = X509CertificationRequest::from_der(&der).ok()?;
    Some(request.certification_request_info.subject_pki.raw.to_vec())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateSigningRequestParams,
        ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
    };
    use serde_json::json;
    use stint_wire::{Ask, Granted};

    use super::check;
    use crate::{Error, Fingerprint, jwt, x509};

    /// 2030-01-01, within what the roots and leaves below are valid for.
    const NOW: i64 = 1_893_456_000;

    struct Root {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Root {
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&key).unwrap().pem();
            let issuer = Issuer::new(params, key);
            Self { pem, issuer }
        }

        fn pin(&self) -> Option<Fingerprint> {
            Fingerprint::of_pem(&self.pem)
        }

        /// What a broker with this root grants, life and all.
        fn grant(&self, ask: &Ask) -> Granted {
            let csr = ask.credential.csr.as_deref().unwrap();
            let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
            request.params.not_after = date_time_ymd(2031, 1, 1);
            request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let leaf = request.signed_by(&self.issuer).unwrap().pem();
            self.granted(&json!(
                {"kind": "x509", "certificate": leaf, "chain": [], "serial": "", "spiffe_id": ""}
            ))
        }

        fn granted(&self, credential: &serde_json::Value) -> Granted {
            serde_json::from_value(json!({
                "outcome": "permit", "grant": "gr_1", "task": "task_1", "decision": "dec_1", "request": null,
                "credential": credential, "not_before": "", "expires_at": "", "renew_after": "",
                "approval_ends_at": null, "trust_bundle": self.pem, "policy_version": "",
                "ledger": {"seq": 1, "receipt": ""},
            }))
            .unwrap()
        }
    }

    fn ask() -> Ask {
        x509("deploy", ["Environment::prod/web"]).unwrap().1
    }

    fn unfit(result: Result<(), Error>) -> &'static str {
        match result {
            Err(Error::Unfit(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_grant_for_our_key_under_the_pinned_root_is_taken() {
        let (root, ask) = (Root::new(), ask());
        let granted = root.grant(&ask);
        check(&ask, &granted, root.pin(), NOW).unwrap();
        check(&ask, &granted, None, NOW).unwrap();
    }

    #[test]
    fn a_bundle_is_the_pinned_root_and_nothing_beside_it() {
        let (root, other, ask) = (Root::new(), Root::new(), ask());
        let mut granted = root.grant(&ask);
        assert!(matches!(
            check(&ask, &granted, other.pin(), NOW),
            Err(Error::Fingerprint { .. })
        ));
        granted.trust_bundle.push_str(&other.pem);
        unfit(check(&ask, &granted, root.pin(), NOW));
        let token = json!({"kind": "jwt", "token": "a.b.c", "audience": "a", "jti": "j"});
        let ask = jwt("call", ["Api::crm"], "a");
        assert!(matches!(
            check(&ask, &root.granted(&token), other.pin(), NOW),
            Err(Error::Fingerprint { .. })
        ));
        check(&ask, &root.granted(&token), root.pin(), NOW).unwrap();
    }

    #[test]
    fn a_certificate_is_for_our_key_and_leads_to_the_root_now() {
        let (root, other, ours) = (Root::new(), Root::new(), ask());
        let for_another = root.grant(&ask());
        assert!(unfit(check(&ours, &for_another, root.pin(), NOW)).contains("another key"));
        let mut by_another = other.grant(&ours);
        by_another.trust_bundle.clone_from(&root.pem);
        assert!(unfit(check(&ours, &by_another, root.pin(), NOW)).contains("root"));
        let later = NOW + 2 * 366 * 86_400;
        assert!(unfit(check(&ours, &root.grant(&ours), root.pin(), later)).contains("root"));
    }

    #[test]
    fn the_key_is_found_however_it_was_sent() {
        let pem = ask().credential;
        let text = pem.csr.as_deref().unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = pem.clone();
        der.csr = Some(body);
        assert!(super::key(&pem).is_some());
        assert_eq!(super::key(&der), super::key(&pem));
    }

    #[test]
    fn another_kind_is_not_what_was_asked_for() {
        let root = Root::new();
        let granted = root.grant(&ask());
        let ask = jwt("call", ["Api::crm"], "a");
        assert!(unfit(check(&ask, &granted, None, NOW)).contains("kind"));
    }
}
