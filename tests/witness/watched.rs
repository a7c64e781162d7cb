//! A broker and the witnesses it asks.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use stint_audit::Checkpoint;
use stint_audit::cosign::WitnessKey;
use stint_audit::note::Note;
use stint_audit::trust::Policy;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::scene::Witness;

/// A broker, the witnesses of its policy, and the policy.
pub(crate) struct Watched {
    pub(crate) broker: TestBroker,
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) policy: Policy,
}

impl Watched {
    /// With so many of our own witnesses, `w0` and on, and a policy that ends so; `more` is in `[ledger]`.
    pub(crate) async fn start(count: usize, policy: &str, more: &str) -> Watched {
        let broker = TestBroker::start().await;
        let vkey = vkey(&broker).await;
        let mut witnesses = Vec::new();
        for _ in 0..count {
            witnesses.push(Witness::of(&vkey).await);
        }
        Self::of(broker, witnesses, policy, more).await
    }

    /// The same of this broker and these witnesses, which know its log.
    pub(crate) async fn of(
        broker: TestBroker,
        witnesses: Vec<Witness>,
        policy: &str,
        more: &str,
    ) -> Watched {
        let vkey = vkey(&broker).await;
        let lines = witnesses.iter().enumerate();
        let lines: String = lines.map(|(n, one)| one.line(&format!("w{n}"))).collect();
        let mut watched = Watched {
            broker,
            witnesses,
            policy: Policy::parse(b"quorum none\n").unwrap(),
        };
        watched
            .ask(&format!("log {vkey}\n{lines}{policy}"), more)
            .await;
        watched
    }

    /// Restarts the broker with this policy.
    async fn ask(&mut self, policy: &str, more: &str) {
        let path = self.broker.path("witnesses.policy");
        std::fs::write(&path, policy).unwrap();
        self.policy = Policy::parse(policy.as_bytes()).unwrap();
        let lines = format!("[ledger]\nwitnesses = \"{}\"\n{more}", path.display());
        self.broker.reconfigure("[ledger]\n", &lines);
        self.broker.restart().await.unwrap();
    }

    /// The checkpoint that everybody sees, and whether it has a quorum.
    pub(crate) async fn shown(&self) -> (Checkpoint, bool) {
        let text = self.broker.get("/v1/ledger/checkpoint").await.text();
        let (checkpoint, note) = Checkpoint::parse_note(&text).unwrap();
        let found = self.policy.judge(&note).unwrap();
        (checkpoint, found.met && found.newest.is_some())
    }

    /// Waits until all there is, is shown with a quorum.
    pub(crate) async fn is_cosigned(&self) {
        let wanted = stored(&self.broker).await;
        eventually("a quorum cosigns", async || {
            let (checkpoint, met) = self.shown().await;
            met && checkpoint.size >= wanted
        })
        .await;
    }

    pub(crate) async fn grants(&self) {
        let asked = self
            .broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web")
            .x509()
            .await;
        drop(asked.granted());
    }

    /// Ends the test: the head is shown in full.
    pub(crate) async fn finish(self) {
        self.unwatched().await.finish().await;
    }

    /// The same where a broker was killed.
    pub(crate) async fn finish_after_crash(self) {
        self.unwatched().await.finish_after_crash().await;
    }

    async fn unwatched(mut self) -> TestBroker {
        for witness in &mut self.witnesses {
            witness.stop().await;
        }
        // Heads are shown as they are cosigned: the checks of every test want the newest.
        let path = self.broker.path("witnesses.policy");
        std::fs::write(path, "quorum none\n").unwrap();
        self.broker.restart().await.unwrap();
        self.broker
    }
}

pub(crate) async fn vkey(broker: &TestBroker) -> String {
    let trust = broker.get("/v1/trust").await.json();
    trust["ledger"]["vkey"].as_str().unwrap().to_owned()
}

/// Entries in the store.
pub(crate) async fn stored(broker: &TestBroker) -> u64 {
    let size = "SELECT size FROM ledger_head";
    let size = stint_tests::database::number(&broker.database(), size).await;
    size.unsigned_abs()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_cosigned_and_shown_so() {
    let watched = Watched::start(3, "group all3 2 w0 w1 w2\nquorum all3\n", "").await;
    watched.is_cosigned().await;
    for _ in 0..3 {
        watched.grants().await;
        watched.is_cosigned().await;
    }
    let (checkpoint, _) = watched.shown().await;
    let text = watched.broker.get("/v1/ledger/checkpoint").await.text();
    let found = Note::parse(&text).unwrap();
    assert_eq!(watched.policy.judge(&found).unwrap().by.len(), 3, "{text}");
    for witness in &watched.witnesses {
        let held = witness.get(&format!("/{}/checkpoint", origin())).await;
        let (held, _) = Checkpoint::parse_note(&held.body).unwrap();
        assert!(held.size >= checkpoint.size);
        assert_eq!(witness.evidence().await, []);
    }
    let check = watched.broker.check("witnesses").await;
    assert_eq!(
        (&check["ok"], &check["fatal"]),
        (&true.into(), &false.into()),
        "{check}"
    );
    assert_eq!(check["detail"], "3 of 3 cosigned");
    let metrics = watched.broker.operator("GET", "/metrics").await.text();
    assert!(
        metrics.contains("stint_witness_cosignatures{witness=\"w2\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("stint_witness_quorum_age_seconds "),
        "{metrics}"
    );
    watched.finish().await;
}

/// An export has the cosignatures, and an auditor with the same policy file verifies them offline.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_verifies_the_quorum_of_an_export() {
    let watched = Watched::start(3, "group most 2 w0 w1 w2\nquorum most\n", "").await;
    watched.grants().await;
    let (socket, file) = (
        watched.broker.path("stintd.sock"),
        watched.broker.path("log.stint"),
    );
    let mut export = stint_tests::process::stint();
    export
        .args(["ledger", "export", "--socket"])
        .arg(socket)
        .arg("-o")
        .arg(&file);
    let exported = export.output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let verify = |policy: &std::path::Path| {
        let mut verify = stint_tests::process::stint();
        verify
            .args(["ledger", "verify"])
            .arg(&file)
            .arg("--trust")
            .arg(policy);
        let said = verify.output().unwrap();
        (said.status.code(), format!("{said:?}"))
    };
    let policy = watched.broker.path("witnesses.policy");
    let (code, said) = verify(&policy);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok        witnesses"), "{said}");
    // A quorum that nobody asked for is not met.
    let stranger = WitnessKey::from_seed(&[3; 32], "stranger.example").unwrap();
    let text = std::fs::read_to_string(&policy).unwrap();
    let more = format!(
        "witness s {}\ngroup all4 all most s\nquorum all4\n",
        stranger.public()
    );
    let other = watched.broker.path("other.policy");
    std::fs::write(&other, text.replace("quorum most\n", &more)).unwrap();
    let (code, said) = verify(&other);
    assert_eq!(code, Some(9), "{said}");
    watched.finish().await;
}

fn origin() -> String {
    stint_audit::witness::origin_hash("it.stint/ledger")
}

/// The last quorum is known after a restart, from the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_outlives_a_restart() {
    let mut watched = Watched::start(1, "quorum w0\n", "").await;
    watched.grants().await;
    watched.is_cosigned().await;
    let before = watched.shown().await.0;
    watched.witnesses[0].stop().await;
    watched.broker.restart().await.unwrap();
    eventually("the last quorum is remembered", async || {
        watched.shown().await == (before.clone(), true)
    })
    .await;
    watched.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_witnesses_grants_go_on_and_the_newest_head_is_shown() {
    let mut watched = Watched::start(1, "quorum w0\n", "").await;
    watched.is_cosigned().await;
    watched.witnesses[0].stop().await;
    watched.grants().await;
    eventually("the witness is missed", async || {
        let check = watched.broker.check("witnesses").await;
        check["detail"]
            .as_str()
            .unwrap()
            .starts_with("0 of 1 cosigned; w0: it cannot be reached")
    })
    .await;
    watched.broker.clock.advance(61);
    let check = watched.broker.check("witnesses").await;
    assert_eq!(
        (&check["code"], &check["fatal"]),
        (&"unwitnessed".into(), &false.into())
    );
    let (checkpoint, met) = watched.shown().await;
    assert_eq!(
        (checkpoint.size, met),
        (stored(&watched.broker).await, false)
    );
    watched.grants().await;
    watched.witnesses[0].open().await;
    watched.is_cosigned().await;
    assert_eq!(watched.broker.check("witnesses").await["ok"], true);
    watched.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_after_stops_grants_until_a_quorum_is_back() {
    let more = "unwitnessed = \"stop after 10m\"\n";
    let mut watched = Watched::start(2, "group both all w0 w1\nquorum both\n", more).await;
    watched.is_cosigned().await;
    watched.witnesses[1].stop().await;
    watched.broker.clock.advance(599);
    watched.grants().await;
    watched.broker.clock.advance(2);
    eventually("grants stop", async || {
        watched.broker.check("ledger").await["code"] == "unwitnessed"
    })
    .await;
    let granted = async |watched: &Watched| {
        let granted = "SELECT count(*) FROM granted";
        stint_tests::database::number(&watched.broker.database(), granted).await
    };
    let before = granted(&watched).await;
    let asked = watched
        .broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    drop(asked.x509().await.refused(stint_wire::Code::Unavailable));
    // The log itself goes on: an anchor may have come meanwhile.
    assert_eq!(granted(&watched).await, before);
    assert_eq!(watched.broker.operator("GET", "/readyz").await.status, 503);
    watched.witnesses[1].open().await;
    eventually("grants go on by themselves", async || {
        watched.broker.check("ledger").await["ok"] == true
    })
    .await;
    watched.grants().await;
    watched.broker.reconfigure(more, "");
    watched.finish().await;
}

/// A server that is no witness: every answer is what the test wants.
async fn fake(router: Router) -> (String, JoinSet<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let mut task = JoinSet::new();
    task.spawn(async move { axum::serve(socket, router).await.unwrap() });
    (url, task)
}

fn key(seed: u8) -> WitnessKey {
    WitnessKey::from_seed(&[seed; 32], "fake.example").unwrap()
}

/// A true witness and a false one that answers so: the true one's cosignatures count, and grants go on.
async fn beside(name: &str, router: Router) {
    let (url, _task) = fake(router).await;
    let mut watched = Watched::start(1, "quorum w0\n", "").await;
    let before = std::fs::read_to_string(watched.broker.path("witnesses.policy")).unwrap();
    let line = format!("witness fake {} {url}\n", key(7).public());
    std::fs::write(
        watched.broker.path("witnesses.policy"),
        format!("{line}{before}"),
    )
    .unwrap();
    watched.broker.restart().await.unwrap();
    for _ in 0..2 {
        watched.grants().await;
        watched.is_cosigned().await;
    }
    let check = watched.broker.check("witnesses").await;
    assert_eq!(check["ok"], true, "{name}: {check}");
    assert!(
        check["detail"]
            .as_str()
            .unwrap()
            .starts_with("1 of 2 cosigned; fake: "),
        "{check}"
    );
    assert_eq!(watched.broker.check("ledger").await["ok"], true, "{name}");
    watched.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_hangs_or_refuses_stops_nobody() {
    let never = || async { std::future::pending::<()>().await };
    beside("hangs", Router::new().fallback(never)).await;
    let size = || async {
        let kind = [("content-type", "text/x.tlog.size")];
        (StatusCode::CONFLICT, kind, "1000000\n")
    };
    beside("ahead", Router::new().route("/add-checkpoint", post(size))).await;
    let refuse = || async { (StatusCode::UNPROCESSABLE_ENTITY, "no\n") };
    beside("refuses", Router::new().fallback(refuse)).await;
    let long = || async { "x".repeat(1 << 20) };
    beside("talks", Router::new().fallback(long)).await;
}

/// What it holds counts only under our own signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_we_did_not_sign_convicts_nobody() {
    let forged = crate::scene::Log::new("it.stint/ledger", 9).note(1_000);
    let forged: Arc<str> = forged.into();
    let show = move || {
        let forged = Arc::clone(&forged);
        async move { forged.to_string() }
    };
    let refuse = || async { (StatusCode::UNPROCESSABLE_ENTITY, "no\n") };
    let router = Router::new()
        .route("/add-checkpoint", post(refuse))
        .route("/{hash}/checkpoint", get(show));
    beside("forges", router).await;
}

/// Of another key, over another text, of the future: none of them is a cosignature.
#[tokio::test(flavor = "multi_thread")]
async fn false_cosignatures_do_not_count() {
    let text = |body: &str| {
        let (_, note) = body.split_once("\n\n").unwrap();
        Note::parse(note).unwrap().text().to_owned()
    };
    let stranger = move |body: String| async move {
        let line = WitnessKey::from_seed(&[8; 32], "fake.example")
            .unwrap()
            .cosign(&text(&body), 5);
        format!("{}\n", line.unwrap())
    };
    beside(
        "stranger",
        Router::new().route("/add-checkpoint", post(stranger)),
    )
    .await;
    let other = || async { format!("{}\n", key(7).cosign("another\n", 5).unwrap()) };
    beside(
        "other text",
        Router::new().route("/add-checkpoint", post(other)),
    )
    .await;
    let future = move |body: String| async move {
        format!("{}\n", key(7).cosign(&text(&body), 4_000_000_000).unwrap())
    };
    beside(
        "future",
        Router::new().route("/add-checkpoint", post(future)),
    )
    .await;
}
