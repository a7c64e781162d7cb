//! TLS of the broker's own: what it offers, what it refuses, and how its certificate changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rcgen::CertificateParams;
use stint_tests::clock::eventually;
use stint_tests::{TestBroker, log, process};
use tokio::io::AsyncWriteExt as _;

use crate::wire;

/// What `openssl s_client` says of a handshake with these options.
async fn s_client(broker: &TestBroker, options: &[&str]) -> (bool, String) {
    let address = broker.address().to_string();
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &address, "-servername", "localhost"])
        .args(options)
        .stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    let done = done.await.unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test]
async fn grants_over_tls() {
    let broker = TestBroker::with().tls().start().await;
    let answer = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web")
        .x509()
        .await;
    assert_eq!(answer.status, 201);
    broker.finish().await;
}

#[tokio::test]
async fn nobody_is_served_in_the_clear() {
    let broker = TestBroker::with().tls().start().await;
    let mut stream = wire::connect(&broker).await;
    assert!(
        wire::ask(&mut stream, wire::TRUST.as_bytes())
            .await
            .is_none()
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_and_weak_suites_are_refused() {
    let broker = TestBroker::with().tls().start().await;
    for good in [
        ["-tls1_3"].as_slice(),
        &["-tls1_2"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    ] {
        let (ok, said) = s_client(&broker, good).await;
        assert!(ok && said.contains("Cipher is "), "{good:?}: {said}");
    }
    // Where OpenSSL itself would not offer it, security level 0 makes it.
    for bad in [
        ["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"].as_slice(),
        &["-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"],
        &[
            "-tls1_2",
            "-cipher",
            "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0",
        ],
    ] {
        let (ok, said) = s_client(&broker, bad).await;
        assert!(!ok, "{bad:?}: {said}");
    }
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_kept_and_no_ticket_is_sent() {
    let broker = TestBroker::with().tls().start().await;
    for version in ["-tls1_2", "-tls1_3"] {
        let (ok, said) = s_client(&broker, &[version, "-reconnect"]).await;
        assert!(ok, "{said}");
        assert!(!said.contains("Reused"), "{version}: {said}");
        assert!(!said.contains("TLS session ticket:"), "{version}: {said}");
        assert!(
            !said.contains("Post-Handshake New Session Ticket"),
            "{version}: {said}"
        );
    }
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_is_asked_for_where_none_is_evidence() {
    let broker = TestBroker::with().tls().start().await;
    for version in ["-tls1_2", "-tls1_3"] {
        let (ok, said) = s_client(&broker, &[version, "-msg"]).await;
        assert!(ok && said.contains("ServerHello"), "{said}");
        assert!(!said.contains("CertificateRequest"), "{version}: {said}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn http_1_is_spoken_to_whoever_offers_nothing_better() {
    let broker = TestBroker::with().tls().start().await;
    for alpn in [["http/1.1"].as_slice(), &[]] {
        let mut stream = wire::secured(&broker, alpn).await.unwrap();
        stream.write_all(wire::TRUST.as_bytes()).await.unwrap();
        assert_eq!(wire::answer(&mut stream).await.unwrap().status, 200);
    }
    // A protocol we do not have is no handshake (RFC 7301 §3.2).
    assert!(wire::secured(&broker, &["spdy/3"]).await.is_err());
    broker.finish().await;
}

/// The certificate a new connection is shown.
async fn shown(broker: &TestBroker) -> Vec<u8> {
    let stream = wire::secured(broker, &[]).await.unwrap();
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_open_connections_stay() {
    let broker = TestBroker::with().tls().start().await;
    let mut open = wire::secured(&broker, &[]).await.unwrap();
    let new = broker.pki().renew(|_| ());
    assert_ne!(shown(&broker).await, new);
    eventually("the new certificate is shown", async || {
        shown(&broker).await == new
    })
    .await;
    open.write_all(wire::TRUST.as_bytes()).await.unwrap();
    assert_eq!(wire::answer(&mut open).await.unwrap().status, 200);
    broker.finish().await;
}

#[tokio::test]
async fn half_a_renewal_is_no_renewal() {
    let broker = TestBroker::with().tls().start().await;
    let good = shown(&broker).await;
    let pki = broker.pki();
    let from = log::length();
    let refused = |why: &'static str| eventually(why, async move || log::since(from).contains(why));
    // A certificate whose key has not come yet, then one that is over, then garbage.
    let key = fs::read(pki.key()).unwrap();
    pki.renew(|_| ());
    fs::write(pki.key(), &key).unwrap();
    refused("cannot be used together").await;
    pki.renew(|cert: &mut CertificateParams| cert.not_after = rcgen::date_time_ymd(2021, 1, 1));
    refused("is good from").await;
    fs::write(pki.cert(), "garbage").unwrap();
    refused("is not PEM of a certificate").await;
    assert_eq!(shown(&broker).await, good);
    // And what is whole is taken again.
    let new = pki.renew(|_| ());
    eventually("the new certificate is shown", async || {
        shown(&broker).await == new
    })
    .await;
    broker.finish().await;
}

/// `stintd check` of this broker's folder.
fn check(broker: &TestBroker) -> (Option<i32>, String) {
    let config = broker.write_config();
    let done = Command::new(process::program("stintd"))
        .args(["check", "-c"])
        .arg(config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.code(), said)
}

#[tokio::test]
async fn check_says_what_is_wrong_with_certificate_and_key() {
    let broker = TestBroker::with().tls().start().await;
    let pki = broker.pki();
    let (code, said) = check(&broker);
    assert_eq!(code, Some(0), "{said}");
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let spoils: [(&str, i32, &dyn Fn()); 8] = [
        ("is good from", 2, &|| {
            pki.renew(|cert| cert.not_after = rcgen::date_time_ymd(2021, 1, 1));
        }),
        ("is good from", 2, &|| {
            pki.renew(|cert| cert.not_before = rcgen::date_time_ymd(2095, 1, 1));
        }),
        ("cannot be used together", 2, &|| {
            fs::write(pki.key(), &other).unwrap()
        }),
        ("is not PEM of a private key", 2, &|| {
            fs::write(pki.key(), "garbage").unwrap()
        }),
        ("is not PEM of a certificate", 2, &|| {
            fs::write(pki.cert(), "garbage").unwrap()
        }),
        ("is open to other users", 2, &|| {
            fs::set_permissions(pki.key(), fs::Permissions::from_mode(0o640)).unwrap();
        }),
        ("cannot be read", 2, &|| {
            fs::remove_file(pki.cert()).unwrap()
        }),
        ("does not name `localhost`", 0, &|| {
            pki.renew(|cert| {
                cert.subject_alt_names = vec![rcgen::SanType::DnsName(
                    "other.acme.dev".try_into().unwrap(),
                )];
            });
        }),
    ];
    for (expected, status, spoil) in spoils {
        pki.renew(|_| ());
        spoil();
        let (code, said) = check(&broker);
        assert_eq!(code, Some(status), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn the_program_takes_up_a_certificate_on_sighup() {
    let mut broker = TestBroker::with().tls().real_time().start().await;
    broker.serve(None).await;
    let new = broker.pki().renew(|_| ());
    let id = broker.process().id();
    process::signal(id, "HUP");
    eventually("the new certificate is shown", async || {
        shown(&broker).await == new
    })
    .await;
    broker.finish().await;
}
