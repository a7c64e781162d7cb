//! PostgreSQL of our own: a cluster a test binary, a database a broker.
//!
//! A cluster lies in memory if there is room, listens on a socket of its own and on loopback, and asks for SCRAM
//! passwords; `fsync` is on, for the broker refuses less. It ends with whoever started it, however that ends: a guardian,
//! a shell in a process group of its own, waits for the end of a pipe and then stops that one server and removes its
//! folder. PostgreSQL refuses to run as root: a root's tests run it as `postgres`.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use stint_broker::store::{self, Location, Server};
use tokio::sync::OnceCell;

use crate::files::write_secret;

/// A server with its files.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    guardian: Child,
    template: OnceCell<()>,
}

/// A database of a cluster, made from the migrated template.
#[derive(Debug, Clone)]
pub struct Spot {
    /// Its name.
    pub name: String,
    /// Where the server listens.
    pub port: u16,
    socket: PathBuf,
}

/// Who a standby's primary waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// Nobody: what was acknowledged may be lost with the primary.
    Async,
    /// The standby.
    Sync,
}

/// Both roles' password, and the superuser's: what is looked for in files is something else.
pub const PASSWORD: &str = "one-cluster-one-test";
/// Who owns the tables and migrates.
pub const OWNER: &str = "stint_owner";
/// As whom the broker serves: `deploy/postgres.sql` says what it may.
pub const SERVICE: &str = "stint";

/// What the broker may, word for word as operators grant it.
pub const GRANTS: &str = include_str!("../../deploy/postgres.sql");

static SHARED: OnceCell<Cluster> = OnceCell::const_new();

impl Cluster {
    /// The one of this test binary, running.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(async || Self::start(&[])).await
    }

    /// One of the test's own, with these settings beside the usual: for whoever breaks it.
    ///
    /// # Panics
    /// When PostgreSQL does not start.
    #[must_use]
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let cluster = Self::empty();
        let passwords = cluster.folder.join("password");
        write_secret(&passwords, PASSWORD.as_bytes());
        give(&passwords);
        let mut initdb = program("initdb");
        initdb
            .args(["--username=postgres", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions", "--auth=scram-sha-256"])
            .arg(option("--pwfile=", &passwords))
            .arg(option("--pgdata=", &cluster.data()));
        run(initdb);
        cluster.configure(SETTINGS);
        cluster.configure(&[
            ("port", &cluster.port.to_string()),
            (
                "unix_socket_directories",
                &cluster.folder.display().to_string(),
            ),
        ]);
        cluster.configure(settings);
        std::fs::write(cluster.data().join("pg_hba.conf"), HBA).unwrap();
        cluster.up();
        cluster
    }

    /// A standby that streams from this server and may be promoted. With [`Replication::Sync`] this server waits for it
    /// from now on.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn standby(&self, replication: Replication) -> Self {
        let standby = Self::empty();
        let mut copy = program("pg_basebackup");
        copy.env("PGPASSWORD", PASSWORD)
            .args([
                "--host=127.0.0.1",
                "--username=postgres",
                "--wal-method=stream",
            ])
            .args(["--checkpoint=fast", "--no-sync"])
            .arg(format!("--port={}", self.port))
            .arg(option("--pgdata=", &standby.data()));
        run(copy);
        let port = standby.port.to_string();
        let primary = format!(
            "host=127.0.0.1 port={} user=postgres password={PASSWORD} application_name=standby",
            self.port
        );
        standby.configure(&[
            ("port", &port),
            (
                "unix_socket_directories",
                &standby.folder.display().to_string(),
            ),
            ("primary_conninfo", &primary),
            ("hot_standby", "on"),
            ("synchronous_standby_names", ""),
        ]);
        let signal = standby.data().join("standby.signal");
        std::fs::write(&signal, "").unwrap();
        give(&signal);
        standby.up();
        if replication == Replication::Sync {
            self.configure(&[("synchronous_standby_names", "standby")]);
            self.reload();
        }
        standby
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A fresh database with the schema and the roles of `deploy/postgres.sql`.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self) -> Spot {
        self.template.get_or_init(|| self.make_template()).await;
        let spot = self.spot(&format!("it_{}", fresh()));
        self.tell("postgres", &spot.create_from("stint_template"))
            .await;
        spot
    }

    /// A fresh database without anything in it, which `stint_owner` owns.
    pub async fn empty_database(&self) -> Spot {
        self.template.get_or_init(|| self.make_template()).await;
        let spot = self.spot(&format!("it_{}", fresh()));
        let create = format!("CREATE DATABASE {} OWNER {OWNER}", spot.name);
        self.tell("postgres", &create).await;
        self.tell(&spot.name, GIVE_SCHEMA).await;
        spot
    }

    /// The database `name` of it.
    #[must_use]
    pub fn spot(&self, name: &str) -> Spot {
        Spot {
            name: name.to_owned(),
            port: self.port,
            socket: self.folder.clone(),
        }
    }

    /// Any SQL, several statements too, as the superuser.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn tell(&self, database: &str, sql: &str) {
        self.spot(database).tell(sql).await;
    }

    /// Writes settings; [`Self::reload`] or [`Self::restart`] makes them hold. The last of a name counts.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let path = self.data().join("postgresql.conf");
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        for (name, value) in settings {
            writeln!(file, "{name} = '{value}'").unwrap();
        }
    }

    /// Takes these files for its own certificate and key; `ssl = on` makes them count.
    ///
    /// # Panics
    /// When they cannot be copied.
    pub fn take_certificate(&self, cert: &Path, key: &Path) {
        for (from, name) in [(cert, "server.crt"), (key, "server.key")] {
            let to = self.data().join(name);
            write_secret(&to, &std::fs::read(from).unwrap());
            give(&to);
        }
    }

    /// Reads the settings anew.
    pub fn reload(&self) {
        self.control(&["reload"]);
    }

    /// Starts it, and waits until it answers.
    pub fn up(&self) {
        // A bounded wait: a standby answers as soon as it is consistent.
        let log = option("--log=", &self.folder.join("log"));
        let mut start = self.ctl();
        start
            .args(["start", "--wait", "--timeout=60", "--silent"])
            .arg(log);
        run(start);
    }

    /// Stops it: `fast` ends sessions in order, `immediate` is a crash that is recovered from.
    pub fn down(&self, mode: &str) {
        self.control(&["stop", "--wait", "--mode", mode]);
    }

    /// Stops and starts it.
    pub fn restart(&self, mode: &str) {
        self.down(mode);
        self.up();
    }

    /// A standby becomes the primary of a new timeline.
    pub fn promote(&self) {
        self.control(&["promote", "--wait"]);
    }

    /// Its process, the postmaster.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    }

    /// What it wrote into its log.
    #[must_use]
    pub fn said(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// A folder with a guardian, and nothing in it yet.
    fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stint-pg-")
            .tempdir_in(base())
            .unwrap()
            .keep();
        give(&folder);
        let guardian = Command::new("bash")
            .args(["-c", GUARDIAN, "bash"])
            .arg(&folder)
            .arg(bin())
            .args(as_postgres())
            .current_dir("/")
            // Ctrl-C is for the tests; the guardian ends when they have.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            folder,
            port: free(),
            guardian,
            template: OnceCell::new(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn ctl(&self) -> Command {
        let mut ctl = program("pg_ctl");
        ctl.arg(option("--pgdata=", &self.data()));
        ctl
    }

    fn control(&self, words: &[&str]) {
        let mut ctl = self.ctl();
        ctl.args(words);
        run(ctl);
    }

    async fn make_template(&self) {
        let roles = format!(
            "CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE {SERVICE} LOGIN PASSWORD '{PASSWORD}'"
        );
        self.tell("postgres", &roles).await;
        let create = format!("CREATE DATABASE stint_template OWNER {OWNER}");
        self.tell("postgres", &create).await;
        let template = self.spot("stint_template");
        template.tell(GIVE_SCHEMA).await;
        store::migrate(&template.location(OWNER)).await.unwrap();
        template.tell(GRANTS).await;
        template.tell(ATTACK).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        drop(self.guardian.wait());
    }
}

impl Spot {
    /// `postgres://ROLE@127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn url(&self, role: &str) -> String {
        self.url_at(role, self.port)
    }

    /// The same by another port: a proxy's.
    #[must_use]
    pub fn url_at(&self, role: &str, port: u16) -> String {
        format!("postgres://{role}@127.0.0.1:{port}/{}", self.name)
    }

    /// For the broker's own code.
    ///
    /// # Panics
    /// Never: the URL is whole.
    #[must_use]
    pub fn location(&self, role: &str) -> Location {
        let server = Server::parse(&self.url(role)).unwrap();
        Location::Server(server.with_password(PASSWORD))
    }

    /// For a foreign client, with the password.
    ///
    /// # Panics
    /// Never: the URL is whole.
    #[must_use]
    pub fn options(&self, role: &str) -> PgConnectOptions {
        let options: PgConnectOptions = self.url(role).parse().unwrap();
        options.password(PASSWORD)
    }

    /// A connection as the superuser, by the socket.
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::new()
            .socket(&self.socket)
            .port(self.port)
            .username("postgres")
            .database(&self.name)
            .options([("search_path", "public,attack")]);
        PgConnection::connect_with(&options).await.unwrap()
    }

    /// Any SQL, several statements too, as the superuser. Gives the rows it changed.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn tell(&self, sql: &str) -> u64 {
        let mut db = self.connect().await;
        // What a test thinks of.
        let done = db
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await;
        let done = done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        db.close().await.unwrap();
        done.rows_affected()
    }

    /// Keeps a copy of it, as it is, under `name`; nobody may be connected.
    pub async fn copy_to(&self, name: &str) {
        let copy = self.named(name);
        let sql = copy.create_from(&self.name);
        self.server().tell(&copy.drop_sql()).await;
        self.server().tell(&sql).await;
    }

    /// Makes it what the copy `name` is.
    pub async fn copy_from(&self, name: &str) {
        self.server().tell(&self.drop_sql()).await;
        let sql = self.create_from(&self.named(name).name);
        self.server().tell(&sql).await;
    }

    /// Makes it new: the schema and nothing else.
    pub async fn empty(&self) {
        self.server().tell(&self.drop_sql()).await;
        self.server()
            .tell(&self.create_from("stint_template"))
            .await;
    }

    /// Takes it away, whoever is connected.
    pub async fn remove(&self) {
        self.server().tell(&self.drop_sql()).await;
    }

    fn server(&self) -> Self {
        Self {
            name: "postgres".to_owned(),
            ..self.clone()
        }
    }

    fn named(&self, name: &str) -> Self {
        Self {
            name: format!("{}_{name}", self.name),
            ..self.clone()
        }
    }

    fn create_from(&self, template: &str) -> String {
        format!(
            "CREATE DATABASE {} OWNER {OWNER} TEMPLATE {template}",
            self.name
        )
    }

    fn drop_sql(&self) -> String {
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
    }
}

/// Where clusters lie: in memory if there is room for their databases.
fn base() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail * found.f_frsize);
    if room > 2 << 30 {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// Debian's newest that we know of.
fn bin() -> PathBuf {
    let known =
        ["15", "16", "17", "18"].map(|it| PathBuf::from(format!("/usr/lib/postgresql/{it}/bin")));
    let found = known.iter().find(|path| path.join("postgres").exists());
    found
        .unwrap_or_else(|| panic!("PostgreSQL 15 is not there: install postgresql-15"))
        .clone()
}

/// What comes before a program of PostgreSQL.
fn as_postgres() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &[
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
        ]
    } else {
        &[]
    }
}

fn program(name: &str) -> Command {
    let path = bin().join(name);
    let mut command = match as_postgres() {
        [first, more @ ..] => {
            let mut command = Command::new(first);
            command.args(more).arg(path);
            command
        }
        [] => Command::new(path),
    };
    // Whoever may not read the folder the tests run in would be told so each time.
    command.current_dir("/");
    command
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// Runs a program to its end. Its output goes nowhere a server could hold open.
fn run(mut command: Command) {
    let file = tempfile::tempfile().unwrap();
    let ended = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file.try_clone().unwrap())
        .status()
        .unwrap();
    if !ended.success() {
        use std::io::{Read as _, Seek as _};
        let (mut file, mut said) = (file, String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut said).unwrap();
        panic!("{command:?}: {ended}\n{said}");
    }
}

/// Makes a file or folder the server's.
fn give(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let asked = |flag: &str| {
        let found = Command::new("id")
            .args([flag, "postgres"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout)
            .trim()
            .parse()
            .unwrap()
    };
    std::os::unix::fs::chown(path, Some(asked("-u")), Some(asked("-g"))).unwrap();
}

/// A port nobody has now.
fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A name nobody has.
fn fresh() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// $1: the cluster's folder; $2: PostgreSQL's programs; the rest: how to run one. Reads until whoever holds the other end
/// is gone, then ends that server and its folder. A server that was ended before is no fault.
const GUARDIAN: &str = r#"
trap '' INT TERM HUP
folder=$1 bin=$2
shift 2
while read -r _; do :; done
[ ! -f "$folder/data/postmaster.pid" ] || "$@" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop
rm -rf -- "$folder"
"#;

/// The superuser by the socket in the cluster's folder, which only its own user can reach; all others by password.
const HBA: &str = "local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
";

const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("shared_buffers", "32MB"),
    ("max_connections", "300"),
    ("max_wal_size", "256MB"),
    ("fsync", "on"),
    ("wal_level", "replica"),
    ("max_wal_senders", "4"),
    ("log_min_messages", "warning"),
];

/// From 15 on nobody but its owner makes anything in `public`.
const GIVE_SCHEMA: &str = "ALTER SCHEMA public OWNER TO stint_owner";

/// Words of SQLite in which tests spoil what is stored.
const ATTACK: &str = "CREATE SCHEMA attack;
CREATE FUNCTION attack.zeroblob(n integer) RETURNS bytea LANGUAGE sql IMMUTABLE
  AS 'SELECT decode(repeat(''00'', n), ''hex'')'";
