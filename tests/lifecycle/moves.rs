//! `stintd migrate --to`: a SQLite ledger goes to a server, whole or not at all, and never twice.

use std::process::Stdio;

use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::database::only_on;
use stint_tests::files::write_secret;
use stint_tests::postgres::{Cluster, GRANTS, OWNER, PASSWORD, SERVICE, Spot};
use stint_tests::process::program;

use crate::scene::{Ended, broker, grant, keep, stintd};

const WHY: &str = "a move begins at a file";

/// A stopped broker on a file, and an empty database that its owner may fill.
async fn packed() -> (TestBroker, Spot) {
    let mut broker = broker().await;
    for _ in 0..3 {
        grant(&broker).await;
    }
    broker.stop().await;
    write_secret(&broker.path("owner.password"), PASSWORD.as_bytes());
    (broker, Cluster::shared().await.empty_database().await)
}

async fn migrate(broker: &TestBroker, spot: &Spot, more: &[&str]) -> Ended {
    let password = broker.path("owner.password").display().to_string();
    let url = spot.url(OWNER);
    let args = ["migrate", "--to", &url, "--password-file", &password];
    stintd(broker, &[&args[..], more].concat()).await
}

/// Moves a stopped broker to a server of its own, and lets it be served from there.
pub(crate) async fn to_server(broker: &mut TestBroker) {
    write_secret(&broker.path("owner.password"), PASSWORD.as_bytes());
    let spot = Cluster::shared().await.empty_database().await;
    migrate(broker, &spot, &[]).await.ok();
    repoint(broker, &spot).await;
    broker.moved_to(spot);
}

/// The config of the broker names the server from now on.
async fn repoint(broker: &mut TestBroker, spot: &Spot) {
    spot.tell(GRANTS).await;
    let file = format!("url = \"sqlite:{}\"", broker.path("stint.db").display());
    let password = broker.path("owner.password");
    let server = format!(
        "url = \"{}\"\npassword = {{ file = \"{}\" }}",
        spot.url(SERVICE),
        password.display()
    );
    broker.reconfigure(&file, &server);
}

#[tokio::test]
async fn a_ledger_moves_and_goes_on_as_the_same() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    let (mut broker, spot) = packed().await;
    broker.restart().await.unwrap();
    let before = keep(&broker, "before").await;
    migrate(&broker, &spot, &[])
        .await
        .refused("in use by another broker");
    broker.stop().await;

    let said = migrate(&broker, &spot, &["--dry-run"]).await.ok();
    assert!(said.contains("would move"), "{said}");
    broker.restart().await.unwrap();
    broker.stop().await;

    let said = migrate(&broker, &spot, &[]).await.ok();
    assert!(
        said.contains("hashed from the entries on both sides"),
        "{said}"
    );
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("moved to `postgres://"), "{refused}");
    migrate(&broker, &spot, &[]).await.refused("already");
    migrate(&broker, &spot, &["--cancel"])
        .await
        .refused("already");
    let elsewhere = Cluster::shared().await.empty_database().await;
    migrate(&broker, &elsewhere, &[]).await.refused("already");

    repoint(&mut broker, &spot).await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    keep(&broker, "after").await.extends(&before).await;
    broker.stop().await;
    broker.abandon().await;
}

#[tokio::test]
async fn nothing_is_overwritten_on_the_server() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    let (mut broker, spot) = packed().await;
    let (other, _) = packed().await;
    migrate(&other, &spot, &[]).await.ok();
    migrate(&broker, &spot, &[]).await.refused("is not empty");
    migrate(&broker, &spot, &["--cancel"])
        .await
        .refused("no move was begun");
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
    other.abandon().await;
}

#[tokio::test]
async fn what_is_not_whole_is_not_moved() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    let (broker, spot) = packed().await;
    let sql = "UPDATE ledger_body SET body = x'00' WHERE seq = 4";
    stint_tests::database::tamper(&broker.database(), sql).await;
    migrate(&broker, &spot, &[]).await.refused("entry 4");
    broker.abandon().await;
}

/// kill -9 at many moments: at no time are there two ledgers that serve, and in the end there is one.
#[tokio::test]
async fn a_move_that_is_killed_is_finished_or_taken_back() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    let (mut broker, spot) = packed().await;
    let config = broker.write_config();
    let password = broker.path("owner.password");
    let mut marked = false;
    for millis in (0..400).step_by(40) {
        let mut command = std::process::Command::new(program("stintd"));
        command
            .args(["migrate", "--to", &spot.url(OWNER), "--password-file"])
            .arg(&password);
        command.arg("-c").arg(&config).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        match broker.restart().await {
            Ok(()) => assert!(!marked, "a file that was marked is served"),
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.contains("was cut off") || said.contains("moved to"),
                    "{said}"
                );
                marked = true;
            }
        }
        broker.stop().await;
    }
    let ended = migrate(&broker, &spot, &[]).await;
    assert!(
        ended.code == 0 || ended.said.contains("already"),
        "{}",
        ended.said
    );
    repoint(&mut broker, &spot).await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    broker.abandon().await;
}

#[tokio::test]
async fn a_move_that_was_cut_off_is_cancelled_if_nothing_arrived() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    let (mut broker, spot) = packed().await;
    let place = stint_broker::store::Server::parse(&spot.url(OWNER))
        .unwrap()
        .shown();
    let sql = format!("INSERT INTO moved (place, state, at) VALUES ('{place}', 'begun', 1)");
    stint_tests::database::tamper(&broker.database(), &sql).await;
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("--cancel"), "{refused}");
    let elsewhere = Cluster::shared().await.empty_database().await;
    migrate(&broker, &elsewhere, &[])
        .await
        .refused("finish it there");
    migrate(&broker, &spot, &["--cancel"]).await.ok();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}
