//! What operators type: `stintd init --store`, `migrate`, `doctor`, `check`, and `serve` by the program itself.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::database::{Database, number};
use stint_tests::files::{copy, write_secret};
use stint_tests::postgres::{Cluster, GRANTS, OWNER, PASSWORD, SERVICE, Spot};
use stint_tests::process::{program, signal};

use crate::common::{STAGING, broker, chain, grant, setup};

async fn stintd(args: &[&str]) -> (Option<i32>, String, String) {
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || Command::new(program("stintd")).args(args).output().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `stintd migrate` as the owner, with `more`.
async fn migrate(spot: &Spot, password: &Path, more: &[&str]) -> (Option<i32>, String) {
    let url = spot.url(OWNER);
    let mut args = vec![
        "migrate",
        "--store",
        &url,
        "--store-password-file",
        text(password),
    ];
    args.extend(more);
    let (code, _, said) = stintd(&args).await;
    (code, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_database_becomes_a_ledger_that_serves() {
    let cluster = Cluster::shared().await;
    let spot = cluster.empty_database().await;
    let database = Database::Server(spot.clone());
    // Not below /dev/shm, where the server is: keys and pin want a disk.
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write_secret(&password, PASSWORD.as_bytes());

    let (code, said) = migrate(&spot, &password, &["--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("would apply 0001 ledger"), "{said}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(
        number(&database, tables).await,
        0,
        "a dry run makes nothing"
    );
    let (code, said) = migrate(&spot, &password, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("applied     0001 ledger") && said.contains("schema 0 to "),
        "{said}"
    );
    assert!(number(&database, tables).await > 15);
    spot.tell(GRANTS).await;
    let (code, said) = migrate(&spot, &password, &[]).await;
    assert_eq!(
        (code, said.contains("nothing to do")),
        (Some(0), true),
        "{said}"
    );

    let site = folder.path().join("site");
    let url = spot.url(SERVICE);
    let init = [
        "init",
        text(&site),
        "--url",
        "https://stint.acme.dev",
        "--store",
        &url,
    ];
    let (code, _, said) =
        stintd(&[&init[..], &["--store-password-file", text(&password)]].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !site.join("state/stint.db").exists(),
        "a file beside the server"
    );
    let config = site.join("stint.toml");
    assert!(std::fs::read_to_string(&config).unwrap().contains(&url));
    let (code, _, said) = stintd(&["check", "-c", text(&config)]).await;
    assert_eq!(code, Some(0), "{said}");
    let size = number(&database, "SELECT max(size) FROM ledger_head").await;
    assert!(size > 3, "{size} entries");
    let (code, said) = migrate(&spot, &password, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{size} entries, root ")), "{said}");

    let (code, said) = doctor(&config).await;
    assert_eq!(code, Some(0), "{said:#}");
    let store = details(&said, "store");
    assert!(
        store.contains("PostgreSQL 15.") && store.contains("timeline 0000000"),
        "{store}"
    );
    assert!(
        store.contains("synchronous_standby_names is empty"),
        "{store}"
    );
    assert!(!store.contains("may rewrite"), "{store}");
    assert!(
        details(&said, "ledger").contains("the pin knows"),
        "{said:#}"
    );
    spot.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_says_what_is_wrong_with_a_store_and_begins_nothing() {
    let cluster = Cluster::shared().await;
    let spot = cluster.empty_database().await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write_secret(&password, PASSWORD.as_bytes());
    let site = folder.path().join("site");
    let init = [
        "init",
        text(&site),
        "--url",
        "https://stint.acme.dev",
        "--store",
    ];
    for (url, wanted) in [
        (
            "postgres://stint:secret@127.0.0.1/stint",
            "use [store] password",
        ),
        ("mysql://stint@db/stint", "is not a store"),
        (
            "postgres://stint@127.0.0.1/stint?sslmod=disable",
            "not known here: `sslmod`",
        ),
    ] {
        let (code, _, said) = stintd(&[&init[..], &[url]].concat()).await;
        assert_eq!(code, Some(2), "{url}: {said}");
        assert!(
            said.contains(wanted) && !said.contains("secret@"),
            "{url}: {said}"
        );
        assert!(!site.exists(), "{url}");
    }
    // A role that may not make the schema, on a database that has none.
    let url = spot.url(SERVICE);
    let (code, _, said) =
        stintd(&[&init[..], &[&url, "--store-password-file", text(&password)]].concat()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("permission denied"), "{said}");
    assert!(
        !site.join("stint.toml").exists(),
        "a config without a ledger"
    );
    spot.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_refuses_a_ledger_that_does_not_hold_together() {
    let (mut broker, spot) = broker().await;
    grant(&broker).await;
    broker.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write_secret(&password, PASSWORD.as_bytes());
    // No header has it there, neither in its words nor in base64.
    let spoiled = spot
        .tell(
            "UPDATE ledger_batch SET headers = overlay(headers PLACING '!'::bytea FROM 40)
             WHERE first_seq = (SELECT max(first_seq) FROM ledger_batch)",
        )
        .await;
    assert_eq!(spoiled, 1);
    let (code, said) = migrate(&spot, &password, &[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("do not give the root of its head"), "{said}");
    broker.abandon().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_names_what_keeps_a_server_from_serving() {
    let cluster = Cluster::start(&[]);
    let spot = cluster.database().await;
    let mut broker = setup(&spot).real_time().start().await;
    broker.stop().await;
    let config = broker.config_file();
    let (code, well) = doctor(&config).await;
    assert_eq!(code, Some(0), "{well:#}");

    spot.tell(&format!(
        "ALTER ROLE {SERVICE} SET synchronous_commit = off"
    ))
    .await;
    let (code, said) = doctor(&config).await;
    assert_eq!(code, Some(2));
    assert!(
        details(&said, "store").contains("`synchronous_commit` reads `off`"),
        "{said:#}"
    );
    spot.tell(&format!("ALTER ROLE {SERVICE} RESET ALL")).await;

    spot.tell("GRANT UPDATE ON ledger_batch TO stint").await;
    assert!(details(&doctor(&config).await.1, "store").contains("may rewrite what was recorded"));
    spot.tell("REVOKE UPDATE ON ledger_batch FROM stint").await;

    spot.tell("CREATE TABLE kept AS SELECT * FROM _sqlx_migrations WHERE version > 5; DELETE FROM _sqlx_migrations WHERE version > 5").await;
    let (code, said) = doctor(&config).await;
    assert_eq!(code, Some(2));
    assert!(
        details(&said, "store").contains("this program needs"),
        "{said:#}"
    );
    spot.tell("INSERT INTO _sqlx_migrations SELECT * FROM kept; DROP TABLE kept")
        .await;

    let password = broker.path("store.password");
    let right = std::fs::read(&password).unwrap();
    std::fs::write(&password, "wrong").unwrap();
    let (code, said) = doctor(&config).await;
    assert_eq!(code, Some(2));
    let failed = finding(&said, "store");
    assert!(
        failed["fix"].as_str().unwrap().contains("[store] password"),
        "{failed}"
    );
    std::fs::write(&password, right).unwrap();

    cluster.down("fast");
    let (code, said) = doctor(&config).await;
    assert_eq!(code, Some(2));
    assert!(details(&said, "store").contains("refused"), "{said:#}");
    cluster.up();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn the_program_serves_on_a_server_and_ends_in_order() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    let mut broker = setup(&spot).real_time().start().await;
    broker.serve(None).await;
    grant(&broker).await;
    assert!(
        stint_tests::process::said(&broker.path("")).contains("synchronous_standby_names is empty")
    );
    broker.stop().await;
    broker.serve(None).await;
    grant(&broker).await;
    broker.kill();
    broker.serve(None).await;
    grant(&broker).await;
    broker.finish().await;
}

async fn doctor(config: &Path) -> (Option<i32>, Value) {
    let (code, said, error) = stintd(&["doctor", "-c", text(config), "-o", "json"]).await;
    let findings = serde_json::from_str(&said);
    (code, findings.unwrap_or_else(|_| panic!("{said}{error}")))
}

fn finding<'f>(findings: &'f Value, check: &str) -> &'f Value {
    let mut all = findings.as_array().unwrap().iter();
    all.find(|finding| finding["check"] == check).unwrap()
}

fn details(findings: &Value, check: &str) -> String {
    let all = findings.as_array().unwrap().iter();
    let about = all.filter(|finding| finding["check"] == check);
    about
        .map(|finding| format!("{}\n", finding["detail"].as_str().unwrap()))
        .collect()
}

async fn replace_ca(broker: &TestBroker) -> (Option<i32>, String, String) {
    let config = broker.write_config();
    let what = ["keys", "replace", "ca", "--reason", "a theft", "-c"];
    stintd(&[&what[..], &[text(&config)]].concat()).await
}

/// A CA is not taken from under a replica that signs by it.
#[tokio::test]
async fn a_ca_is_not_replaced_while_a_replica_runs() {
    let spot = Cluster::shared().await.database().await;
    let mut a = setup(&spot).real_time().start().await;
    let mut b = a.replica("b").await.unwrap();
    a.stop().await;
    let (code, _, said) = replace_ca(&a).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("the broker `b` runs on this database"),
        "{said}"
    );
    assert!(!a.path("keys/next").exists() && !a.path("keys/next.begun").exists());
    grant(&b).await;
    b.stop().await;
    let (code, _, said) = replace_ca(&a).await;
    assert_eq!(code, Some(0), "{said}");
    a.restart().await.unwrap();
    grant(&a).await;
    b.abandon().await;
    a.abandon().await;
}

/// Whoever did not hear that it was to stop hears it from the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_slept_while_the_ca_was_replaced_grants_no_more() {
    let spot = Cluster::shared().await.database().await;
    let mut a = setup(&spot).real_time().start().await;
    let keys = |broker: &TestBroker| broker.path("keys").display().to_string();
    let (shared, mut b) = (keys(&a), a.beside("b", |config| config));
    b.reconfigure(&shared, &keys(&b));
    copy(&a.path("keys"), &b.path("keys"));
    b.serve(None).await;
    let granted = grant(&b).await;
    a.stop().await;
    signal(b.process().id(), "STOP");
    let (code, _, said) = replace_ca(&a).await;
    assert_eq!(code, Some(0), "{said}");

    signal(b.process().id(), "CONT");
    for _ in 0..3 {
        let asking = b.ci("acme/web").ask("deploy", STAGING);
        assert_eq!(asking.x509().await.status, 503);
    }
    let ready = b.operator("GET", "/readyz").await.text();
    assert!(ready.contains("ledger_diverged"), "{ready}");
    let why = stint_tests::process::said(&b.path(""));
    assert!(
        why.contains("retired a key that this replica signs with"),
        "{why}"
    );
    b.stop().await;
    let refused = chain(&b.restart().await.unwrap_err());
    assert!(refused.contains("was retired by entry"), "{refused}");

    a.restart().await.unwrap();
    assert!(grant(&a).await > granted);
    let grants = a.export().await.of("granted");
    let of_b = grants.iter().filter(|entry| entry.header["node"] == "b");
    assert_eq!(of_b.count(), 1);
    b.abandon().await;
    a.abandon().await;
}
