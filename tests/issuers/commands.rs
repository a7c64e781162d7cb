//! What operators type: `stintd freeze`, `stintd issuer`, `stintd doctor`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use stint_broker::clock::{Clock as _, SystemClock};
use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::evil::{Evil, IdpKey, Lie, Stage};
use stint_tests::process::program;
use stint_wire::Code;

use crate::common::{POLICY, others_are_served, setup};

async fn stintd(args: &[&str]) -> Output {
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    // Beside the runtime, which serves what the program asks for.
    let run = move || Command::new(program("stintd")).args(args).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file that nobody else can read.
fn secret(broker: &TestBroker, token: &str) -> String {
    let path = broker.path("token");
    std::fs::write(&path, token).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_is_typed_and_lifted_and_says_where_it_is_recorded() {
    let broker = TestBroker::start().await;
    let socket = broker.path("stintd.sock");
    let socket = text(&socket);
    let freeze = [
        "freeze", "--issuer", "github", "--reason", "a leak", "--socket", socket,
    ];
    let done = stintd(&freeze).await;
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    let seq = broker.export().await.of("frozen")[0].header["seq"].clone();
    assert_eq!(err(&done), format!("ok        done; entry {seq} says so\n"));
    let ask = broker
        .ci("acme/web")
        .ask("deploy", "Environment::staging/web");
    drop(ask.x509().await.refused(Code::EvidenceRejected));
    let again = stintd(&freeze).await;
    assert_eq!(
        (again.status.code(), err(&again).as_str()),
        (Some(0), "ok        it was so already\n")
    );
    let config = broker.config_file();
    let lifted = stintd(&["unfreeze", "--issuer", "github", "-c", text(&config)]).await;
    assert_eq!(lifted.status.code(), Some(0), "{}", err(&lifted));
    others_are_served(&broker).await;

    for (args, code) in [
        (vec!["freeze", "--issuer", "nobody", "--socket", socket], 2),
        (vec!["freeze", "--socket", socket], 2),
        (
            vec!["freeze", "--all", "--issuer", "github", "--socket", socket],
            2,
        ),
        (
            vec!["freeze", "--all", "--socket", "/nowhere/stintd.sock"],
            7,
        ),
        (vec!["issuer", "accept", "nobody", "--socket", socket], 2),
        (vec!["issuer", "accept", "github", "--socket", socket], 0),
    ] {
        let done = stintd(&args).await;
        assert_eq!(done.status.code(), Some(code), "{args:?}: {}", err(&done));
    }
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_is_tested_with_the_brokers_own_eyes() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let broker = setup(POLICY, &idp.config()).start().await;
    let config = broker.config_file();
    let config = text(&config);
    let token = idp.token(&key, SystemClock.now());
    let (_, signature) = token.rsplit_once('.').unwrap();
    let file = secret(&broker, &token);
    eventually("its keys are on record", async || {
        broker.check("issuer idp").await["state"] == "ready"
    })
    .await;
    let before = broker.state().await;
    let done = stintd(&["issuer", "test", "idp", "-c", config, "--token-file", &file]).await;
    let said = out(&done);
    assert_eq!(done.status.code(), Some(0), "{said}{}", err(&done));
    let url = &idp.url;
    for line in [
        format!("ok        discovery  keys are at {url}/keys"),
        format!("ok        keys       1 usable at {url}/keys: k ES256"),
        format!("ok        issuer     {url}"),
        "ok        signature  holds".to_owned(),
        "ok        id         spiffe://acme.dev/idp/worker (Workload)".to_owned(),
        "ok        claim      extra.sub = \"worker\"".to_owned(),
    ] {
        assert!(said.contains(&line), "no {line} in\n{said}");
    }
    assert!(said.contains("\nok        task       idp:j"), "{said}");
    assert!(
        !said.contains(signature) && !err(&done).contains(signature),
        "the token is shown"
    );
    assert_eq!(broker.state().await, before);
    std::fs::remove_file(&file).unwrap();

    let claims = |member: &str, value: Value| {
        let mut claims = idp.claims("worker", SystemClock.now());
        claims.insert(member.to_owned(), value);
        key.token(&claims)
    };
    for (token, says) in [
        ("nonsense".to_owned(), "refused: form"),
        (
            IdpKey::new("k").token(&idp.claims("worker", SystemClock.now())),
            "refused: signature",
        ),
        (
            IdpKey::new("other").token(&idp.claims("worker", SystemClock.now())),
            "refused: key",
        ),
        (
            claims("aud", json!("https://other.example")),
            "the token says https://other.example",
        ),
        (claims("iss", json!(format!("{url}/"))), "refused: issuer"),
        (claims("exp", json!(7)), "refused: expired"),
        (
            claims("job", json!(7)),
            "`job` is missing, or not of its type",
        ),
        (claims("sub", json!("a/b")), "refused: claims"),
    ] {
        let file = secret(&broker, &token);
        let done = stintd(&["issuer", "test", "idp", "-c", config, "--token-file", &file]).await;
        let said = out(&done);
        assert_eq!(done.status.code(), Some(4), "{said}{}", err(&done));
        assert!(
            said.contains(says) && said.contains("\nnext      "),
            "no {says} in\n{said}"
        );
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = stintd(&["issuer", "test", "idp", "-c", config, "--token-file", &file]).await;
    assert_eq!(
        open.status.code(),
        Some(2),
        "a token that others can read is none"
    );
    std::fs::remove_file(&file).unwrap();

    for (lie, says) in [
        (Lie::OtherAuthority, "ca_file"),
        (Lie::OtherHost, "jwks_hosts"),
        (Lie::Slash, "byte for byte"),
        (Lie::Status(Stage::Keys, 500), "status 500"),
        (Lie::Closes, "not reachable"),
    ] {
        idp.tell(lie);
        let done = stintd(&["issuer", "test", "idp", "-c", config]).await;
        let said = out(&done);
        assert_eq!(done.status.code(), Some(7), "{lie:?}: {said}");
        assert!(
            said.contains("failed ") && said.contains(says),
            "{lie:?}: {said}"
        );
    }
    let unknown = stintd(&["issuer", "test", "nobody", "-c", config]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        err(&unknown).contains("there are: github, gitlab, idp, kubernetes"),
        "{}",
        err(&unknown)
    );
    let fixed = stintd(&["issuer", "test", "github", "-c", config]).await;
    assert!(out(&fixed).contains("in the config; nothing is fetched"));
    broker.finish().await;
}

/// The findings about one thing, as `-o json` says them.
fn about<'f>(findings: &'f Value, check: &str) -> Vec<&'f Value> {
    let all = findings.as_array().unwrap().iter();
    all.filter(|finding| finding["check"] == check).collect()
}

async fn doctor(broker: &TestBroker) -> (Option<i32>, Value) {
    let config = broker.config_file();
    let done = stintd(&["doctor", "-c", text(&config), "-o", "json"]).await;
    let findings = serde_json::from_str(&out(&done));
    (
        done.status.code(),
        findings.unwrap_or_else(|_| panic!("{}{}", out(&done), err(&done))),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let key = IdpKey::new("k");
    let idp = Evil::with_key("idp", &key).await;
    let mut broker = setup(POLICY, &idp.config()).start().await;
    let (_, running) = doctor(&broker).await;
    let told = about(&running, "ledger")[0]["detail"].as_str().unwrap();
    assert!(
        told.starts_with("running: "),
        "a running broker speaks for itself: {told}"
    );
    for check in [
        "files",
        "tls",
        "issuer idp discovery",
        "issuer idp keys",
        "clock",
    ] {
        let found = about(&running, check);
        assert!(!found.is_empty(), "nothing about {check}: {running:#}");
        assert!(found.iter().all(|it| it["verdict"] == "ok"), "{found:?}");
    }
    assert_eq!(about(&running, "ca").len(), 2);

    broker.stop().await;
    let engine = match broker.database().engine() {
        Engine::Postgres => "PostgreSQL 15",
        Engine::Sqlite => "wal",
    };
    let (_, well) = doctor(&broker).await;
    assert!(
        about(&well, "ledger")[0]["detail"]
            .as_str()
            .unwrap()
            .contains("the pin knows"),
        "{well:#}"
    );
    assert!(
        about(&well, "store")
            .iter()
            .any(|it| it["detail"].as_str().unwrap().contains(engine)),
        "{well:#}"
    );

    idp.tell(Lie::Closes);
    let key_file = broker.path("keys/ledger.key");
    let mode =
        |mode| std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    std::fs::write(broker.path("policy/broken.cedar"), "permit (").unwrap();
    let pin = std::fs::read_to_string(broker.path("ledger.pin")).unwrap();
    std::fs::write(broker.path("ledger.pin"), ahead(&pin)).unwrap();
    let (code, ill) = doctor(&broker).await;
    assert_eq!(code, Some(2));
    for (check, fix) in [
        ("files", "chmod go-rwx "),
        ("policy", "stint policy check "),
        ("issuer idp discovery", "check name, network and firewall"),
        ("ledger", "the store was rolled back"),
    ] {
        let found = about(&ill, check);
        let failed = found.iter().find(|it| it["verdict"] == "failed");
        let failed = failed.unwrap_or_else(|| panic!("{check} is well: {ill:#}"));
        assert!(failed["fix"].as_str().unwrap().contains(fix), "{failed}");
    }
    let config = broker.config_file();
    let said = out(&stintd(&["doctor", "-c", text(&config)]).await);
    assert!(
        said.contains("\nfailed    ") && said.contains("\nnext      "),
        "{said}"
    );
    mode(0o600);
    std::fs::write(broker.path("ledger.pin"), pin).unwrap();
    std::fs::remove_file(broker.path("policy/broken.cedar")).unwrap();
    broker.restart().await.unwrap();
    others_are_served(&broker).await;
    broker.finish().await;
}

/// The pin as a later head would leave it: its second line is the number of entries.
fn ahead(pin: &str) -> String {
    let mut lines: Vec<_> = pin.lines().map(str::to_owned).collect();
    lines[1] = "99999".to_owned();
    format!("{}\n", lines.join("\n"))
}
