//! A job on a runner: inputs and files by environment, and the runner's token service, played by a small server that
//! mints through the dev broker's GitHub.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

use crate::dev::Dev;
use crate::foreign::{self, Said};

const BEARER: &str = "the-runners-own-secret";
pub(crate) const ME: &str = "spiffe://acme.dev/github/123456/456789";

/// All tokens of a job are of the same run; else each would be of a task of its own.
const ONE_JOB: &str = "claim.run_id=19475852113&claim.check_run_id=55";

/// A job on a runner: what the action is told, and what it leaves.
pub(crate) struct Job {
    pub(crate) dev: Dev,
    pub(crate) folder: TempDir,
    pub(crate) asked: Arc<Asked>,
    runner: SocketAddr,
    _server: JoinSet<()>,
}

/// What the runner's token service does, and what it was asked.
pub(crate) struct Asked {
    mint: String,
    /// Tokens that were handed out.
    tokens: Mutex<Vec<String>>,
    /// The audiences they were asked for.
    pub(crate) audiences: Mutex<Vec<String>>,
    /// Instead of the audience that is asked for.
    pub(crate) audience: Mutex<Option<String>>,
}

/// What a step came to.
pub(crate) struct Step {
    pub(crate) said: Said,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) state: BTreeMap<String, String>,
    pub(crate) summary: String,
}

impl Job {
    /// A job of acme/web on this ref.
    pub(crate) async fn on(git_ref: &str) -> Job {
        let dev = Dev::start();
        let mint = format!(
            "{}/dev/github/request-token?repo=acme/web&ref={git_ref}&{ONE_JOB}",
            dev.url
        );
        let asked = Arc::new(Asked {
            mint,
            tokens: Mutex::default(),
            audiences: Mutex::default(),
            audience: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let runner = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/idtoken/{job}", get(token))
            .with_state(Arc::clone(&asked));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Job {
            dev,
            folder: tempfile::tempdir().unwrap(),
            asked,
            runner,
            _server: server,
        }
    }

    /// The step with these inputs, beside the broker's URL and `deploy` on staging.
    pub(crate) async fn main(&self, inputs: &[(&str, &str)]) -> Step {
        self.run(self.command("main.mjs", inputs)).await
    }

    pub(crate) fn command(&self, script: &str, inputs: &[(&str, &str)]) -> Command {
        for file in ["output", "state", "summary"] {
            std::fs::write(self.path(file), "").unwrap();
        }
        std::fs::create_dir_all(self.path("temp")).unwrap();
        let mut command = foreign::node(&format!("../../clients/github-action/src/{script}"));
        let usual = [
            ("url", self.dev.url.as_str()),
            ("action", "deploy"),
            ("resources", "Environment::staging/web"),
            ("wait", "10m"),
        ];
        command.env_clear().current_dir(self.folder.path());
        for (name, value) in usual.iter().chain(inputs) {
            command.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        let url = format!("http://{}/idtoken/7?api-version=2.0", self.runner);
        command
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER)
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("GITHUB_STATE", self.path("state"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("RUNNER_TEMP", self.path("temp"));
        command
    }

    pub(crate) async fn run(&self, mut command: Command) -> Step {
        let before = self.asked();
        let said = tokio::task::spawn_blocking(move || foreign::run(&mut command, ""));
        let said = said.await.unwrap();
        let read = |name| std::fs::read_to_string(self.path(name)).unwrap();
        let step = Step {
            said,
            outputs: variables(&read("output")),
            state: variables(&read("state")),
            summary: read("summary"),
        };
        step.shows_no_secret(&self.asked.tokens.lock().unwrap()[before..]);
        step
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What lies in the job's temporary folder.
    pub(crate) fn left(&self) -> usize {
        std::fs::read_dir(self.path("temp")).unwrap().count()
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.tokens.lock().unwrap().len()
    }
}

/// Somebody between the job and its broker, who can see and change everything: the pin and the key must hold.
pub(crate) struct Middle {
    pub(crate) url: String,
    /// The idempotency keys of the asks that went through.
    pub(crate) keys: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

/// A text that would like to be a command of the runner's, and to clear the screen.
const BUSY: &str = "busy\n::add-path::/evil\r::add-path::/evil ##[add-path]/evil \u{1b}[2J";

/// How often the one in the middle says that the broker is busy, or loses an answer.
struct Between {
    broker: String,
    busy: Mutex<usize>,
    loses: Mutex<usize>,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Middle {
    /// Answers 503 to the first `busy` asks, and has a key of its own certified with all others.
    pub(crate) async fn start(dev: &Dev, busy: usize) -> Middle {
        Middle::between(dev, (busy, 0)).await
    }

    /// Passes all asks on, and breaks off in the answers to the first `lost`.
    pub(crate) async fn that_loses(dev: &Dev, lost: usize) -> Middle {
        Middle::between(dev, (0, lost)).await
    }

    async fn between(dev: &Dev, (busy, lost): (usize, usize)) -> Middle {
        let keys = Arc::<Mutex<Vec<String>>>::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let between = Arc::new(Between {
            broker: dev.url.clone(),
            busy: Mutex::new(busy),
            loses: Mutex::new(lost),
            keys: Arc::clone(&keys),
        });
        let router = Router::new()
            .route("/v1/trust", get(facts))
            .route("/v1/grants", post(swapped))
            .with_state(between);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Middle {
            url,
            keys,
            _server: server,
        }
    }
}

async fn facts(State(between): State<Arc<Between>>) -> String {
    let url = format!("{}/v1/trust", between.broker);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.unwrap().text().await.unwrap()
}

/// A body that breaks off before it begins.
struct Cut;

impl AsyncRead for Cut {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("cut off")))
    }
}

/// Whether there was one left to take.
fn taken(left: &Mutex<usize>) -> bool {
    let mut left = left.lock().unwrap();
    let was = *left;
    *left = was.saturating_sub(1);
    was > 0
}

async fn swapped(
    State(between): State<Arc<Between>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Body) {
    if taken(&between.busy) {
        let problem = json!({"code": "unavailable", "detail": BUSY, "retry_after_s": 1});
        return (StatusCode::SERVICE_UNAVAILABLE, problem.to_string().into());
    }
    let once = headers["idempotency-key"].to_str().unwrap().to_owned();
    between.keys.lock().unwrap().push(once.clone());
    let mut ask: Value = serde_json::from_str(&body).unwrap();
    if ask["credential"]["kind"] == "x509" {
        ask["credential"]["csr"] = stint_tests::keys::csr().into();
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("{}/v1/grants", between.broker))
        .header(AUTHORIZATION, headers[AUTHORIZATION].clone())
        .header("idempotency-key", once)
        .json(&ask);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    if taken(&between.loses) {
        return (status, Body::from_stream(ReaderStream::new(Cut)));
    }
    (status, text.into())
}

/// GitHub's own interface: the bearer, `&audience=`, and a token in `value`.
async fn token(State(asked): State<Arc<Asked>>, request: Request) -> Result<String, StatusCode> {
    let bearer = request.headers().get(AUTHORIZATION);
    if bearer.is_none_or(|sent| sent.to_str().unwrap() != format!("bearer {BEARER}")) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let url = reqwest::Url::parse(&format!("http://localhost{}", request.uri())).unwrap();
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let audience = query
        .get("audience")
        .cloned()
        .ok_or(StatusCode::BAD_REQUEST)?;
    assert_eq!(query["api-version"], "2.0");
    asked.audiences.lock().unwrap().push(audience.clone());
    let other = asked.audience.lock().unwrap().clone();
    let audience = other.unwrap_or(audience);
    let mut mint = reqwest::Url::parse(&asked.mint).unwrap();
    mint.query_pairs_mut().append_pair("audience", &audience);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = client.get(mint).send().await.unwrap().text().await.unwrap();
    let value: Value = serde_json::from_str(&body).unwrap();
    let token = value["value"].as_str().unwrap().to_owned();
    asked.tokens.lock().unwrap().push(token);
    Ok(body)
}

/// `name<<END`, lines, `END`.
fn variables(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(head) = lines.next() {
        let (name, end) = head.split_once("<<").unwrap();
        let value: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
        found.insert(name.to_owned(), value.join("\n"));
    }
    found
}

impl Step {
    /// Its lines that are no masks.
    pub(crate) fn talk(&self) -> String {
        let lines = self.said.out.lines();
        let lines = lines.filter(|line| !line.starts_with("::add-mask::"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    pub(crate) fn masked(&self, text: &str) -> bool {
        self.said
            .out
            .lines()
            .any(|line| line == format!("::add-mask::{text}"))
    }

    /// The text of its error, as the runner shows it.
    pub(crate) fn error(&self) -> String {
        assert!(!self.said.ok, "{:?}", self.said);
        let talk = self.talk();
        let error = talk.lines().find(|line| line.starts_with("::error "));
        let (_, text) = error
            .unwrap()
            .split_once("::")
            .unwrap()
            .1
            .split_once("::")
            .unwrap();
        text.replace("%0A", "\n").replace("%25", "%")
    }

    /// Tokens are masked, and stand nowhere else.
    pub(crate) fn shows_no_secret(&self, tokens: &[String]) {
        let values = self.outputs.values().chain(self.state.values());
        let seen = [&self.talk(), &self.said.err, &self.summary];
        for text in values.chain(seen) {
            for secret in [BEARER, "eyJ", "PRIVATE KEY"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
        assert!(tokens.iter().all(|token| self.masked(token)));
    }

    pub(crate) fn file(&self, output: &str) -> String {
        let path = Path::new(&self.outputs[output]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::read_to_string(path).unwrap()
    }
}
