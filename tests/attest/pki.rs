//! Somebody's PKI: a root, what it signs, and the table that lets its certificates in.

use std::fmt::Write as _;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use stint_tests::TestBroker;
use stint_tests::broker::Setup;
use tempfile::TempDir;

/// A CA of the PKI.
pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

/// The name in the certificates of web's builds.
pub(crate) const WEB: &str = "spiffe://corp.example/build/web";

/// A PKI whose files lie in a folder of their own.
pub(crate) struct Corp {
    folder: TempDir,
    pub(crate) root: Ca,
}

/// A certificate with its key and what stands between it and the root.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Corp {
    pub(crate) fn new() -> Corp {
        let corp = Corp {
            folder: tempfile::tempdir().unwrap(),
            root: ca("corp root", None),
        };
        std::fs::write(corp.path("roots.pem"), corp.root.pem()).unwrap();
        corp
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `[attest.corp]`, with these lines more.
    pub(crate) fn table(&self, lines: &str) -> String {
        let mut table = String::from("[attest.corp]\nkind = \"client-cert\"\n");
        let bundle = self.path("roots.pem");
        writeln!(table, "bundle = [\"{}\"]", bundle.display()).unwrap();
        writeln!(table, "trust_domain = \"corp.example\"\n{lines}").unwrap();
        table
    }

    /// A broker with TLS that lets it in: one certificate, one task.
    pub(crate) fn broker(&self, lines: &str) -> Setup {
        let task = "task = \"{issuer_sha256}/{serial}\"";
        TestBroker::with()
            .tls()
            .tables(&self.table(&format!("{task}\n{lines}")))
            .policy(
                "corp.cedar",
                r#"@id("corp-staging") @owner("Group::\"release\"") @max_ttl("30m") @credential("x509,jwt")
permit (principal == Stint::Workload::"spiffe://acme.dev/corp/build/web", action == Action::"deploy", resource in Environment::"staging")
when { context.attested.contains("x509:uri:spiffe://corp.example/build/web") };
"#,
            )
    }

    /// A certificate of web's builds that the root signed, changed by `change`.
    pub(crate) fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = web();
        change(&mut params);
        signed(&params, &[&self.root])
    }

    /// A list of the root's, on which the serial `revoked` is, good until `until` (year, month, day).
    pub(crate) fn list(&self, revoked: &[u8], until: (i32, u8, u8)) -> String {
        list(&self.root, revoked, until)
    }
}

/// A list of `ca`.
pub(crate) fn list(ca: &Ca, revoked: &[u8], (year, month, day): (i32, u8, u8)) -> String {
    let made = date_time_ymd(2027, 2, 1);
    let params = CertificateRevocationListParams {
        this_update: made,
        next_update: date_time_ymd(year, month, day),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from_slice(revoked),
            revocation_time: made,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().pem().unwrap()
}

impl Leaf {
    /// Chain and key, PEM.
    pub(crate) fn identity(&self) -> String {
        let mut pem = String::new();
        for der in &self.chain {
            let base64 = data_encoding::BASE64.encode(der);
            writeln!(
                pem,
                "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----"
            )
            .unwrap();
        }
        pem + &self.key.serialize_pem()
    }
}

/// A CA under `above`, or a root.
pub(crate) fn ca(name: &str, above: Option<&Issuer<'_, KeyPair>>) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2096, 1, 1));
    let key = KeyPair::generate().unwrap();
    match above {
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).unwrap(),
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
    }
}

/// What web's builds carry: one URI name, for clients that sign, from 2027-02-01 to 2027-04-01.
pub(crate) fn web() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "web");
    params.subject_alt_names = vec![uri(WEB)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from_slice(&[0x5a, 0x11]));
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(2027, 2, 1), date_time_ymd(2027, 4, 1));
    params
}

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// A leaf by the last of `cas`, the first of which is a root and is not sent.
pub(crate) fn signed(params: &CertificateParams, cas: &[&Ca]) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let chain = chain_of(params, &key, cas);
    Leaf { chain, key }
}

/// The chain of a certificate of any public key.
pub(crate) fn chain_of(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    cas: &[&Ca],
) -> Vec<CertificateDer<'static>> {
    let (last, _) = cas.split_last().unwrap();
    let mut chain = vec![params.signed_by(key, last).unwrap().der().clone()];
    chain.extend(cas[1..].iter().rev().map(|ca| ca.der().clone()));
    chain
}
