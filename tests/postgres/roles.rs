//! The role that serves can lengthen the ledger and cannot rewrite it: `deploy/postgres.sql` (LEDGER.md §7).

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use stint_tests::postgres::{OWNER, SERVICE, Spot};

use crate::common::{broker, grant};

async fn as_role(spot: &Spot, role: &str) -> PgConnection {
    PgConnection::connect_with(&spot.options(role))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_role_that_serves_cannot_rewrite_what_was_recorded() {
    let (broker, spot) = broker().await;
    grant(&broker).await;
    let mut db = as_role(&spot, SERVICE).await;
    for sql in [
        "UPDATE ledger_batch SET ts = 0",
        "DELETE FROM ledger_batch",
        "TRUNCATE ledger_batch",
        "DELETE FROM ledger_head",
        "UPDATE ledger_body SET body = ''",
        "TRUNCATE ledger_body",
        "DELETE FROM policy_set",
        "INSERT INTO moved VALUES ('elsewhere', 'done', 0)",
        "DELETE FROM _sqlx_migrations",
        "DROP TABLE ledger_batch",
        "ALTER TABLE ledger_batch DROP COLUMN root",
        "CREATE TABLE ledger_more (log TEXT)",
        "CREATE FUNCTION json_each(rows json) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SET ROLE stint_owner",
        "COPY ledger_batch TO PROGRAM 'cat'",
    ] {
        let refused = db.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {refused}");
    }
    db.close().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

/// A migration without its line in `deploy/postgres.sql` would stop the brokers at their next start.
#[tokio::test]
async fn no_table_is_forgotten_in_the_grants() {
    let (broker, spot) = broker().await;
    let mut db = as_role(&spot, OWNER).await;
    let tables = sqlx::query(
        "SELECT tablename::text, has_table_privilege('stint', tablename::text, 'SELECT') FROM pg_tables
         WHERE schemaname = 'public'",
    );
    let tables = tables.fetch_all(&mut db).await.unwrap();
    assert!(tables.len() > 15, "{} tables", tables.len());
    for table in tables {
        assert!(
            table.get::<bool, _>(1),
            "stint cannot read {}",
            table.get::<&str, _>(0)
        );
    }
    db.close().await.unwrap();
    broker.finish().await;
}
