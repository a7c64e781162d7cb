//! The broker under load, and what is asked of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use stint_broker::authenticate::Evidence;
use stint_broker::clock::{Clock, SystemClock};
use stint_broker::config::{Config, Secret};
use stint_broker::dev::{Issuer, Mint};
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

use crate::load::{self, Run};

/// A broker that serves, and its fake GitHub.
pub(crate) struct Bench {
    runtime: Runtime,
    address: SocketAddr,
    github: Issuer,
    broker: Arc<Broker>,
    serving: JoinHandle<()>,
    stop: watch::Sender<bool>,
    pub(crate) folder: TempDir,
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

impl Bench {
    pub(crate) fn start() -> Bench {
        // On the disk that holds `target`, since /tmp may be memory.
        let folder = tempfile::Builder::new()
            .prefix("stint-bench-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let runtime = load::runtime("broker", 2);
        let (stop, stopped) = watch::channel(false);
        let (address, github, service) = runtime.block_on(service(folder.path()));
        let broker = Arc::clone(&service.app.broker);
        let serving = runtime.spawn(service.run(stopped));
        Bench {
            runtime,
            address,
            github,
            broker,
            serving,
            stop,
            folder,
        }
    }

    /// Asks `asks` times, by fresh tokens.
    pub(crate) fn run(&self, wanted: Wanted, connections: usize, asks: usize) -> Run {
        load::run(self.address, self.requests(wanted, asks), connections, 201)
    }

    /// acme/web, as its token is read.
    pub(crate) fn caller(&self) -> Principal {
        let now = SystemClock.now();
        let token = self.github.mint(&Mint::default(), now).unwrap();
        let evidence = Evidence {
            token: Secret::new(token),
            proof: None,
        };
        let caller = self
            .runtime
            .block_on(self.broker.roster.authenticate(&evidence, now))
            .unwrap();
        caller.principal().clone()
    }

    pub(crate) fn stop(self) {
        // Who holds the broker holds its ledger open.
        drop(self.broker);
        self.stop.send_replace(true);
        self.runtime.block_on(self.serving).unwrap();
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
            Wanted::Jwt => json!({ "kind": "jwt", "audience": "https://deploy.example" }),
            Wanted::X509 => {
                let csr = CertificateParams::default().serialize_request(key).unwrap();
                json!({ "kind": "x509", "csr": csr.pem().unwrap() })
            }
        };
        let ask = json!({
            "action": "deploy",
            "resources": [format!("Environment::\"team-{team}/web\"")],
            "credential": credential,
            "ttl_s": 300,
        });
        let (token, body) = (self.token(team, number), ask.to_string());
        format!(
            "POST /v1/grants HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
        .into()
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

async fn service(folder: &Path) -> (SocketAddr, Issuer, Service) {
    let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = api.local_addr().unwrap();
    let url = format!("http://localhost:{}", address.port());
    let policy = folder.join("policy");
    write_policies(&policy, &policies(10 + TEAMS)).unwrap();
    let github = Issuer::all(&url).unwrap().remove(0);
    let config = Config::parse("bench", &config(&url, folder, &github), folder)
        .unwrap()
        .config;
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
    (address, github, service)
}

fn config(url: &str, folder: &Path, github: &Issuer) -> String {
    let folder = folder.display();
    format!(
        r#"version = 1
[server]
url = "{url}"
[ops]
socket = "{folder}/stintd.sock"
[store]
url = "sqlite:{folder}/stint.db"
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
{issuer}"#,
        issuer = github.config(),
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

/// Callers; with the sample's ten policies they make a hundred.
const TEAMS: usize = 90;
