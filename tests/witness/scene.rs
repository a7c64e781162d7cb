//! A witness, in this process or as the program, and logs that are none of ours.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use reqwest::Client;
use stint_audit::cosign::{self, CosignerKey};
use stint_audit::note::Note;
use stint_audit::tree::{Frontier, Growth, leaf_hash, root};
use stint_audit::witness::{AddCheckpoint, origin_hash, parse_cosignatures, parse_size};
use stint_audit::{Checkpoint, Digest, LogKey};
use stint_broker::clock::{Clock, SystemClock};
use stint_broker::config::WitnessConfig;
use stint_broker::http::listen::phase::Phase;
use stint_broker::witness::{Evidence, Service, evidence, init};
use stint_policy::Timestamp;
use stint_tests::clock::{TestClock, eventually};
use stint_tests::process::{program, signal};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The witness's name in its cosignatures.
pub(crate) const NAME: &str = "witness.example/w1";

/// A log of leaves that are nothing but their number.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) origin: String,
    seed: u8,
    /// Leaves from here on are others: a second history.
    forks_at: u64,
}

impl Log {
    pub(crate) fn new(origin: &str, seed: u8) -> Log {
        Log {
            origin: origin.to_owned(),
            seed,
            forks_at: u64::MAX,
        }
    }

    /// The same key, and another history from entry `at` on.
    pub(crate) fn forked(&self, at: u64) -> Log {
        Log {
            forks_at: at,
            ..self.clone()
        }
    }

    pub(crate) fn key(&self) -> LogKey {
        LogKey::from_seed(&[self.seed; 32], &self.origin).unwrap()
    }

    fn leaves(&self, size: u64) -> Vec<Digest> {
        let leaf = |n: u64| leaf_hash(format!("{n}{}", n >= self.forks_at).as_bytes());
        (0..size).map(leaf).collect()
    }

    /// The signed checkpoint at `size`.
    pub(crate) fn note(&self, size: u64) -> String {
        self.key().sign(&self.text(size))
    }

    pub(crate) fn text(&self, size: u64) -> String {
        let (origin, root) = (self.origin.clone(), root(&self.leaves(size)));
        Checkpoint { origin, size, root }.text()
    }

    pub(crate) fn proof(&self, old: u64, size: u64) -> Vec<Digest> {
        let growth = Growth::new(&Frontier::of(&[]), &self.leaves(size));
        growth.consistency(old).unwrap_or_default()
    }

    /// An honest request.
    pub(crate) fn request(&self, old: u64, size: u64) -> String {
        let request = AddCheckpoint::new(old, self.proof(old, size), &self.note(size));
        request.unwrap().to_string()
    }
}

/// A folder that `stintd witness` runs from, and who runs it.
#[derive(Debug)]
pub(crate) struct Witness {
    folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) key: CosignerKey,
    address: SocketAddr,
    http: Client,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Here {
        stop: watch::Sender<Phase>,
        task: JoinSet<bool>,
    },
    Nobody,
    Process(Child),
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: String,
}

impl Answer {
    /// The size in a 409.
    pub(crate) fn size(&self) -> u64 {
        assert_eq!(
            (self.status, &*self.kind),
            (409, "text/x.tlog.size"),
            "{self:?}"
        );
        parse_size(&self.body).unwrap()
    }
}

impl Witness {
    /// A new one that serves `logs`, in this process.
    pub(crate) async fn start(logs: &[&Log]) -> Witness {
        let mut witness = Witness::new(logs).await;
        witness.open().await;
        witness
    }

    /// A new one that does not run yet.
    pub(crate) async fn new(logs: &[&Log]) -> Witness {
        // The first to install wins, and all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::Builder::new()
            .prefix("stint-w-")
            .tempdir()
            .unwrap();
        let made = init::init(&folder.path().join("w"), NAME, None)
            .await
            .unwrap();
        let quick = "[limits]\nrequests_per_peer = \"100000/s\"";
        let text = std::fs::read_to_string(&made.config).unwrap();
        assert!(text.contains("\n[limits]\n"), "{text}");
        std::fs::write(&made.config, text.replacen("[limits]", quick, 1)).unwrap();
        let clock = TestClock::at(Timestamp::parse_rfc3339("2027-03-01T10:00:00Z").unwrap());
        let witness = Witness {
            folder,
            clock: Arc::new(clock),
            key: made.vkey.parse().unwrap(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            http: Client::builder().no_proxy().build().unwrap(),
            server: Server::Nobody,
        };
        for (n, log) in logs.iter().enumerate() {
            let origin = &log.origin;
            let vkey = log.key().vkey();
            witness.configure(&format!(
                "[log.l{n}]\nvkeys = [\"{vkey}\"]\norigin = \"{origin}\"\n"
            ));
        }
        witness
    }

    /// A new one for the log of this key, in this process.
    pub(crate) async fn of(vkey: &str) -> Witness {
        let mut witness = Witness::new(&[]).await;
        witness.configure(&format!("[log.l]\nvkeys = [\"{vkey}\"]\n"));
        witness.open().await;
        witness
    }

    /// An empty database, as of a witness that never saw anything.
    pub(crate) async fn make_database(&self) {
        let fresh = tempfile::tempdir().unwrap();
        init::init(&fresh.path().join("w"), NAME, None)
            .await
            .unwrap();
        std::fs::copy(fresh.path().join("w/witness.db"), self.path("witness.db")).unwrap();
    }

    /// Adds to its config.
    pub(crate) fn configure(&self, more: &str) {
        let mut text = std::fs::read_to_string(self.config()).unwrap();
        write!(text, "{more}").unwrap();
        std::fs::write(self.config(), text).unwrap();
    }

    /// Changes its config.
    pub(crate) fn reconfigure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "no {from} in {text}");
        std::fs::write(self.config(), text.replacen(from, to, 1)).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("witness.toml")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("w").join(name)
    }

    /// Where logs reach it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The line of a trust policy.
    pub(crate) fn line(&self, name: &str) -> String {
        format!("witness {name} {} {}\n", self.key, self.url())
    }

    /// Serves in this process.
    pub(crate) async fn open(&mut self) {
        let socket = self.bind().await;
        let (config, _) = WitnessConfig::load(&self.config()).unwrap();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let service = Service::start(config, clock, socket).await.unwrap();
        let (stop, stopped) = watch::channel(Phase::Serving);
        let mut task = JoinSet::new();
        task.spawn(async move { service.run(stopped).await.is_ok() });
        self.server = Server::Here { stop, task };
    }

    /// The same address again after a stop: a witness does not move.
    async fn bind(&mut self) -> TcpListener {
        let port = if self.address.port() == 1 {
            0
        } else {
            self.address.port()
        };
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .unwrap();
        let socket = socket.listen(64).unwrap();
        self.address = socket.local_addr().unwrap();
        socket
    }

    /// Lets the program serve.
    pub(crate) async fn serve(&mut self) {
        self.stop().await;
        let free = self.bind().await;
        drop(free);
        let listen = format!("listen = \"{}\"\n", self.address);
        let text = std::fs::read_to_string(self.config()).unwrap();
        if !text.contains(&listen) {
            std::fs::write(self.config(), format!("{listen}{text}")).unwrap();
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let child = Command::new(program("stintd"))
            .args(["witness", "-c"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        self.server = Server::Process(child);
        let address = self.address;
        eventually("the witness listens", async || {
            assert!(self.ended().is_none(), "{}", self.said());
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
    }

    /// What the program wrote.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, name: &str) {
        let Server::Process(child) = &self.server else {
            panic!("no process serves");
        };
        signal(child.id(), name);
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        match &mut self.server {
            Server::Process(child) => child.try_wait().unwrap(),
            Server::Here { .. } | Server::Nobody => None,
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let Server::Process(mut child) = std::mem::replace(&mut self.server, Server::Nobody) else {
            panic!("only a process can be killed");
        };
        child.kill().unwrap();
        child.wait().unwrap();
        self.http = Client::builder().no_proxy().build().unwrap();
    }

    /// Stops whoever serves, in order.
    pub(crate) async fn stop(&mut self) {
        match std::mem::replace(&mut self.server, Server::Nobody) {
            Server::Here { stop, task } => {
                stop.send_replace(Phase::Draining);
                assert_eq!(task.join_all().await, [true]);
            }
            Server::Nobody => {}
            Server::Process(mut child) => {
                signal(child.id(), "TERM");
                eventually("the witness ends", async || {
                    child.try_wait().unwrap().is_some()
                })
                .await;
                assert!(child.wait().unwrap().success(), "{}", self.said());
            }
        }
        self.http = Client::builder().no_proxy().build().unwrap();
    }

    /// `add-checkpoint`.
    pub(crate) async fn add(&self, request: &str) -> Answer {
        self.try_add(request.as_bytes()).await.unwrap()
    }

    pub(crate) async fn try_add(&self, request: &[u8]) -> reqwest::Result<Answer> {
        let url = format!("{}/add-checkpoint", self.url());
        read(self.http.post(url).body(request.to_vec()).send().await?).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.url());
        read(self.http.get(url).send().await.unwrap())
            .await
            .unwrap()
    }

    /// The monitoring checkpoint of a log.
    pub(crate) async fn held(&self, log: &Log) -> Answer {
        self.get(&format!("/{}/checkpoint", origin_hash(&log.origin)))
            .await
    }

    /// Adds an honest checkpoint, checks the cosignature, and gives its time.
    pub(crate) async fn cosigns(&self, log: &Log, old: u64, size: u64) -> u64 {
        let answer = self.add(&log.request(old, size)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let lines = parse_cosignatures(&answer.body).unwrap();
        let known = [self.key.clone()];
        let good = cosign::verify_lines(&log.text(size), &lines, &known).unwrap();
        assert_eq!(good.len(), 1, "{answer:?}");
        good[0].time
    }

    /// What it shows of a log: size, and whether both the log and the witness signed it.
    pub(crate) async fn shows(&self, log: &Log) -> u64 {
        let held = self.held(log).await;
        assert_eq!(held.status, 200, "{held:?}");
        let (checkpoint, note) = Checkpoint::parse_note(&held.body).unwrap();
        assert_eq!(note.verify(&[log.key().public().clone()]).unwrap().len(), 1);
        let known = [self.key.clone()];
        assert_eq!(cosign::verify(&note, &known).unwrap().len(), 1);
        assert_eq!(note.signatures().len(), 2);
        checkpoint.size
    }

    /// What it keeps against logs.
    pub(crate) async fn evidence(&self) -> Vec<Evidence> {
        let (config, _) = WitnessConfig::load(&self.config()).unwrap();
        evidence(&config).await.unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Server::Process(child) = &mut self.server {
            // Where the test ended it already, there is nothing left to kill.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

async fn read(response: reqwest::Response) -> reqwest::Result<Answer> {
    let kind = response.headers().get("content-type");
    Ok(Answer {
        status: response.status().as_u16(),
        kind: kind
            .map(|kind| kind.to_str().unwrap().to_owned())
            .unwrap_or_default(),
        body: response.text().await?,
    })
}

/// Now, for tests in which the program serves.
pub(crate) fn seconds_now() -> u64 {
    SystemClock.now().as_millis().unsigned_abs() / 1_000
}

/// `stintd witness …`.
pub(crate) fn stintd(args: &[&str], config: &Path) -> std::process::Output {
    let mut command = Command::new(program("stintd"));
    command.arg("witness").args(args).arg("-c").arg(config);
    command.output().unwrap()
}

/// A note with one more line.
pub(crate) fn with_line(note: &str, other: &str) -> String {
    let line = Note::parse(other).unwrap().signatures()[0].to_string();
    format!("{note}{line}\n")
}
