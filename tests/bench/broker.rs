//! The broker under load, and what is asked of it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use stint_broker::authenticate::Evidence;
use stint_broker::clock::{Clock, SystemClock};
use stint_broker::config::{Config, Secret};
use stint_broker::dev::{Issuer, Mint};
use stint_broker::http::listen::phase::Phase;
use stint_broker::init::write_policies;
use stint_broker::issue::Broker;
use stint_broker::keyring::Folder;
use stint_broker::serve::{Doors, Service};
use stint_broker::start::{self, Absent};
use stint_policy::{Files, Principal};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::load::{self, Run, Target};

/// A broker that serves, and its fake GitHub.
pub(crate) struct Bench {
    runtime: Runtime,
    pub(crate) target: Target,
    url: String,
    door: Door,
    github: Issuer,
    pub(crate) broker: Arc<Broker>,
    serving: JoinHandle<()>,
    stop: watch::Sender<Phase>,
    pub(crate) folder: TempDir,
}

/// By which route a broker is asked, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `POST /v1/grants`, in the clear.
    Grants,
    /// `POST /oauth2/token`, over TLS.
    Token,
}

/// The kinds of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Jwt,
    X509,
}

impl Wanted {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Wanted::Jwt => "JWT",
            Wanted::X509 => "X.509",
        }
    }
}

/// Where the store is.
#[derive(Debug, Clone)]
pub(crate) enum Ground {
    /// A file in the folder.
    File,
    /// A server: the lines of `[store]`.
    Server(String),
}

/// Another broker on the same server.
pub(crate) struct Replica {
    pub(crate) target: Target,
    pub(crate) broker: Arc<Broker>,
    runtime: Runtime,
    serving: JoinHandle<()>,
    stop: watch::Sender<Phase>,
    _folder: TempDir,
}

impl Replica {
    pub(crate) fn stop(self) {
        drop(self.broker);
        self.stop.send_replace(Phase::Draining);
        self.runtime.block_on(self.serving).unwrap();
    }
}

impl Bench {
    pub(crate) fn start(door: Door) -> Bench {
        Bench::start_on(door, |_| Ground::File)
    }

    /// The same on `ground`, which is told the folder.
    pub(crate) fn start_on(door: Door, ground: impl FnOnce(&Path) -> Ground) -> Bench {
        // On the disk that holds `target`, since /tmp may be memory.
        let folder = tempfile::Builder::new()
            .prefix("stint-bench-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let runtime = load::runtime("broker", 2);
        let (stop, stopped) = watch::channel(Phase::Serving);
        let ground = ground(folder.path());
        let (target, github, service) = runtime.block_on(service(folder.path(), door, &ground));
        let broker = Arc::clone(&service.app.broker);
        let serving = runtime.spawn(service.run(stopped));
        Bench {
            runtime,
            door,
            url: format!("http://localhost:{}", target.address.port()),
            target,
            github,
            broker,
            serving,
            stop,
            folder,
        }
    }

    /// Another broker with this one's name and keys, as node `node`, on the same server.
    pub(crate) fn replica(&self, node: &str, ground: impl FnOnce(&Path) -> Ground) -> Replica {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let runtime = load::runtime("broker", 2);
        let (stop, stopped) = watch::channel(Phase::Serving);
        // Its password is written; the rest of the config is the first one's.
        drop(ground(folder.path()));
        let (target, service) = runtime.block_on(async {
            let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = api.local_addr().unwrap();
            let text = std::fs::read_to_string(self.folder.path().join("stint.toml")).unwrap();
            let own = |name: &str| folder.path().join(name).display().to_string();
            let first = self.folder.path().display();
            let text = text
                .replace(&format!("{}", self.target.address), &format!("{address}"))
                .replace(&format!("http://localhost:{}", address.port()), &self.url)
                .replace(&format!("{first}/stintd.sock"), &own("stintd.sock"))
                .replace(&format!("{first}/ledger.pin"), &own("ledger.pin"))
                .replace(&format!("{first}/pg-password"), &own("pg-password"))
                .replace("[ledger]\n", &format!("[ledger]\nnode = \"{node}\"\n"));
            let text = text + &self.github.config();
            let config = Config::parse("bench", &text, folder.path()).unwrap().config;
            let socket = UnixListener::bind(&config.ops.socket).unwrap();
            let doors = Doors {
                api,
                ops: None,
                socket,
                extra: axum::Router::new(),
            };
            let service = Service::start(config, Arc::new(SystemClock), Absent::Refuse, doors);
            let target = Target {
                address,
                from: IpAddr::V4(Ipv4Addr::LOCALHOST),
                tls: None,
            };
            (target, Box::pin(service).await.unwrap())
        });
        let broker = Arc::clone(&service.app.broker);
        let serving = runtime.spawn(service.run(stopped));
        Replica {
            target,
            broker,
            runtime,
            serving,
            stop,
            _folder: folder,
        }
    }

    /// On the broker's own threads.
    pub(crate) fn block_on<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// Whole requests for such credentials, each with a token of its own.
    pub(crate) fn wanted(&self, wanted: Wanted, asks: usize) -> Vec<Arc<[u8]>> {
        self.requests(wanted, asks)
    }

    /// Asks `asks` times, by fresh tokens.
    pub(crate) fn run(&self, wanted: Wanted, connections: usize, asks: usize) -> Run {
        let status = match self.door {
            Door::Grants => 201,
            Door::Token => 200,
        };
        let requests = self.requests(wanted, asks);
        load::run(&self.target, requests, connections, status)
    }

    /// Whole requests, each with a token of its own.
    pub(crate) fn asks(&self, asks: usize) -> Vec<Arc<[u8]>> {
        self.requests(Wanted::Jwt, asks)
    }

    /// A request for a JWT with this token, by the door of this broker, for the environment of team `team`.
    pub(crate) fn with_token(&self, token: &str, team: usize) -> Arc<[u8]> {
        let credential = json!({ "kind": "jwt", "audience": AUDIENCE });
        self.written(token, team, &credential)
    }

    /// Its token, good once.
    pub(crate) fn one_token(&self, number: usize) -> String {
        self.token(0, number)
    }

    /// acme/web, as its token is read.
    pub(crate) fn caller(&self) -> Principal {
        let now = SystemClock.now();
        let token = self.github.mint(&Mint::default(), now).unwrap();
        let evidence = Evidence::token(Secret::new(token), None);
        let caller = self
            .runtime
            .block_on(self.broker.roster.authenticate(&evidence, now))
            .unwrap();
        caller.principal().clone()
    }

    /// Stops it, and leaves its folder.
    pub(crate) fn stop(self) -> TempDir {
        // Who holds the broker holds its ledger open.
        drop(self.broker);
        self.stop.send_replace(Phase::Draining);
        self.runtime.block_on(self.serving).unwrap();
        self.folder
    }

    /// Signing 2048 bits takes a millisecond: half of them on another thread.
    fn requests(&self, wanted: Wanted, asks: usize) -> Vec<Arc<[u8]>> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let make = |numbers: std::ops::Range<usize>| -> Vec<Arc<[u8]>> {
            numbers
                .map(|number| self.request(wanted, number, &key))
                .collect()
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| make(0..asks / 2));
            let mine = make(asks / 2..asks);
            let mut all = other.join().unwrap();
            all.extend(mine);
            all
        })
    }

    fn request(&self, wanted: Wanted, number: usize, key: &KeyPair) -> Arc<[u8]> {
        let team = number % TEAMS;
        let credential = match wanted {
            Wanted::Jwt => json!({ "kind": "jwt", "audience": AUDIENCE }),
            Wanted::X509 => {
                let csr = CertificateParams::default().serialize_request(key).unwrap();
                json!({ "kind": "x509", "csr": csr.pem().unwrap() })
            }
        };
        self.written(&self.token(team, number), team, &credential)
    }

    fn written(&self, token: &str, team: usize, credential: &Value) -> Arc<[u8]> {
        let resource = format!("Environment::\"team-{team}/web\"");
        let text = match self.door {
            Door::Grants => by_grants(token, &resource, credential),
            Door::Token => by_token(token, &resource, credential),
        };
        text.into_bytes().into()
    }

    fn token(&self, team: usize, number: usize) -> String {
        let now = SystemClock.now();
        // Four asks a run, and no run twice in this process.
        let run = format!(
            "{}{:06}",
            now.as_millis() / 1_000,
            number / (4 * TEAMS) * TEAMS + team
        );
        let claims = [
            ("repository_id", repository(team)),
            ("run_id", run.clone()),
            ("check_run_id", run),
        ];
        let claims = claims.map(|(name, value)| (name.to_owned(), Value::String(value)));
        let wanted = Mint {
            repo: Some(format!("acme/team-{team}")),
            claims: claims.into_iter().collect(),
            ..Mint::default()
        };
        self.github.mint(&wanted, now).unwrap()
    }
}

fn by_grants(token: &str, resource: &str, credential: &Value) -> String {
    let ask = json!({ "action": "deploy", "resources": [resource], "credential": credential, "ttl_s": 300 });
    let body = ask.to_string();
    format!(
        "POST /v1/grants HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The same ask in OAuth's words (RFC 8693, RFC 9396).
fn by_token(token: &str, resource: &str, credential: &Value) -> String {
    let details = json!([{ "type": "stint_task", "action": "deploy", "resources": [resource], "ttl_s": 300 }]);
    let details = details.to_string();
    let mut form = vec![
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("authorization_details", &details),
    ];
    match credential["csr"].as_str() {
        Some(csr) => form.extend([
            ("requested_token_type", "urn:stint:token-type:x509"),
            ("csr", csr),
        ]),
        None => form.push(("audience", AUDIENCE)),
    }
    let url = reqwest::Url::parse_with_params("https://localhost", form).unwrap();
    let body = url.query().unwrap();
    format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) async fn service(
    folder: &Path,
    door: Door,
    ground: &Ground,
) -> (Target, Issuer, Service) {
    let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = api.local_addr().unwrap();
    let (scheme, tls, lines) = match door {
        Door::Grants => ("http", None, String::new()),
        Door::Token => {
            let (connector, lines) = tls(folder);
            ("https", Some(connector), lines)
        }
    };
    let url = format!("{scheme}://localhost:{}", address.port());
    let policy = folder.join("policy");
    write_policies(&policy, &policies(10 + TEAMS)).unwrap();
    let github = Issuer::all(&url).unwrap().remove(0);
    let lines = format!("listen = \"{address}\"\n{lines}");
    // For the program, which takes no issuer whose key is public.
    let text = config(&url, folder, (&lines, ground));
    std::fs::write(folder.join("stint.toml"), &text).unwrap();
    let text = text + &github.config();
    let config = Config::parse("bench", &text, folder).unwrap().config;
    let keys = Folder {
        dir: &config.keys.dir,
        passphrase: None,
    };
    keys.create(start::authority_of(&config), SystemClock.now())
        .unwrap();
    let socket = UnixListener::bind(&config.ops.socket).unwrap();
    let doors = Doors {
        api,
        ops: None,
        socket,
        extra: axum::Router::new(),
    };
    let service = Service::start(config, Arc::new(SystemClock), Absent::Begin, doors)
        .await
        .unwrap();
    let target = Target {
        address,
        from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        tls,
    };
    (target, github, service)
}

/// A certificate of the broker's own and who trusts it, and the config that serves it.
fn tls(folder: &Path) -> (TlsConnector, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(&folder.join("tls.pem"), &cert.pem());
    write(&folder.join("tls.key"), &signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let folder = folder.display();
    let lines =
        format!(r#"tls = {{ cert = "{folder}/tls.pem", key = {{ file = "{folder}/tls.key" }} }}"#);
    (TlsConnector::from(Arc::new(client)), lines)
}

/// A file that nobody else may read.
pub(crate) fn write(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn config(url: &str, folder: &Path, (server, ground): (&str, &Ground)) -> String {
    let folder = folder.display();
    let store = match ground {
        Ground::File => format!("url = \"sqlite:{folder}/stint.db\""),
        Ground::Server(lines) => lines.clone(),
    };
    format!(
        r#"version = 1
[server]
url = "{url}"
{server}
[ops]
listen = "127.0.0.1:0"
socket = "{folder}/stintd.sock"
[store]
{store}
[ledger]
origin = "bench.stint/ledger"
pin = "{folder}/ledger.pin"
[keys]
dir = "{folder}/keys"
[ca]
trust_domain = "acme.dev"
[policy]
dir = "{folder}/policy"
[limits]
asks_per_caller = "100000/s"
"#,
    )
}

/// `count` policies, 10 at least: the sample's, and one for each further team, by its repository and its environment.
pub(crate) fn policies(count: usize) -> Files {
    let sample = stint_policy::sample();
    let mut files: Files = sample
        .iter()
        .filter(|(name, _)| !name.starts_with("tests/"))
        .collect();
    let mut entities: Vec<Value> =
        serde_json::from_slice(files.get("entities.json").unwrap()).unwrap();
    let mut cedar = String::new();
    for team in 0..count - 10 {
        let repository = repository(team);
        let name = format!("team-{team}");
        cedar.push_str(&format!(
            "@id(\"deploy-{name}\") @owner(\"Group::\\\"release\\\"\") @max_ttl(\"30m\") @credential(\"x509,jwt\")\n\
             permit (principal is Stint::Workload, action == Action::\"deploy\", resource in Environment::\"{name}\")\n\
             when {{ context has github && context.github.repository_id == \"{repository}\" }};\n\n"
        ));
        let owner = json!({ "owner": { "type": "Stint::Group", "id": "release" } });
        let parents = json!([{ "type": "Environment", "id": name }]);
        let web = json!({ "type": "Environment", "id": format!("{name}/web") });
        entities.push(
            json!({ "uid": { "type": "Environment", "id": name }, "attrs": owner, "parents": [] }),
        );
        entities.push(json!({ "uid": web, "attrs": owner, "parents": parents }));
    }
    files.insert("entities.json", serde_json::to_vec(&entities).unwrap());
    files.insert("teams.cedar", cedar);
    files
}

fn repository(team: usize) -> String {
    format!("{}", 7_000_000 + team)
}

/// For whom the JWTs are.
const AUDIENCE: &str = "https://deploy.example";
/// Callers; with the sample's ten policies they make a hundred.
const TEAMS: usize = 90;
