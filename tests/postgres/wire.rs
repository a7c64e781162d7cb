//! The way to the server: TLS, and a wire that breaks.

use std::time::Duration;

use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::postgres::Cluster;
use stint_tests::proxy::{After, Proxy, Way};
use stint_tests::tls::Pki;

use crate::common::{STAGING, grant, refused, setup};

#[tokio::test]
async fn tls_that_is_demanded_and_not_there_is_no_connection() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    let mut broker = setup(&spot).start().await;
    broker.stop().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let (plain, demanding) = (
            format!("/{}\"", spot.name),
            format!("/{}?sslmode={mode}\"", spot.name),
        );
        broker.reconfigure(&plain, &demanding);
        let said = refused(&mut broker).await;
        assert!(said.contains("TLS"), "{mode}: {said}");
        broker.reconfigure(&demanding, &plain);
    }
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn the_servers_name_is_checked_against_the_root_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path());
    let cluster = Cluster::start(&[("ssl", "off")]);
    cluster.take_certificate(&pki.cert(), &pki.key());
    cluster.configure(&[("ssl", "on")]);
    cluster.restart("fast");
    let spot = cluster.database().await;
    let mut broker = setup(&spot).start().await;
    broker.stop().await;
    let right = broker.path("right.pem");
    std::fs::write(&right, pki.root_pem()).unwrap();
    let stranger = broker.path("stranger.pem");
    let other = tempfile::tempdir().unwrap();
    std::fs::write(&stranger, Pki::new(other.path()).root_pem()).unwrap();
    let plain = format!("{}/{}\"", spot.port, spot.name);
    let with = |mode: &str, root: &std::path::Path| {
        format!(
            "{}/{}?sslmode={mode}&sslrootcert={}\"",
            spot.port,
            spot.name,
            root.display()
        )
    };
    for mode in ["verify-ca", "verify-full"] {
        broker.reconfigure(&plain, &with(mode, &stranger));
        let said = refused(&mut broker).await;
        assert!(said.contains("certificate"), "{mode}: {said}");
        broker.reconfigure(&with(mode, &stranger), &with(mode, &right));
        broker.restart().await.unwrap();
        grant(&broker).await;
        broker.stop().await;
        broker.reconfigure(&with(mode, &right), &plain);
    }
    broker.restart().await.unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_found_out_before_it_is_answered() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    for fate in [After::Cut, After::Deaf] {
        let proxy = Proxy::to(spot.port).await;
        let fresh = cluster.database().await;
        let broker = TestBroker::with()
            .on_server(&fresh, proxy.port())
            .start()
            .await;
        grant(&broker).await;
        // With its end: every BEGIN says READ COMMITTED.
        proxy.after(b"COMMIT\0", fate);
        // 201 where the new connection finds the batch, 503 where it does not: never a credential without its entry.
        let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
        assert!(
            matches!(answer.status.as_u16(), 201 | 503),
            "{}",
            answer.text()
        );
        assert!(proxy.triggered(), "no COMMIT went by");
        eventually("a grant", async || {
            broker
                .ci("acme/web")
                .ask("deploy", STAGING)
                .x509()
                .await
                .status
                == 201
        })
        .await;
        broker.finish_after_crash().await;
    }
    spot.remove().await;
}

#[tokio::test]
async fn a_slow_wire_is_only_slow() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    let proxy = Proxy::to(spot.port).await;
    let broker = TestBroker::with()
        .on_server(&spot, proxy.port())
        .start()
        .await;
    proxy.set(
        Way::Open(Duration::from_millis(20)),
        Way::Open(Duration::from_millis(20)),
    );
    grant(&broker).await;
    grant(&broker).await;
    proxy.heal();
    broker.finish().await;
}
