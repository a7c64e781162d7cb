//! A server that may lose what it committed is refused before anything is served (LEDGER.md §7).

use stint_tests::database::Database;
use stint_tests::postgres::{Cluster, OWNER, SERVICE};

use crate::common::{grant, refused, setup};

#[tokio::test]
async fn a_server_that_may_lose_what_it_committed_is_refused() {
    let cluster = Cluster::start(&[]);
    let spot = cluster.database().await;
    let mut broker = setup(&spot).start().await;
    grant(&broker).await;
    for (setting, value, wanted) in [
        ("fsync", "off", "`fsync` reads `off`, it must be `on`"),
        (
            "full_page_writes",
            "off",
            "`full_page_writes` reads `off`, it must be `on`",
        ),
        (
            "synchronous_commit",
            "off",
            "`synchronous_commit` reads `off`, it must be `on or remote_apply`",
        ),
        (
            "synchronous_commit",
            "local",
            "`synchronous_commit` reads `local`",
        ),
        (
            "synchronous_commit",
            "remote_write",
            "`synchronous_commit` reads `remote_write`",
        ),
    ] {
        broker.stop().await;
        cluster.configure(&[(setting, value)]);
        cluster.restart("fast");
        let said = refused(&mut broker).await;
        assert!(said.contains(wanted), "{setting} = {value}: {said}");
        cluster.configure(&[(setting, "on")]);
        cluster.restart("fast");
        broker.restart().await.unwrap();
        grant(&broker).await;
    }
    broker.stop().await;
    cluster.configure(&[("synchronous_commit", "remote_apply")]);
    cluster.restart("fast");
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn what_the_role_or_the_database_sets_counts_as_much() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    let mut broker = setup(&spot).start().await;
    broker.stop().await;
    let (role, database) = (
        format!("ALTER ROLE {SERVICE} IN DATABASE {}", spot.name),
        format!("ALTER DATABASE {}", spot.name),
    );
    for (whose, value) in [
        (&role, "off"),
        (&role, "local"),
        (&database, "off"),
        (&database, "local"),
    ] {
        spot.tell(&format!("{whose} SET synchronous_commit = {value}"))
            .await;
        let said = refused(&mut broker).await;
        let wanted = format!("`synchronous_commit` reads `{value}`");
        assert!(said.contains(&wanted), "{whose}: {said}");
        spot.tell(&format!("{whose} RESET ALL")).await;
    }
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_wrong_password_and_a_database_that_is_not_there_are_told_apart() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    let mut broker = setup(&spot).start().await;
    broker.stop().await;
    let password = broker.path("store.password");
    let right = std::fs::read(&password).unwrap();
    std::fs::write(&password, "not-it-at-all").unwrap();
    let said = refused(&mut broker).await;
    assert!(said.contains("password authentication failed"), "{said}");
    assert!(!said.contains("not-it-at-all"), "{said}");
    std::fs::write(&password, right).unwrap();

    let elsewhere = format!("{}_not_there", spot.name);
    broker.reconfigure(&format!("/{}\"", spot.name), &format!("/{elsewhere}\""));
    let said = refused(&mut broker).await;
    assert!(
        said.contains("does not exist") && said.contains(&elsewhere),
        "{said}"
    );
    broker.reconfigure(&format!("/{elsewhere}\""), &format!("/{}\"", spot.name));
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_schema_that_is_another_programs_is_refused_and_left_as_it_is() {
    let cluster = Cluster::shared().await;
    let spot = cluster.database().await;
    let mut broker = setup(&spot).start().await;
    grant(&broker).await;
    broker.stop().await;
    let database = Database::Server(spot.clone());
    let schema = "SELECT max(version) FROM _sqlx_migrations";
    let newest = stint_tests::database::number(&database, schema).await;
    spot.tell(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of tomorrow', true, '', 0)",
    )
    .await;
    let said = refused(&mut broker).await;
    assert!(said.contains("has schema 9999"), "{said}");
    assert!(
        said.contains("install the version that migrated it"),
        "{said}"
    );
    spot.tell("DELETE FROM _sqlx_migrations WHERE version = 9999")
        .await;
    spot.tell(&format!(
        "DELETE FROM _sqlx_migrations WHERE version = {newest}"
    ))
    .await;
    let said = refused(&mut broker).await;
    assert!(said.contains("run `stintd migrate`"), "{said}");
    let found = stint_tests::database::number(&database, schema).await;
    assert_eq!(found, newest - 1, "a start migrates no server");
    broker.abandon().await;

    let empty = cluster.empty_database().await;
    let error = setup(&empty).try_start().await.unwrap_err();
    let said = crate::common::chain(&error);
    assert!(
        said.contains("permission denied"),
        "{SERVICE} is not {OWNER}: {said}"
    );
    empty.remove().await;
}
