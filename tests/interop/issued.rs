//! Certificates of every kind we mint, as files: what the foreign programs of this folder read.

use std::path::{Path, PathBuf};

use rcgen::{KeyPair, SignatureAlgorithm};
use stint_tests::TestBroker;
use stint_tests::broker::Setup;
use stint_tests::keys;
use stint_wire::{Credential, Granted};
use tempfile::TempDir;

/// A certificate, its chain, and the key only its holder has.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) granted: Granted,
    pub(crate) leaf: PathBuf,
    pub(crate) issuing: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) folder: TempDir,
}

/// The leaves there are: what each is called here, its key, and its profile with what that is asked for.
pub(crate) const KINDS: [(&str, &SignatureAlgorithm, Option<&str>); 3] = [
    ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256, None),
    ("Ed25519", &rcgen::PKCS_ED25519, None),
    (
        "a profile with names",
        &rcgen::PKCS_ECDSA_P256_SHA256,
        Some("web"),
    ),
];

/// A broker that also names hosts, at the time of this machine: the programs have no other.
pub(crate) async fn broker() -> TestBroker {
    setup().start().await
}

fn setup() -> Setup {
    let host = r#"{"uid":{"type":"Host","id":"web.acme.dev"},"attrs":{},"parents":[]}"#;
    TestBroker::with()
        .real_time()
        .set("ca", r#"profile.web = { eku = ["client", "server"], dns_from = ["Host"], cn_from = "grant" }"#)
        .replace("schema.cedarschema", "@label(\"outside service\")", HOSTS)
        .replace("entities.json", r#"{"uid":{"type":"External""#, &format!(r#"{host},{{"uid":{{"type":"External""#))
        .policy("hosts.cedar", SERVE)
}

impl Issued {
    /// What acme/web gets for a new key.
    pub(crate) async fn ask(
        broker: &TestBroker,
        ttl: u32,
        algorithm: &'static SignatureAlgorithm,
        profile: Option<&str>,
    ) -> Issued {
        let key = keys::key(algorithm);
        let (action, resource) = match profile {
            None => ("deploy", "Environment::staging/web"),
            Some(_) => ("serve", "Host::\"web.acme.dev\""),
        };
        let csr = keys::csr_of(&key);
        let mut credential = serde_json::json!({ "kind": "x509", "csr": csr });
        if let Some(profile) = profile {
            credential["profile"] = profile.into();
        }
        let asking = broker.ci("acme/web").ask(action, resource).ttl(ttl);
        let granted = asking
            .member("credential", credential)
            .send()
            .await
            .granted();
        Issued::of(granted, &key)
    }

    /// A P-256 leaf of the default profile.
    pub(crate) async fn plain(broker: &TestBroker, ttl: u32) -> Issued {
        Issued::ask(broker, ttl, &rcgen::PKCS_ECDSA_P256_SHA256, None).await
    }

    fn of(granted: Granted, key: &KeyPair) -> Issued {
        let Credential::X509 {
            certificate, chain, ..
        } = &granted.credential
        else {
            panic!("no certificate: {granted:?}");
        };
        let [issuing] = chain.as_slice() else {
            panic!("{} certificates between leaf and root", chain.len())
        };
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| write(folder.path(), name, text);
        Issued {
            leaf: write("leaf.pem", certificate),
            issuing: write("issuing.pem", issuing),
            root: write("root.pem", &granted.trust_bundle),
            key: write("key.pem", &pem(key)),
            granted,
            folder,
        }
    }

    /// Leaf and issuing CA in one file, as TLS wants them.
    pub(crate) fn chain(&self) -> PathBuf {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        write(
            self.folder.path(),
            "chain.pem",
            &format!("{}{}", read(&self.leaf), read(&self.issuing)),
        )
    }

    pub(crate) fn serial(&self) -> &str {
        match &self.granted.credential {
            Credential::X509 { serial, .. } => serial,
            Credential::Jwt { .. } => panic!("a JWT"),
        }
    }
}

/// PKCS #8 as all read it: OpenSSL before 3.2 takes no Ed25519 key with its public half (RFC 5958, version 2).
fn pem(key: &KeyPair) -> String {
    if !key.is_compatible(&rcgen::PKCS_ED25519) {
        return key.serialize_pem();
    }
    let whole = key.serialize_der();
    // RFC 8410 §7: a SEQUENCE of version, algorithm and the seed in two OCTET STRINGs.
    let version_1 = [b"\x30\x2e\x02\x01\x00".as_slice(), &whole[5..48]].concat();
    let base64 = data_encoding::BASE64.encode(&version_1);
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

/// A file with this text.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const HOSTS: &str = r#"@label("host") entity Host;

@label("serve as") @doc("Answer under a host's name.")
action serve appliesTo { principal: [Stint::Workload], resource: [Host], context: Stint::Ask };

@label("outside service")"#;

const SERVE: &str = r#"@id("web-serves") @owner("Group::\"release\"") @max_ttl("30m") @credential("x509")
permit (principal is Stint::Workload, action == Action::"serve", resource == Host::"web.acme.dev")
when { context has github && context.github.repository_id == "456789" };
"#;
