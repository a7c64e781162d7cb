//! `stint run` and `stint wait` beside a broker and its people: the transcripts of UX.md §1.4.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::process::{signal, stint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::desk::{PROD, job, no, one_approver, says, yes};

/// A desk whose job has a token file that is read anew for each ask.
struct Desk<'b> {
    broker: &'b TestBroker,
    folder: tempfile::TempDir,
    url: String,
    _door: JoinSet<()>,
}

impl<'b> Desk<'b> {
    async fn of(broker: &'b TestBroker) -> Self {
        let (url, door) = door(broker).await;
        let folder = tempfile::tempdir().unwrap();
        let desk = Self {
            broker,
            folder,
            url,
            _door: door,
        };
        desk.fresh_token();
        desk
    }

    fn token(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// What the platform does in its own time.
    fn fresh_token(&self) {
        std::fs::write(self.token(), job(self.broker, "a").token()).unwrap();
    }

    fn stint(&self, args: &[&str]) -> Command {
        let mut command = stint();
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("STINT_URL", &self.url)
            .env("STINT_ID_TOKEN_FILE", self.token())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, more: &[&str]) -> Talk {
        let line = ["run", "deploy", PROD, "--bearer", "--ttl", "10m"];
        let args = [&line, more, &["--", "echo", "it ran"]].concat();
        Talk::of(self.stint(&args))
    }
}

/// A command that runs, and what it says.
struct Talk {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    said: String,
}

impl Talk {
    fn of(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = std::sync::mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                drop(send.send(line));
            }
        });
        Self {
            child,
            lines,
            said: String::new(),
        }
    }

    /// What follows `word` in the next line that begins with it.
    async fn hears(&mut self, word: &str) -> String {
        for _ in 0..600 {
            while let Ok(line) = self.lines.try_recv() {
                self.said.push_str(&line);
                self.said.push('\n');
                if let Some(text) = line.strip_prefix(word) {
                    return text.trim().to_owned();
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("never said `{word}`:\n{}", self.said);
    }

    /// The request and the digits.
    async fn held(&mut self) -> (String, String) {
        let request = self.hears("request").await;
        let code = self.hears("code").await;
        let digits = code.chars().filter(char::is_ascii_digit).collect();
        (request.split(',').next().unwrap().to_owned(), digits)
    }

    /// How it ended: code or signal, stdout, and all it said.
    async fn ends(mut self) -> (i32, String, String) {
        use std::os::unix::process::ExitStatusExt as _;
        let ended = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().unwrap();
            let mut out = String::new();
            self.child
                .stdout
                .take()
                .unwrap()
                .read_to_string(&mut out)
                .unwrap();
            while let Ok(line) = self.lines.recv() {
                self.said.push_str(&line);
                self.said.push('\n');
            }
            let code = status.code().or(status.signal().map(|signal| -signal));
            (code.unwrap(), out, self.said)
        });
        ended.await.unwrap()
    }
}

/// The broker under an address of its own: a client cannot call it by another name than it was given.
async fn door(broker: &TestBroker) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let (url, at) = (format!("http://{place}"), broker.address());
    let mut door = JoinSet::new();
    door.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            open.spawn(pass(client, at, place.clone()));
        }
    });
    (url, door)
}

async fn pass(client: TcpStream, at: std::net::SocketAddr, place: String) {
    let Ok(server) = TcpStream::connect(at).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let named = text.replacen(&format!("host: {place}"), "host: localhost:8640", 1);
            if to_server.write_all(named.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    let back = async move { drop(tokio::io::copy(&mut from_server, &mut to_client).await) };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

fn lines(text: &str, words: &[&str]) -> bool {
    let found: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    words.iter().all(|word| found.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_people_and_goes_on() {
    let broker = one_approver().real_time().start().await;
    let desk = Desk::of(&broker).await;
    let mut run = desk.run(&["--reason", "v2.3.1"]);
    let (request, digits) = run.held().await;
    assert!(
        run.hears("approve")
            .await
            .ends_with(&format!("/a/{request}"))
    );
    desk.fresh_token();
    says(&broker, "dana", &request, yes(&digits)).await;
    let (exit, out, said) = run.ends().await;
    assert_eq!((exit, out.as_str()), (0, "it ran\n"), "{said}");
    assert!(
        lines(
            &said,
            &["hold", "request", "code", "approve", "approved", "granted"]
        ),
        "{said}"
    );
    let approved = said
        .lines()
        .find(|line| line.starts_with("approved"))
        .unwrap();
    assert!(
        approved.starts_with("approved  by Dana Ortiz with a passkey at "),
        "{approved}"
    );
    assert!(
        said.contains(&format!("come back with: stint wait {request}")),
        "{said}"
    );
    broker.finish_after_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_refused_ends_with_the_reason() {
    let broker = one_approver().real_time().start().await;
    let desk = Desk::of(&broker).await;
    let mut run = desk.run(&[]);
    let (request, _) = run.held().await;
    says(&broker, "lee", &request, no()).await;
    let (exit, out, said) = run.ends().await;
    assert_eq!((exit, out.as_str()), (6, ""), "{said}");
    let denied = format!("denied    by Lee Park: not on a Friday ({request})");
    assert!(said.contains(&denied), "{said}");
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_comes_back_and_who_is_killed_takes_it_back() {
    let broker = one_approver().real_time().start().await;
    let desk = Desk::of(&broker).await;
    let mut run = desk.run(&[]);
    let (request, digits) = run.held().await;
    run.hears("          Ctrl-C").await;
    signal(run.child.id(), "INT");
    let (exit, _, said) = run.ends().await;
    assert_eq!(exit, -2, "{said}");
    assert!(
        said.contains(&format!("detached  {request} stays open until ")),
        "{said}"
    );

    desk.fresh_token();
    let no_patience = desk.run(&["--wait", "1s"]).ends().await;
    assert_eq!(no_patience.0, 5, "{}", no_patience.2);
    desk.fresh_token();
    let none = desk.run(&["--no-wait"]).ends().await;
    assert_eq!(none.0, 5, "{}", none.2);
    let wait = |more: &[&str]| {
        let line = ["wait", &request, "--bearer"];
        Talk::of(desk.stint(&[&line, more].concat()))
    };
    let open = wait(&["--timeout", "1s"]).ends().await;
    assert_eq!(open.0, 5, "{}", open.2);

    let waiting = wait(&[]);
    says(&broker, "dana", &request, yes(&digits)).await;
    let (exit, _, said) = waiting.ends().await;
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("approved  by Dana Ortiz with a passkey at "),
        "{said}"
    );
    let shown = desk
        .stint(&["show", &request, "--bearer", "-o", "json"])
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (&shown["schema"], &shown["state"]),
        (&"stint.request/v1".into(), &"approved".into())
    );

    // The same line finds it.
    desk.fresh_token();
    let (exit, out, said) = desk.run(&[]).ends().await;
    assert_eq!((exit, out.as_str()), (0, "it ran\n"), "{said}");

    desk.fresh_token();
    let line = [
        "run", "deploy", PROD, "--bearer", "--ttl", "5m", "--", "true",
    ];
    let mut run = Talk::of(desk.stint(&line));
    let (request, _) = run.held().await;
    run.hears("          Ctrl-C").await;
    signal(run.child.id(), "TERM");
    let (exit, _, said) = run.ends().await;
    assert_eq!(exit, -15, "{said}");
    assert!(
        said.contains(&format!("cancelled {request}: this run was told to end")),
        "{said}"
    );
    let ended = Talk::of(desk.stint(&["wait", &request, "--bearer"]))
        .ends()
        .await;
    assert_eq!(ended.0, 6, "{}", ended.2);
    broker.finish_after_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_asked_without_a_command() {
    let broker = one_approver().real_time().start().await;
    let desk = Desk::of(&broker).await;
    let ask = |resource: &str| {
        let (line, json) = (["request", "deploy", resource, "--bearer"], ["-o", "json"]);
        desk.fresh_token();
        desk.stint(&[&line[..], &json].concat()).output().unwrap()
    };
    let held = ask(PROD);
    assert_eq!(held.status.code(), Some(0));
    let held: Value = serde_json::from_slice(&held.stdout).unwrap();
    assert_eq!(
        (&held["schema"], &held["created"]),
        (&"stint.request/v1".into(), &true.into())
    );
    let again: Value = serde_json::from_slice(&ask(PROD).stdout).unwrap();
    assert_eq!(
        (&again["request"], &again["created"]),
        (&held["request"], &false.into())
    );
    let free = ask("Environment::staging/web");
    assert_eq!(free.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&free.stdout).starts_with("permit"));
    assert_eq!(ask("Environment::nowhere/web").status.code(), Some(3));
    assert_eq!(broker.released(), 0, "nothing was minted on the way");
    assert!(Path::new(&desk.token()).exists());
    broker.finish().await;
}
