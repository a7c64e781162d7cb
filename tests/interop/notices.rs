//! Notices read by the software of others: Slack's payload against its schema, the signature by Python's own HMAC, and
//! letters by aiosmtpd.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::files::write_secret;
use stint_tests::tls::Pki;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::foreign::{Talk, python, run};

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn secret(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    write_secret(&path, text.as_bytes());
    format!("{{ file = \"{}\" }}", path.display())
}

/// Takes `count` POSTs, each on a connection of its own or not, and gives head and body of each.
async fn posts(socket: TcpListener, count: usize) -> Vec<(String, String)> {
    let mut posts = Vec::new();
    while posts.len() < count {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await.unwrap();
            bytes.extend_from_slice(some.get(..read).unwrap());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            if body.len() >= field(head, "content-length").parse().unwrap() {
                posts.push((head.to_owned(), body.to_owned()));
                break;
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }
    posts
}

fn field(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.unwrap().1.to_owned()
}

/// Asks that wait: one alone, then a burst of twelve.
async fn ask(broker: &TestBroker) {
    let asked = async |ttl| {
        let caller = broker.ci("acme/web").on("refs/heads/main");
        let asking = caller.ask("deploy", "Environment::prod/web").ttl(ttl);
        drop(asking.x509().await.held());
    };
    asked(600).await;
    broker.clock.advance(2);
    eventually("it is sent", async || {
        let metrics = broker.operator("GET", "/metrics").await.text();
        metrics.contains("outcome=\"sent\"} 1")
    })
    .await;
    for ttl in 700..712 {
        asked(ttl).await;
    }
    broker.clock.advance(70);
}

#[tokio::test]
async fn slack_is_posted_what_its_documentation_allows() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/services/x", socket.local_addr().unwrap());
    let url = secret(&folder, "url", &url);
    let table = format!("[notify.slack]\nkind = \"slack\"\nurl = {url}\n");
    let broker = TestBroker::with().tables(&table).start().await;
    let (came, ()) = tokio::join!(posts(socket, 2), ask(&broker));
    broker.finish().await;
    let lines = |change: &dyn Fn(&str) -> String| {
        let bodies = came.iter().map(|(_, body)| change(body) + "\n");
        bodies.collect::<String>()
    };
    let said = run(
        python("check_notices.py").arg("slack"),
        &lines(&str::to_owned),
    );
    assert!(said.ok, "{said:?}");
    // The check can fail.
    for (from, to) in [
        ("\"plain_text\"", "\"plain\""),
        ("\"emoji\":false", "\"emoji\":1"),
        ("\"text\":\"Look and decide\"", "\"text\":\"<Look>\""),
        ("\"blocks\":", "\"blockz\":"),
    ] {
        let spoiled = lines(&|body| body.replace(from, to));
        let said = run(python("check_notices.py").arg("slack"), &spoiled);
        assert!(!said.ok, "{from}: {said:?}");
    }
}

#[tokio::test]
async fn a_program_of_others_verifies_the_signature() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    let (url, key) = (secret(&folder, "url", &url), secret(&folder, "key", KEY));
    let table = format!("[notify.bot]\nkind = \"webhook\"\nurl = {url}\nsecret = {key}\n");
    let broker = TestBroker::with().tables(&table).start().await;
    let (came, ()) = tokio::join!(posts(socket, 2), ask(&broker));
    broker.finish().await;
    let line = |(head, body): &(String, String)| {
        let told = json!({
            "id": field(head, "webhook-id"), "at": field(head, "webhook-timestamp"),
            "signature": field(head, "webhook-signature"), "body": body,
        });
        format!("{told}\n")
    };
    let lines: String = came.iter().map(line).collect();
    let said = run(python("check_notices.py").args(["webhook", KEY]), &lines);
    assert!(said.ok, "{said:?}");
    let spoiled = lines.replace("Approval needed", "Approval granted");
    let said = run(python("check_notices.py").args(["webhook", KEY]), &spoiled);
    assert!(!said.ok, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_of_others_takes_the_letters() {
    let folder = tempfile::tempdir().unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    let pki = Pki::new(folder.path());
    let root = folder.path().join("root.pem");
    std::fs::write(&root, pki.root_pem()).unwrap();
    let mut command = python("check_notices.py");
    command.arg("smtp").arg(pki.cert()).arg(pki.key()).arg("2");
    let mut server = Talk::start(&mut command);
    let port = server.hear();
    let url = format!("smtp+starttls://stint@localhost:{port}");
    let (url, password) = (
        secret(&folder, "url", &url),
        secret(&folder, "password", "x"),
    );
    let table = format!(
        "[notify.mail]\nkind = \"smtp\"\nurl = {url}\nsecret = {password}\nca_file = \"{}\"\n\
         from = \"Stint <stint@acme.dev>\"\nto = [\"sre@acme.dev\"]\n",
        root.display()
    );
    let broker = TestBroker::with().tables(&table).start().await;
    ask(&broker).await;
    let letters: Vec<Value> = (0..2)
        .map(|_| serde_json::from_str(&server.hear()).unwrap())
        .collect();
    broker.finish().await;
    for letter in &letters {
        assert_eq!(
            (&letter["tls"], &letter["user"]),
            (&json!(true), &json!("stint"))
        );
        assert_eq!(
            (&letter["to"], &letter["defects"]),
            (&json!(["sre@acme.dev"]), &json!([]))
        );
        assert_eq!(letter["head"]["Auto-Submitted"], "auto-generated");
    }
    assert_eq!(
        letters.last().unwrap()["head"]["Subject"],
        "[stint] 12 requests wait for approval"
    );
}
