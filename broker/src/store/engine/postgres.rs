//! PostgreSQL: one server, any number of brokers; every connection proves that a commit is durable before it is used.
//!
//! No session state is relied on but the readers' settings, which only make them safer: limits of the writer travel with
//! each transaction (LEDGER.md §7). What a pooler must let through: docs/postgres.md.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{Connection as _, Executor as _, Row as _, migrate::Migrator};

use super::super::Error;

/// The schema.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// READ COMMITTED and a compare-and-swap on the head row (LEDGER.md §7); a statement that hangs ends, and so does a
/// transaction whose client is gone.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL statement_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Where the server is. The password is not part of the URL, and never shown.
#[derive(Clone)]
pub struct Server {
    options: Box<PgConnectOptions>,
    pool: u32,
}

// The client's options would show the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.shown()).finish()
    }
}

/// Why a URL is no server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The engine's client does not read it.
    #[error("cannot be read: {0}")]
    Form(String),
    /// It is not one of those that say how to connect.
    #[error(
        "has a parameter that is not known here: `{0}`; there are host, sslmode, sslrootcert, sslcert, sslkey"
    )]
    Parameter(String),
    /// Secrets come by reference.
    #[error("holds a password: use [store] password")]
    Password,
    /// It must say who, where and which.
    #[error("must name user, host and database, as in postgres://stint@db.example/stint")]
    Parts,
}

impl Server {
    /// Reads `postgres://USER@HOST[:PORT]/DATABASE[?sslmode=…&sslrootcert=…]`. Without `sslmode`, TLS with the server's
    /// name checked is demanded of every server that is not on this machine.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn parse(url: &str) -> Result<Self, ServerError> {
        let parsed =
            reqwest::Url::parse(url).map_err(|error| ServerError::Form(error.to_string()))?;
        let parameter = |known: &str| parsed.query_pairs().any(|(name, _)| name == known);
        if parsed.password().is_some() || parameter("password") {
            return Err(ServerError::Password);
        }
        // The client would pass over what it does not know, and take what names another server than the one that is shown.
        let mut parameters = parsed.query_pairs();
        if let Some((name, _)) = parameters.find(|(name, _)| !PARAMETERS.contains(&&**name)) {
            return Err(ServerError::Parameter(name.into_owned()));
        }
        let named = |text: &str| !text.trim_start_matches('/').is_empty();
        let socket = parameter("host");
        let host = parsed.host_str().unwrap_or_default();
        if !named(parsed.username()) || !named(parsed.path()) || (!named(host) && !socket) {
            return Err(ServerError::Parts);
        }
        let options: PgConnectOptions = url
            .parse()
            .map_err(|error: sqlx::Error| ServerError::Form(error.to_string()))?;
        let chosen = parameter("sslmode");
        let local =
            socket || matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.contains("%2F");
        let options = match (chosen, local) {
            (true, _) => options,
            (false, true) => options.ssl_mode(PgSslMode::Prefer),
            (false, false) => options.ssl_mode(PgSslMode::VerifyFull),
        };
        // Nothing comes from the environment (`PGPASSWORD`): the config is the truth.
        let options = options.password("").application_name("stintd");
        Ok(Self {
            options: Box::new(options),
            pool: POOL,
        })
    }

    /// With the password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        *self.options = self.options.clone().password(password);
        self
    }

    /// With room for this many readers at once.
    #[must_use]
    pub fn with_pool(mut self, pool: u32) -> Self {
        self.pool = pool.max(1);
        self
    }

    /// `postgres://USER@HOST:PORT/DATABASE`, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let it = &self.options;
        let database = it.get_database().unwrap_or_default();
        let socket = it.get_socket().map(|path| path.display().to_string());
        let host = socket.unwrap_or_else(|| format!("{}:{}", it.get_host(), it.get_port()));
        format!("postgres://{}@{host}/{database}", it.get_username())
    }

    /// A connection on which every durability setting was read.
    pub(crate) async fn writer(&self) -> Result<PgConnection, Error> {
        let mut db = self.connect().await?;
        let checked = tokio::time::timeout(CONNECT, self.check(&mut db)).await;
        checked
            .unwrap_or_else(|_| Err(Error::database(self.shown(), sqlx::Error::PoolTimedOut)))?;
        Ok(db)
    }

    /// A connection as it comes, for whoever looks or migrates.
    pub(crate) async fn connect(&self) -> Result<PgConnection, Error> {
        let connecting = PgConnection::connect_with(&self.options);
        let connected = tokio::time::timeout(CONNECT, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut));
        connected.map_err(|source| Error::database(self.shown(), source))
    }

    /// Connections that cannot write.
    pub(crate) fn readers(&self) -> PgPool {
        let options = (*self.options).clone().options([
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "5s"),
        ]);
        PgPoolOptions::new()
            .max_connections(self.pool)
            .acquire_timeout(Duration::from_secs(2))
            // Reads alone, each its own transaction: one that was cut off leaves nothing open, but the server may have gone.
            .before_acquire(|db, _| {
                Box::pin(async move { Ok(db.execute("ROLLBACK").await.is_ok()) })
            })
            .connect_lazy_with(options)
    }

    /// For the one connection that listens. A pooled one would be missed there.
    pub(crate) fn listeners(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*self.options).clone())
    }

    /// Refuses a server that may lose what it committed (LEDGER.md §7).
    pub(crate) async fn check(&self, db: &mut PgConnection) -> Result<(), Error> {
        let failed = |source| Error::database(self.shown(), source);
        let row = sqlx::query(SETTINGS)
            .fetch_one(&mut *db)
            .await
            .map_err(failed)?;
        let text = |at: usize| row.try_get::<String, _>(at).map_err(failed);
        let setting = |name, wanted, found| Error::Setting {
            place: self.shown(),
            name,
            wanted,
            found,
        };
        let version: i32 = row.try_get(0).map_err(failed)?;
        if version < OLDEST {
            return Err(Error::TooOld {
                engine: "PostgreSQL",
                found: (version / 10_000).to_string(),
                wanted: "15",
            });
        }
        for (at, name, wanted) in [
            (1, "fsync", "on"),
            (2, "full_page_writes", "on"),
            (4, "pg_is_in_recovery", "off"),
        ] {
            let found = text(at)?;
            if found != wanted {
                return Err(setting(name, wanted, found));
            }
        }
        let commit = text(3)?;
        if !matches!(&*commit, "on" | "remote_apply") {
            return Err(setting("synchronous_commit", "on or remote_apply", commit));
        }
        Ok(())
    }
}

const SETTINGS: &str =
    "SELECT current_setting('server_version_num')::int, current_setting('fsync'),
    current_setting('full_page_writes'), current_setting('synchronous_commit'),
    CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END";

/// What the record says of the server. The timeline is the beginning of the name of its write-ahead file.
pub(crate) const STORAGE: &str = "SELECT CAST(json_build_object(
      'engine', 'postgresql', 'version', current_setting('server_version'),
      'synchronous_commit', current_setting('synchronous_commit'),
      'synchronous_standby_names', current_setting('synchronous_standby_names'),
      'timeline', substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)) AS TEXT)";

/// 15, as `server_version_num` counts.
const OLDEST: i32 = 150_000;

/// What may follow `?` in a URL; `host` is the folder of a socket.
const PARAMETERS: &[&str] = &["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Readers, unless the config says otherwise.
const POOL: u32 = 16;

/// How long one step with the server may take: longer than its own limits ([`BEGIN`]), so that it is the server that
/// ends what hangs, where it still can.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;

    use super::{Server, ServerError};

    #[test]
    fn a_server_that_is_not_here_must_prove_its_name() {
        let mode = |url: &str| format!("{:?}", Server::parse(url).unwrap().options.get_ssl_mode());
        for (url, wanted) in [
            ("postgres://stint@db.example/stint", PgSslMode::VerifyFull),
            (
                "postgres://stint@10.0.0.1:5433/stint",
                PgSslMode::VerifyFull,
            ),
            ("postgres://stint@localhost/stint", PgSslMode::Prefer),
            ("postgres://stint@127.0.0.1/stint", PgSslMode::Prefer),
            (
                "postgres://stint@%2Frun%2Fpostgresql/stint",
                PgSslMode::Prefer,
            ),
            (
                "postgres://stint@db.example/stint?sslmode=verify-ca",
                PgSslMode::VerifyCa,
            ),
        ] {
            assert_eq!(mode(url), format!("{wanted:?}"), "{url}");
        }
    }

    #[test]
    fn a_url_holds_no_secret_and_nothing_that_is_not_understood() {
        let refused = |url: &str| Server::parse(url).unwrap_err();
        assert_eq!(
            refused("postgres://stint:secret@db/stint"),
            ServerError::Password
        );
        assert_eq!(
            refused("postgres://stint@db/stint?password=secret"),
            ServerError::Password
        );
        let parameter = |name: &str| ServerError::Parameter(name.to_owned());
        assert_eq!(
            refused("postgres://stint@db/stint?sslmod=disable"),
            parameter("sslmod")
        );
        assert_eq!(
            refused("postgres://stint@db/stint?dbname=other"),
            parameter("dbname")
        );
        for nameless in [
            "postgres://db/stint",
            "postgres://stint@db",
            "postgres://stint@/stint",
        ] {
            assert!(Server::parse(nameless).is_err(), "{nameless}");
        }
    }

    #[test]
    fn what_is_shown_has_no_password() {
        let server = Server::parse("postgres://stint@db.example/stint").unwrap();
        let server = server.with_password("secret");
        assert_eq!(server.shown(), "postgres://stint@db.example:5432/stint");
        assert!(!format!("{server:?}").contains("secret"));
    }
}
