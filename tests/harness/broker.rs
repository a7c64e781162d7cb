//! [`TestBroker`]: one folder, whoever serves it, and what was seen of it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use stint_audit::Checkpoint;
use stint_broker::clock::{Clock as _, SystemClock};
use stint_broker::config::Config;
use stint_broker::http::listen::phase::Phase;
use stint_broker::keyring::Folder;
use stint_broker::serve::{Doors, Service};
use stint_broker::start::{self, Absent, StartError};
use stint_broker::store::Engine;
use stint_broker::{dev, init};
use stint_policy::{Files, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::after::{self, Released, Seen};
use crate::answer::Answer;
use crate::caller::Caller;
use crate::clock::{TestClock, eventually};
use crate::database::{self, Database};
use crate::files::write_secret;
use crate::issuer::{Issuers, Like};
use crate::log;
use crate::people::Idp;
use crate::postgres::{self, Cluster, Spot};
use crate::process::Stintd;
use crate::tls::Pki;

/// The broker's name, wherever it listens: `iss` of what it signs, audience of what it accepts.
pub const URL: &str = "http://localhost:8640";

/// What a broker is to be like; [`Setup::default`] has the sample policies and three issuers.
#[derive(Debug)]
pub struct Setup {
    files: Files,
    lines: Vec<(&'static str, String)>,
    swaps: Vec<(&'static str, &'static str)>,
    more: String,
    limits: &'static str,
    tls: bool,
    people: Option<String>,
    beside: Vec<(&'static str, Vec<u8>)>,
    now: Timestamp,
    store: Store,
}

/// On what database.
#[derive(Debug, Default)]
enum Store {
    /// A fresh one of the engine under test.
    #[default]
    Fresh,
    /// This one, whatever the run is on, by this port.
    Given(Spot, u16),
}

/// A broker over real TCP.
#[derive(Debug)]
pub struct TestBroker {
    /// The clock of the broker in this process.
    pub clock: Arc<TestClock>,
    /// Whose tokens it takes.
    pub issuers: Arc<Issuers>,
    idp: Option<Arc<Idp>>,
    folder: TempDir,
    /// Where keys and policies are: another broker's, of which this is a replica.
    home: PathBuf,
    database: Database,
    config: String,
    api: SocketAddr,
    http: Client,
    pki: Option<Pki>,
    identity: Option<String>,
    server: Server,
    log_from: usize,
    pub(crate) seen: Arc<Mutex<Seen>>,
    finished: bool,
}

/// Who serves the folder now.
#[derive(Debug)]
enum Server {
    Here {
        stop: watch::Sender<Phase>,
        task: JoinSet<()>,
    },
    Nobody,
    Process(Stintd),
}

impl Default for Setup {
    fn default() -> Self {
        let now = Timestamp::parse_rfc3339("2027-03-01T10:00:00Z").unwrap();
        Self {
            files: stint_policy::sample(),
            lines: Vec::new(),
            swaps: Vec::new(),
            more: String::new(),
            limits: NO_LIMITS,
            tls: false,
            people: None,
            beside: Vec::new(),
            now,
            store: Store::Fresh,
        }
    }
}

impl Setup {
    /// With this policy file, added or in place of the sample's.
    #[must_use]
    pub fn policy(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name, text.as_bytes().to_vec());
        self
    }

    /// With a policy file of the sample changed by exact replacement.
    #[must_use]
    pub fn replace(mut self, name: &str, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.files.get(name).unwrap().to_vec()).unwrap();
        assert!(text.contains(from), "{name} does not hold {from}");
        self.files.insert(name, text.replace(from, to).into_bytes());
        self
    }

    /// With one more line in a table of the config: `("policy", "reveal = \"full\"")`.
    #[must_use]
    pub fn set(mut self, table: &'static str, line: &str) -> Self {
        self.lines.push((table, line.to_owned()));
        self
    }

    /// With more tables of the config: `[issuer.NAME]` of an [`crate::evil::Evil`].
    #[must_use]
    pub fn tables(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }

    /// Taking every change of the policy folder as soon as it is written, and not only when told.
    #[must_use]
    pub fn watching(mut self) -> Self {
        self.swaps
            .push(("reload = \"signal\"", "reload = \"watch\""));
        self
    }

    /// With TLS of its own. The names of the configuration stay as they are: only the way there differs.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// With people who can sign in: `broker.signed_in("dana")`.
    #[must_use]
    pub fn people(self) -> Self {
        self.people_with("")
    }

    /// The same with more lines in `[people]`; one that names a key again takes its place.
    #[must_use]
    pub fn people_with(mut self, lines: &str) -> Self {
        self.people = Some(lines.to_owned());
        self
    }

    /// Called `https://localhost:8640`, as behind a proxy that ends TLS: cookies have the names they have in earnest.
    #[must_use]
    pub fn over_https(mut self) -> Self {
        let names = (
            "url = \"http://localhost:8640\"",
            "url = \"https://localhost:8640\"",
        );
        self.swaps.push(names);
        self
    }

    /// With a secret file beside the config: a key that the operator brings.
    #[must_use]
    pub fn secret_file(mut self, name: &'static str, bytes: &[u8]) -> Self {
        self.beside.push((name, bytes.to_vec()));
        self
    }

    /// With the limits per caller that an operator gets who sets none. Here the clock stands still, so they would end
    /// every table of refusals after the tenth.
    #[must_use]
    pub fn limited(mut self) -> Self {
        self.limits = "";
        self
    }

    /// Beginning at the machine's own time, for tests in which the program serves as well.
    #[must_use]
    pub fn real_time(mut self) -> Self {
        self.now = SystemClock.now();
        self
    }

    /// On this database of a server, whatever the run is on, by `port`: the server's own, or a proxy's.
    #[must_use]
    pub fn on_server(mut self, spot: &Spot, port: u16) -> Self {
        self.store = Store::Given(spot.clone(), port);
        self
    }

    /// Makes the folder and serves it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self) -> TestBroker {
        self.try_start().await.unwrap()
    }

    /// The same where it may not start.
    ///
    /// # Errors
    /// What keeps it from starting.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub async fn try_start(mut self) -> Result<TestBroker, StartError> {
        log::keep();
        // The first to install wins, and all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::Builder::new()
            .prefix("stint-it-")
            .tempdir()
            .unwrap();
        let issuers = Arc::new(Issuers::new(URL));
        let (database, store) = self.store.take(folder.path()).await;
        let policy = folder.path().join("policy");
        std::fs::create_dir(&policy).unwrap();
        init::write_policies(&policy, &self.files).unwrap();
        let clock = Arc::new(TestClock::at(self.now));
        let mut config = config(folder.path(), &store, &issuers, self.limits);
        let mut idp = None;
        if let Some(lines) = &self.people {
            let people = Idp::start(Arc::clone(&clock)).await;
            config.push_str(&with_lines(
                people.config(&folder.path().join("idp.secret")),
                lines,
            ));
            idp = Some(Arc::new(people));
        }
        config.push_str(&self.more);
        let pki = self.tls.then(|| Pki::new(folder.path()));
        self.lines
            .extend(pki.as_ref().map(|pki| ("server", pki.config())));
        for (table, line) in &self.lines {
            let head = format!("[{table}]\n");
            assert!(config.contains(&head), "no {head}");
            config = config.replacen(&head, &format!("{head}{line}\n"), 1);
        }
        for (from, to) in self.swaps {
            config = config.replacen(from, to, 1);
        }
        for (name, bytes) in self.beside {
            write_secret(&folder.path().join(name), &bytes);
        }
        let parsed = Config::parse("test", &config, folder.path())
            .unwrap()
            .config;
        let keys = Folder {
            dir: &parsed.keys.dir,
            passphrase: None,
        };
        keys.create(start::authority_of(&parsed), clock.now())
            .unwrap();
        let mut broker = TestBroker {
            clock,
            issuers,
            idp,
            home: folder.path().to_owned(),
            folder,
            database,
            config,
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            http: Client::builder().no_proxy().build().unwrap(),
            pki,
            identity: None,
            server: Server::Nobody,
            log_from: log::length(),
            seen: Arc::default(),
            finished: false,
        };
        broker.http = broker.client();
        if let Err(error) = broker.open(Absent::Begin).await {
            broker.finished = true;
            return Err(error);
        }
        let trust = broker.get("/v1/trust").await.json();
        let vkey = trust["ledger"]["vkey"].as_str().unwrap().to_owned();
        let checkpoint = broker.checkpoint().await;
        let mut seen = broker.seen.lock().unwrap();
        seen.vkey = vkey;
        seen.checkpoints.push(checkpoint);
        drop(seen);
        Ok(broker)
    }
}

impl Store {
    /// The database, and the lines of `[store]`.
    async fn take(&self, folder: &Path) -> (Database, String) {
        let (spot, port) = match (self, database::engine()) {
            (Self::Given(spot, port), _) => (spot.clone(), *port),
            (Self::Fresh, Engine::Postgres) => {
                let spot = Cluster::shared().await.database().await;
                let port = spot.port;
                (spot, port)
            }
            (Self::Fresh, Engine::Sqlite) => {
                let file = folder.join("stint.db");
                let url = format!("url = \"sqlite:{}\"", file.display());
                return (Database::File(file), url);
            }
        };
        let password = folder.join("store.password");
        write_secret(&password, postgres::PASSWORD.as_bytes());
        let text = format!(
            "url = \"{}\"\npassword = {{ file = \"{}\" }}\npool = 4",
            spot.url_at(postgres::SERVICE, port),
            password.display()
        );
        (Database::Server(spot), text)
    }
}

impl TestBroker {
    /// A broker with the sample policies and three issuers, at 2027-03-01T10:00:00Z.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// The start of one that is not quite so.
    #[must_use]
    pub fn with() -> Setup {
        Setup::default()
    }

    /// A GitHub job of `repo`: acme/web is the one the sample policies know.
    #[must_use]
    pub fn ci(&self, repo: &str) -> Caller<'_> {
        self.caller(Like::GitHub, repo)
    }

    /// A job or pod of any platform.
    #[must_use]
    pub fn caller(&self, like: Like, repo: &str) -> Caller<'_> {
        let wanted = dev::Mint {
            repo: Some(repo.to_owned()),
            ..dev::Mint::default()
        };
        Caller::new(self, like, wanted)
    }

    /// Where its people sign in.
    ///
    /// # Panics
    /// When it has none: `TestBroker::with().people()`.
    #[must_use]
    pub fn idp(&self) -> &Idp {
        self.idp.as_deref().unwrap()
    }

    /// What the callers' clocks show.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.server {
            Server::Process(_) => SystemClock.now(),
            Server::Here { .. } | Server::Nobody => self.clock.now(),
        }
    }

    /// Asks as a stranger.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Answer {
        let request = self
            .http
            .get(format!("{}{path}", self.base()))
            .header(HOST, "localhost:8640");
        Answer::read(request.send().await.unwrap()).await.unwrap()
    }

    /// Where the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.api
    }

    /// The same as a URL.
    #[must_use]
    pub fn base(&self) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.api)
    }

    /// The root of its listener, where it has TLS.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        self.pki.as_ref().unwrap()
    }

    /// From now on shows this certificate with its key, PEM, or none.
    pub fn present(&mut self, identity: Option<&str>) {
        self.identity = identity.map(str::to_owned);
        self.http = self.client();
    }

    /// A new client, with connections of its own.
    #[must_use]
    pub fn client(&self) -> Client {
        match &self.pki {
            Some(pki) => pki.client(self.identity.as_deref()),
            None => Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
        }
    }

    /// Any request to the API.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_request(method, path, headers, body).await.unwrap()
    }

    /// Bytes on a connection of their own, and all that comes back before it closes.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.api).await.unwrap();
        let mut answer = Vec::new();
        // Whoever is refused may find the connection closed before all was said.
        drop(stream.write_all(bytes).await);
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut answer).await);
        answer
    }

    /// Bytes on a connection that is closed before anything comes back.
    ///
    /// # Errors
    /// The connection's.
    pub async fn hang_up(&self, bytes: &[u8]) -> std::io::Result<()> {
        TcpStream::connect(self.api).await?.write_all(bytes).await
    }

    /// A raw JSON body to the API.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.request("POST", path, headers, body).await
    }

    /// The same, where the broker may die meanwhile.
    ///
    /// # Errors
    /// The connection's.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, reqwest::Error> {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("localhost:8640"));
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let method = method.parse().unwrap();
        let request = self
            .http
            .request(method, format!("{}{path}", self.base()))
            .headers(map);
        let answer = Answer::read(request.body(body.to_vec()).send().await?).await?;
        let released = match (answer.status.as_u16(), path) {
            (200, "/oauth2/token") => Some(Released::of_token(&answer)),
            (201, "/v1/grants") => Some(Released::of(&answer)),
            (_, _) => None,
        };
        self.seen.lock().unwrap().took(released);
        Ok(answer)
    }

    /// How many credentials left it.
    ///
    /// # Panics
    /// If a test panicked while it counted.
    #[must_use]
    pub fn released(&self) -> usize {
        self.seen.lock().unwrap().released.len()
    }

    /// The grants whose credentials left it: `gr_…`.
    ///
    /// # Panics
    /// If a test panicked while it took note.
    #[must_use]
    pub fn grants(&self) -> std::collections::BTreeSet<String> {
        let seen = self.seen.lock().unwrap();
        seen.released
            .iter()
            .map(|released| released.grant.clone())
            .collect()
    }

    /// A text that may be found nowhere afterwards.
    pub fn canary(&self, secret: &str) {
        self.seen.lock().unwrap().canaries.push(secret.to_owned());
    }

    /// A request on the operator socket.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn operator(&self, method: &str, path: &str) -> Answer {
        let client = Client::builder()
            .unix_socket(self.path("stintd.sock"))
            .build()
            .unwrap();
        let request = client.request(method.parse().unwrap(), format!("http://localhost{path}"));
        Answer::read(request.send().await.unwrap()).await.unwrap()
    }

    /// A command on the operator socket, with a JSON body.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn command(&self, path: &str, body: &serde_json::Value) -> Answer {
        let client = Client::builder()
            .unix_socket(self.path("stintd.sock"))
            .build()
            .unwrap();
        let request = client
            .post(format!("http://localhost{path}"))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        Answer::read(request.send().await.unwrap()).await.unwrap()
    }

    /// The line of one check in `/readyz?verbose`, such as `issuer github`.
    ///
    /// # Panics
    /// When there is no such check.
    pub async fn check(&self, name: &str) -> serde_json::Value {
        let checks = self.operator("GET", "/readyz?verbose").await.json();
        let checks = checks.as_array().unwrap().clone();
        let found = checks.into_iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no check {name}"))
    }

    /// Replaces text of the config, for the next start.
    ///
    /// # Panics
    /// When it is not there.
    pub fn reconfigure(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "no {from}");
        self.config = self.config.replacen(from, to, 1);
    }

    /// Waits until tiles and index are there up to the last entry.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn derived(&self) {
        let size = i64::try_from(self.size().await).unwrap();
        let file = self.database();
        eventually("tiles and index are written", async || {
            let sql = "SELECT coalesce(max(seq), 0) FROM ledger_cursor WHERE name = 'derived'";
            database::number(&file, sql).await >= size
        })
        .await;
    }

    /// Waits until the newest entry is an anchor, a minute after the one before: from then on the ledger stands still,
    /// however the clock is moved.
    ///
    /// # Panics
    /// When none comes.
    pub async fn anchored(&self) {
        let file = self.database();
        eventually("the newest entry is an anchor", async || {
            let sql = "SELECT coalesce(max(seq) + 1, 0) FROM ledger_index WHERE kind = 'anchor'";
            database::number(&file, sql).await.unsigned_abs() == self.size().await
        })
        .await;
    }

    /// The newest signed head.
    pub async fn checkpoint(&self) -> Checkpoint {
        let note = self.get("/v1/ledger/checkpoint").await.text();
        Checkpoint::parse_note(&note).unwrap().0
    }

    /// Entries in the ledger.
    pub async fn size(&self) -> u64 {
        self.checkpoint().await.size
    }

    /// Entries in the ledger and rows in each table: what noise must leave as it was.
    pub async fn state(&self) -> (u64, Vec<i64>) {
        (self.size().await, database::counts(&self.database()).await)
    }

    /// Stops whoever serves, in order.
    pub async fn stop(&mut self) {
        match std::mem::replace(&mut self.server, Server::Nobody) {
            Server::Here { stop, task } => {
                stop.send_replace(Phase::Draining);
                task.join_all().await;
            }
            Server::Nobody => {}
            Server::Process(mut stintd) => stintd.terminate().await,
        }
        // A pooled connection to a server that is gone would fail the next request.
        self.http = self.client();
    }

    /// Kills the program that serves, as a power cut would.
    ///
    /// # Panics
    /// When it is this process that serves.
    pub fn kill(&mut self) {
        let Server::Process(mut stintd) = std::mem::replace(&mut self.server, Server::Nobody)
        else {
            panic!("only a process can be killed");
        };
        stintd.kill();
        self.http = self.client();
    }

    /// Serves the same folder again, in this process.
    ///
    /// # Errors
    /// What keeps the broker from starting.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.stop().await;
        self.clock.catch_up(SystemClock.now());
        self.open(Absent::Refuse).await
    }

    /// A second broker on the same folder, beside the first.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn second(&self) -> Result<(), StartError> {
        let config = Config::parse("test", &self.config, self.folder.path())
            .unwrap()
            .config;
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let socket = UnixListener::bind(self.path("second.sock")).unwrap();
        let doors = Doors {
            api,
            ops: None,
            socket,
            extra: axum::Router::new(),
        };
        let clock = Arc::clone(&self.clock);
        Box::pin(Service::start(config, clock, Absent::Refuse, doors))
            .await
            .map(drop)
    }

    /// Another broker over the same database, with the same keys and policies: a replica named `node`, with an address,
    /// a socket and a pin of its own, served in this process. What it hands out counts for both. It ends with `finish`
    /// too, before the broker it is a replica of.
    ///
    /// # Errors
    /// What keeps it from starting.
    ///
    /// # Panics
    /// When this broker is on a file.
    pub async fn replica(&self, node: &str) -> Result<TestBroker, StartError> {
        let mut replica = self.beside(node, |config| config);
        match replica.open(Absent::Refuse).await {
            Ok(()) => Ok(replica),
            Err(error) => {
                replica.finished = true;
                Err(error)
            }
        }
    }

    /// The same, not serving yet, and with a config that `change` made of ours: `replica.restart()` or
    /// `replica.serve(None)` begins.
    ///
    /// # Panics
    /// When this broker is on a file.
    #[must_use]
    pub fn beside(&self, node: &str, change: impl FnOnce(String) -> String) -> TestBroker {
        assert_eq!(
            self.database.engine(),
            Engine::Postgres,
            "a file has one broker"
        );
        let folder = tempfile::Builder::new()
            .prefix("stint-it-")
            .tempdir()
            .unwrap();
        let own = |config: String, name: &str| {
            let path = |folder: &Path| folder.join(name).display().to_string();
            config.replacen(&path(self.folder.path()), &path(folder.path()), 1)
        };
        let config = own(own(self.config.clone(), "stintd.sock"), "ledger.pin");
        let config = config.replacen("[ledger]\n", &format!("[ledger]\nnode = \"{node}\"\n"), 1);
        let mut replica = TestBroker {
            clock: Arc::clone(&self.clock),
            issuers: Arc::clone(&self.issuers),
            idp: self.idp.clone(),
            home: self.home.clone(),
            folder,
            database: self.database.clone(),
            config: change(config),
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            http: self.http.clone(),
            pki: None,
            identity: None,
            server: Server::Nobody,
            log_from: self.log_from,
            seen: Arc::clone(&self.seen),
            finished: false,
        };
        replica.http = replica.client();
        replica
    }

    /// Lets the program `stintd` serve the same folder, with a file size limit in KiB if one is given.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn serve(&mut self, limit: Option<u64>) {
        self.stop().await;
        let stintd = Stintd::serve(self.folder.path(), &self.config, limit).await;
        self.api = stintd.api;
        self.server = Server::Process(stintd);
    }

    /// The same with these variables in the program's environment.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn serve_with(&mut self, env: &[(&str, &str)]) {
        self.stop().await;
        let stintd = Stintd::serve_with(self.folder.path(), &self.config, None, env).await;
        self.api = stintd.api;
        self.server = Server::Process(stintd);
    }

    /// The program that serves.
    ///
    /// # Panics
    /// When it is this process.
    pub fn process(&mut self) -> &mut Stintd {
        match &mut self.server {
            Server::Process(stintd) => stintd,
            Server::Here { .. } | Server::Nobody => panic!("no process serves"),
        }
    }

    /// The config as a file, for programs.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        let path = self.path("stint.toml");
        std::fs::write(&path, &self.config).unwrap();
        path
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes its configuration where programs can read it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn write_config(&self) -> PathBuf {
        let path = self.path("stint.toml");
        std::fs::write(&path, &self.config).unwrap();
        path
    }

    /// The database: a file, or one of a server.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// Its database is at another server from now on.
    pub fn moved_to(&mut self, spot: Spot) {
        self.database = Database::Server(spot);
    }

    /// Writes a file of the policy folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_policy(&self, name: &str, text: &str) {
        std::fs::write(self.home.join("policy").join(name), text).unwrap();
    }

    /// A file of the policy folder.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn read_policy(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.join("policy").join(name)).unwrap()
    }

    /// Loads the policy folder anew.
    pub async fn reload(&self) -> Answer {
        self.operator("POST", "/v1/policy/reload").await
    }

    /// Ends the test: what must hold after every test holds.
    pub async fn finish(self) {
        self.end(after::Delivery::All).await;
    }

    /// The same where a crash may have kept recorded grants from being handed out.
    pub async fn finish_after_crash(self) {
        self.end(after::Delivery::Some).await;
    }

    async fn end(mut self, delivery: after::Delivery) {
        self.finished = true;
        after::check_ledger(&self, delivery).await;
        self.leave().await;
    }

    /// Ends a test whose broker does not serve any more, on purpose.
    pub async fn abandon(mut self) {
        self.finished = true;
        self.leave().await;
    }

    /// Ends a test whose database is out of reach, on purpose: files and events alone are looked at.
    pub async fn give_up(mut self) {
        self.finished = true;
        self.stop().await;
        let secrets = self.seen.lock().unwrap().secrets();
        after::check_secrets(&secrets, self.folder.path(), &[], self.log_from);
    }

    /// Stops, looks for secrets in all that is left, and takes it away.
    async fn leave(&mut self) {
        self.stop().await;
        let secrets = self.seen.lock().unwrap().secrets();
        let stored = self.database.bytes().await;
        after::check_secrets(&secrets, self.folder.path(), &stored, self.log_from);
        let is_replica = self.home != self.folder.path();
        if let (Database::Server(spot), false) = (&self.database, is_replica) {
            spot.remove().await;
        }
    }

    async fn open(&mut self, absent: Absent) -> Result<(), StartError> {
        let config = Config::parse("test", &self.config, self.folder.path())
            .unwrap()
            .config;
        let socket = self.path("stintd.sock");
        drop(std::fs::remove_file(&socket));
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = api.local_addr().unwrap();
        let socket = UnixListener::bind(&socket).unwrap();
        let doors = Doors {
            api,
            ops: None,
            socket,
            extra: axum::Router::new(),
        };
        let clock = Arc::clone(&self.clock);
        let service = Box::pin(Service::start(config, clock, absent, doors)).await?;
        let (stop, stopped) = watch::channel(Phase::Serving);
        let mut task = JoinSet::new();
        task.spawn(service.run(stopped));
        self.api = address;
        self.server = Server::Here { stop, task };
        Ok(())
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "a test ends with finish()"
        );
    }
}

/// `[people]` with other lines for some of its keys, and more of them.
fn with_lines(config: String, lines: &str) -> String {
    let keys: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split_once(" ="))
        .map(|(key, _)| key)
        .collect();
    let kept = config.lines().filter(|line| {
        line.split_once(" =")
            .is_none_or(|(key, _)| !keys.contains(&key))
    });
    let kept: Vec<&str> = kept.collect();
    let text = kept.join("\n") + "\n";
    text.replacen("[people]\n", &format!("[people]\n{lines}\n"), 1)
}

/// `stint.toml` of the folder.
fn config(folder: &Path, store: &str, issuers: &Issuers, limits: &str) -> String {
    let folder = folder.display();
    let mut text = format!(
        r#"version = 1
[server]
url = "{URL}"
[ops]
socket = "{folder}/stintd.sock"
[store]
{store}
[ledger]
origin = "it.stint/ledger"
pin = "{folder}/ledger.pin"
[keys]
dir = "{folder}/keys"
[ca]
trust_domain = "acme.dev"
[policy]
dir = "{folder}/policy"
reload = "signal"
[limits]
{limits}
"#
    );
    write!(text, "{}", issuers.config()).unwrap();
    text
}

/// More than any test asks.
const NO_LIMITS: &str = "asks_per_caller = \"10000/s\"\ndenials_per_caller = \"10000/s\"\ndry_runs_per_caller = \"10000/s\"";
