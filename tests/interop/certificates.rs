//! Our certificates before PyPI `pkilint`, OpenSSL and `webpki`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use stint_policy::Timestamp;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use crate::foreign::{self, Said};
use crate::issued::{self, Issued, KINDS};

#[tokio::test]
async fn pkilint_finds_nothing_wrong_in_any_kind_of_leaf() {
    let broker = issued::broker().await;
    for (kind, algorithm, profile) in KINDS {
        let issued = Issued::ask(&broker, 300, algorithm, profile).await;
        let mut command = foreign::python("lint_chain.py");
        command
            .arg("--leaf")
            .arg(&issued.leaf)
            .arg("--issuing")
            .arg(&issued.issuing);
        let said = foreign::run(command.arg("--root").arg(&issued.root), "");
        assert!(said.ok, "{kind}: {said:?}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn openssl_follows_the_chain_for_both_ends_of_tls() {
    let broker = issued::broker().await;
    for (kind, algorithm, profile) in KINDS {
        let issued = Issued::ask(&broker, 300, algorithm, profile).await;
        for purpose in ["sslclient", "sslserver"] {
            let said = verify(&issued, &["-x509_strict", "-purpose", purpose]);
            assert!(said.ok, "{kind}: {said:?}");
        }
    }
    broker.finish().await;
}

#[tokio::test]
async fn openssl_reads_one_identity_and_no_authority() {
    let broker = issued::broker().await;
    let text = text(&Issued::plain(&broker, 300).await.leaf);
    for expected in [
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Client Authentication",
        "TLS Web Server Authentication",
        // Critical, since the subject is empty (RFC 5280 §4.1.2.6).
        "X509v3 Subject Alternative Name: critical\n                URI:spiffe://acme.dev/github/123456/456789\n",
        "X509v3 Authority Key Identifier",
        "X509v3 Subject Key Identifier",
        "Subject: \n",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn openssl_reads_the_names_a_profile_takes_from_the_grant() {
    let broker = issued::broker().await;
    let issued = Issued::ask(&broker, 300, &rcgen::PKCS_ECDSA_P256_SHA256, Some("web")).await;
    assert!(verify(&issued, &["-verify_hostname", "web.acme.dev"]).ok);
    assert!(!verify(&issued, &["-verify_hostname", "db.acme.dev"]).ok);
    let text = text(&issued.leaf);
    assert!(
        text.contains("DNS:web.acme.dev") && text.contains("URI:spiffe://acme.dev/"),
        "{text}"
    );
    // OpenSSL 3.0 writes `CN = `, later ones `CN=`.
    assert!(
        text.replace(" = ", "=")
            .contains(&format!("Subject: CN={}\n", issued.granted.grant)),
        "{text}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn openssl_refuses_a_leaf_that_is_over_spoiled_or_without_its_chain() {
    let broker = issued::broker().await;
    let issued = Issued::plain(&broker, 300).await;
    let after = seconds(&issued.granted.expires_at) + 2;
    let said = verify(&issued, &["-attime", &after.to_string()]);
    assert!(
        !said.ok && said.err.contains("certificate has expired"),
        "{said:?}"
    );
    let before = seconds(&issued.granted.not_before) - 2;
    let said = verify(&issued, &["-attime", &before.to_string()]);
    assert!(!said.ok && said.err.contains("not yet valid"), "{said:?}");

    let mut command = Command::new("openssl");
    let said = foreign::run(
        command
            .arg("verify")
            .arg("-CAfile")
            .arg(&issued.root)
            .arg(&issued.leaf),
        "",
    );
    assert!(
        !said.ok && said.err.contains("unable to get local issuer"),
        "{said:?}"
    );

    let spoiled = Issued {
        leaf: spoil(&issued),
        ..issued
    };
    let said = verify(&spoiled, &[]);
    assert!(
        !said.ok && said.err.contains("certificate signature failure"),
        "{said:?}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn webpki_follows_the_chain_while_the_leaf_lives_and_no_longer() {
    let broker = issued::broker().await;
    let other = issued::broker().await;
    for (kind, algorithm, profile) in KINDS {
        let issued = Issued::ask(&broker, 300, algorithm, profile).await;
        let (from, until) = (
            seconds(&issued.granted.not_before),
            seconds(&issued.granted.expires_at),
        );
        for (time, good) in [
            (from - 1, false),
            (from, true),
            (until - 1, true),
            (until + 1, false),
        ] {
            assert_eq!(
                path(&issued, &issued.root, time).is_ok(),
                good,
                "{kind} at {from}..{until}: {time}"
            );
        }
        let stranger = Issued::plain(&other, 300).await;
        assert!(
            path(&issued, &stranger.root, from + 1).is_err(),
            "{kind}: another root was taken"
        );
    }
    broker.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn webpki_reads_a_host_name_where_the_profile_gives_one() {
    let broker = issued::broker().await;
    let issued = Issued::ask(&broker, 300, &rcgen::PKCS_ECDSA_P256_SHA256, Some("web")).await;
    let leaf = CertificateDer::from_pem_file(&issued.leaf).unwrap();
    let leaf = EndEntityCert::try_from(&leaf).unwrap();
    let named = |name: &'static str| {
        leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap())
            .is_ok()
    };
    assert!(named("web.acme.dev"));
    assert!(!named("db.acme.dev"));
    broker.finish().await;
}

fn verify(issued: &Issued, options: &[&str]) -> Said {
    let mut command = Command::new("openssl");
    command
        .arg("verify")
        .args(options)
        .arg("-CAfile")
        .arg(&issued.root);
    foreign::run(
        command
            .arg("-untrusted")
            .arg(&issued.issuing)
            .arg(&issued.leaf),
        "",
    )
}

fn text(certificate: &Path) -> String {
    let mut command = Command::new("openssl");
    let said = foreign::run(
        command
            .args(["x509", "-noout", "-text", "-in"])
            .arg(certificate),
        "",
    );
    assert!(said.ok, "{said:?}");
    said.out
}

/// The leaf with one bit of its signature turned.
fn spoil(issued: &Issued) -> std::path::PathBuf {
    let mut der = CertificateDer::from_pem_file(&issued.leaf)
        .unwrap()
        .to_vec();
    *der.last_mut().unwrap() ^= 1;
    let base64 = data_encoding::BASE64.encode(&der);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
    issued::write(issued.folder.path(), "spoiled.pem", &wrapped(&pem))
}

/// RFC 7468: lines of 64.
fn wrapped(pem: &str) -> String {
    let line = |line: &str| {
        let chunks: Vec<_> = line
            .as_bytes()
            .chunks(64)
            .map(|chunk| str::from_utf8(chunk).unwrap())
            .collect();
        chunks.join("\n") + "\n"
    };
    pem.lines().map(line).collect()
}

fn path(issued: &Issued, root: &Path, time: i64) -> Result<(), webpki::Error> {
    let read = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
    let (root, issuing, leaf) = (read(root), read(&issued.issuing), read(&issued.leaf));
    let anchors = [anchor_from_trusted_cert(&root)?];
    let time = UnixTime::since_unix_epoch(Duration::from_secs(time.unsigned_abs()));
    let leaf = EndEntityCert::try_from(&leaf)?;
    let algorithms = [ring::ECDSA_P256_SHA256, ring::ED25519];
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        leaf.verify_for_usage(
            &algorithms,
            &anchors,
            std::slice::from_ref(&issuing),
            time,
            usage,
            None,
            None,
        )?;
    }
    Ok(())
}

fn seconds(time: &str) -> i64 {
    Timestamp::parse_rfc3339(time).unwrap().as_secs()
}
