//! The GitHub Action (clients/github-action), run as a runner runs it ([`job`]), against a real broker.

mod job;

use std::path::Path;
use std::process::{Command, Stdio};

use stint_tests::process::stint;
use x509_parser::pem::parse_x509_pem;

use crate::foreign;
use job::{Job, ME, Middle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gets_a_certificate_and_leaves_nothing() {
    let job = Job::on("refs/heads/main").await;
    let step = job
        .main(&[
            ("expect-caller", ME),
            ("ttl", "5m"),
            ("reason", "v1 & more"),
        ])
        .await;
    assert!(step.said.ok, "{:?}", step.said);
    let grant = &step.outputs["grant-id"];
    assert!(
        step.talk()
            .starts_with(&format!("granted   {grant}: x509 "))
    );
    assert_eq!(step.outputs["spiffe-id"], ME);
    assert!(!step.outputs.contains_key("jwt-file"));
    for text in [
        grant.as_str(),
        ME,
        &step.outputs["expires-at"],
        "| ledger entry |",
    ] {
        assert!(step.summary.contains(text), "{text}: {}", step.summary);
    }

    // Every line of the key but PEM's frame.
    let key = step.file("key-file");
    let lines: Vec<_> = key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    assert!(lines.len() > 1 && lines.iter().all(|line| step.masked(line)));
    // Someone else's reader: the key fits, and the chain leads to the root.
    for (name, file) in [
        ("key.pem", "key-file"),
        ("cert.pem", "cert-file"),
        ("root.pem", "bundle-file"),
    ] {
        std::fs::write(job.path(name), step.file(file)).unwrap();
    }
    let script = "openssl verify -CAfile root.pem -untrusted cert.pem cert.pem && \
                  [ \"$(openssl x509 -in cert.pem -noout -pubkey)\" = \"$(openssl pkey -in key.pem -pubout)\" ]";
    let checked = foreign::run(
        Command::new("sh")
            .args(["-c", script])
            .current_dir(job.folder.path()),
        "",
    );
    assert!(checked.ok, "{checked:?}");

    // A token for the look at who it is, and one for the ask.
    assert_eq!(job.asked(), 2);
    let audiences = job.asked.audiences.lock().unwrap().clone();
    assert!(audiences.iter().all(|audience| *audience == job.dev.url));

    assert_eq!(job.left(), 1);
    let mut post = job.command("post.mjs", &[]);
    post.env("STATE_folder", &step.state["folder"]);
    let post = foreign::run(&mut post, "");
    assert!(post.ok && post.out.starts_with("removed "), "{post:?}");
    assert_eq!(job.left(), 0);
    // Again, and where there was nothing to remove.
    assert!(foreign::run(&mut job.command("post.mjs", &[]), "").ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gets_a_token() {
    let job = Job::on("refs/heads/main").await;
    let step = job.main(&[("audience", "https://registry.acme.dev")]).await;
    assert!(step.said.ok, "{:?}", step.said);
    let token = step.file("jwt-file");
    assert!(step.masked(&token) && token.split('.').count() == 3);
    assert!(!step.outputs.contains_key("key-file"));
    assert!(step.summary.contains("JWT for `https://registry.acme.dev`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_says_why_and_how_to_see_it_at_a_desk() {
    let job = Job::on("refs/heads/fix-12").await;
    let step = job.main(&[("resources", "Environment::prod/web")]).await;
    let error = step.error();
    for line in [
        "closest   deploy-prod-from-main: holds principal, resource, repository_id; fails ref (yours: refs/heads/fix-12)",
        "advice    Merge to main first; branches deploy to staging.",
    ] {
        assert!(error.lines().any(|shown| shown == line), "{error}");
    }
    assert!(error.contains("final, asking again will not help"));
    assert!(error.contains("next      ask Group::\"release\" (#releases) and quote dec_"));
    assert!(step.summary.contains("### Stint: denied") && step.summary.contains("closest "));
    assert_eq!(step.outputs.keys().collect::<Vec<_>>(), ["claims-file"]);
    let claims = step.file("claims-file");
    assert!(claims.contains("\"fix-12\"") || claims.contains("refs/heads/fix-12"));
    assert!(!claims.contains("eyJ"));

    // The line of the error does what it says.
    let repro = error
        .lines()
        .find_map(|line| line.strip_prefix("repro     "));
    let repro = repro
        .unwrap()
        .replace("POLICIES", &job.dev.policy().display().to_string());
    let arguments = repro.strip_prefix("stint ").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("\"$0\" {arguments}")]);
    shell.arg(stint().get_program());
    shell.current_dir(Path::new(&step.outputs["claims-file"]).parent().unwrap());
    let explained = foreign::run(&mut shell, "");
    assert!(explained.out.starts_with("denied"), "{explained:?}");
    assert!(explained.out.contains("fails ref"), "{explained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_need_not_wait_says_who_has_to_say_yes() {
    let job = Job::on("refs/heads/main").await;
    let step = job
        .main(&[("resources", "Environment::prod/web"), ("wait", "0")])
        .await;
    let error = step.error();
    assert!(error.starts_with("nobody has approved req_"), "{error}");
    assert!(error.contains("1 approval needed from Group::\"sre\" (policy prod-needs-sre"));
    assert!(step.summary.contains("### Stint: pending"));
    assert_eq!((step.outputs.len(), job.asked()), (0, 1));
}

/// People cannot vote yet, so here the policy changes its mind: the job goes on with the same key, and fresh tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_goes_on_as_soon_as_it_may() {
    let job = Job::on("refs/heads/main").await;
    let mut command = job.command("main.mjs", &[("resources", "Environment::prod/web")]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let policy = job.dev.policy();
    let said = tokio::task::spawn_blocking(move || {
        assert!(lines.any(|line| line.unwrap().starts_with("approve   ")));
        std::fs::remove_dir_all(policy.join("tests")).unwrap();
        let web = std::fs::read_to_string(policy.join("web.cedar")).unwrap();
        let allows = without_forbids(&web);
        assert!(allows.contains("permit") && allows != web);
        std::fs::write(policy.join("web.cedar"), allows).unwrap();
        let rest: Vec<_> = lines.map(Result::unwrap).collect();
        (rest, child.wait().unwrap())
    });
    let (rest, status) = said.await.unwrap();
    assert!(status.success(), "{rest:?}");
    assert!(
        rest.last().unwrap().starts_with("granted   gr_"),
        "{rest:?}"
    );
    // The request is shown once, however often it is looked at.
    assert!(
        !rest.iter().any(|line| line.starts_with("approve")),
        "{rest:?}"
    );
    assert!(job.asked() >= 2);
}

/// The policies that permit: each statement ends with a `;` at the end of a line.
fn without_forbids(text: &str) -> String {
    let statements = text.split_inclusive(";\n");
    statements
        .filter(|statement| !statement.contains("\nforbid"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_nothing_for_anybody_else() {
    let job = Job::on("refs/heads/main").await;
    let before = job.dev.checkpoint().await;
    let step = job
        .main(&[("expect-caller", "spiffe://acme.dev/github/123456/1")])
        .await;
    assert!(step.error().starts_with(&format!(
        "this job is {ME}, not spiffe://acme.dev/github/123456/1"
    )));
    assert_eq!(job.dev.checkpoint().await, before);

    let pin = format!("sha256:{}", "00".repeat(32));
    let step = job.main(&[("fingerprint", &pin)]).await;
    assert!(step.error().contains(", not the pinned sha256:0000"));
    assert_eq!((job.asked(), job.left()), (1, 0));

    let right = job.dev.fingerprint().await;
    assert!(job.main(&[("fingerprint", &right)]).await.said.ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_no_certificate_for_another_key() {
    let job = Job::on("refs/heads/main").await;
    let middle = Middle::start(&job.dev, 0).await;
    let step = job.main(&[("url", &middle.url)]).await;
    assert_eq!(step.error(), "the certificate is for another key");
    assert_eq!((step.outputs.len(), job.left()), (0, 0));
}

/// A broker that is busy is asked again, with a fresh token, for as long as the job would wait for people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_a_busy_broker_again() {
    let job = Job::on("refs/heads/main").await;
    let middle = Middle::start(&job.dev, 1).await;
    let token = ("audience", "https://registry.acme.dev");
    let step = job.main(&[("url", &middle.url), token]).await;
    assert!(step.said.ok, "{:?}", step.said);
    assert_eq!(job.asked(), 2);
    let middle = Middle::start(&job.dev, 1).await;
    let step = job.main(&[("url", &middle.url), ("wait", "0")]).await;
    let error = step.error();
    assert!(error.starts_with("unavailable: busy"), "{error}");
    // What the broker says is text, and no command to the runner.
    let commands = step
        .said
        .out
        .lines()
        .filter(|line| line.contains("add-path"));
    assert!(
        commands
            .into_iter()
            .all(|line| line.starts_with("::error "))
    );
    for harm in ["##[", "\u{1b}", "\r", "\n"] {
        assert!(!error.contains(harm), "{harm:?} in {error}");
    }
}

/// An answer that is lost on the way is asked for again, as the same ask. A token was granted then and is not kept, so
/// it is asked for anew: three asks, two of which are one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_again_where_an_answer_was_lost() {
    let job = Job::on("refs/heads/main").await;
    let middle = Middle::that_loses(&job.dev, 1).await;
    let token = ("audience", "https://registry.acme.dev");
    let step = job.main(&[("url", &middle.url), token]).await;
    assert!(step.said.ok, "{:?}", step.said);
    let keys = middle.keys.lock().unwrap().clone();
    assert_eq!((keys.len(), job.asked()), (3, 3), "{keys:?}");
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    // A second answer that is lost is the end.
    let middle = Middle::that_loses(&job.dev, 2).await;
    let step = job.main(&[("url", &middle.url), token]).await;
    assert!(step.error().contains("does not answer"), "{}", step.error());
    assert_eq!(middle.keys.lock().unwrap().len(), 2);
}

/// GitHub makes a token for any audience: what a broker names must be itself.
#[test]
fn a_broker_names_no_audience_but_its_own_place() {
    let broker = foreign::here("../../clients/github-action/src/broker.mjs");
    let script = format!(
        "import {{ isAt }} from '{}'; const [url, ...all] = process.argv.slice(1); \
         process.stdout.write(all.map((audience) => isAt(audience, url)).join(' '))",
        broker.display()
    );
    let says = |url: &str, audiences: &[&str]| {
        let node = foreign::node("");
        let mut command = Command::new(node.get_program());
        command.args(["--input-type=module", "-e", &script, url]);
        let said = foreign::run(command.args(audiences), "");
        assert!(said.ok, "{said:?}");
        said.out
    };
    let audiences = [
        "https://stint.acme.dev",
        "https://stint.acme.dev:443/",
        "sts.amazonaws.com",
        "api://AzureADTokenExchange",
        "https://stint.acme.dev.evil.example",
        "http://stint.acme.dev",
    ];
    assert_eq!(
        says("https://stint.acme.dev", &audiences),
        "true true false false false false"
    );
    assert_eq!(says("http://localhost:8640", &audiences[..1]), "true");
}

/// What is written to a file is what was looked at.
#[test]
fn a_bundle_is_one_certificate() {
    let keys = foreign::here("../../clients/github-action/src/keys.mjs");
    let script = format!(
        "import {{ certificate }} from '{}'; import {{ readFileSync }} from 'node:fs'; \
         const pem = readFileSync(0, 'utf8'); certificate(pem); \
         try {{ certificate(pem + pem) }} catch (error) {{ process.stdout.write(error.message) }}",
        keys.display()
    );
    let node = foreign::node("");
    let mut command = Command::new(node.get_program());
    command.args(["--input-type=module", "-e", &script]);
    let root = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let said = foreign::run(&mut command, &root.cert.pem());
    assert!(said.ok && said.out.contains("cannot be read"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_what_a_job_lacks() {
    let job = Job::on("refs/heads/main").await;
    let mut command = job.command("main.mjs", &[]);
    command.env_remove("ACTIONS_ID_TOKEN_REQUEST_URL");
    let step = job.run(command).await;
    assert!(
        step.error()
            .contains("permissions:\n            id-token: write\n"),
        "{}",
        step.error()
    );

    let mut command = job.command("main.mjs", &[]);
    command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another");
    assert_eq!(
        job.run(command).await.error(),
        "GitHub gave no ID token (401)"
    );

    *job.asked.audience.lock().unwrap() = Some("https://github.com/acme".to_owned());
    let error = job.main(&[]).await.error();
    let look = format!(
        "look      the token is for audience `https://github.com/acme`, the broker wants `{}`",
        job.dev.url
    );
    assert!(
        error.contains("did not accept this job's ID token"),
        "{error}"
    );
    assert!(error.lines().any(|line| line == look), "{error}");
    assert_eq!(job.left(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_inputs_that_mean_nothing() {
    let job = Job::on("refs/heads/main").await;
    for (name, value, expected) in [
        ("ttl", "soon", "input `ttl` is `soon`"),
        ("wait", "1d", "input `wait` is `1d`"),
        ("resources", " \n ", "input `resources` is missing"),
        ("action", "", "input `action` is missing"),
        ("url", "", "input `url` is missing"),
        ("url", "stint.acme.dev", "`stint.acme.dev` is no URL"),
        ("url", "http://stint.acme.dev", "only https is spoken"),
        ("url", "https://u:p@localhost", "has a user"),
        ("url", "http://localhost:1", "does not answer"),
        ("resources", "no resource", "no resource"),
        ("action", "fly", "fly"),
    ] {
        let step = job.main(&[(name, value)]).await;
        assert!(
            step.error().contains(expected),
            "{name}={value}: {}",
            step.error()
        );
        assert_eq!((step.outputs.len(), job.left()), (0, 0), "{name}={value}");
    }
}

/// What the action asks with, read by somebody else.
#[test]
fn its_certificate_request_is_a_key_and_nothing_else() {
    let keys = foreign::here("../../clients/github-action/src/keys.mjs");
    let script = format!(
        "import {{ certificateKey }} from '{}'; process.stdout.write(certificateKey().csr)",
        keys.display()
    );
    let mut node = foreign::node("");
    let mut command = Command::new(node.get_program());
    command.args(["--input-type=module", "-e", &script]);
    node = command;
    for _ in 0..20 {
        let csr = foreign::run(&mut node, "").out;
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-verify", "-noout", "-subject"]);
        let read = foreign::run(&mut openssl, &csr);
        assert!(
            read.ok && read.out.trim_end().ends_with("subject="),
            "{read:?}\n{csr}"
        );
        assert_eq!(
            parse_x509_pem(csr.as_bytes()).unwrap().1.label,
            "CERTIFICATE REQUEST"
        );
    }
}

/// `action.yml` names what the code reads and writes, and the files it runs.
#[test]
fn its_manifest_says_what_there_is() {
    let folder = foreign::here("../../clients/github-action");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let manifest = read("action.yml");
    let code = read("src/main.mjs");
    let section = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("\n{name}:\n")).unwrap();
        let lines = rest
            .lines()
            .take_while(|line| line.is_empty() || line.starts_with(' '));
        let names = lines.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
        let names = names
            .filter(|name| !name.starts_with(' '))
            .map(str::to_owned);
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let called = |functions: &[&str]| {
        let mut names = std::collections::BTreeSet::new();
        for call in functions.iter().map(|function| format!("{function}('")) {
            let rests = code.split(&call).skip(1);
            names.extend(
                rests
                    .filter_map(|rest| rest.split('\'').next())
                    .map(str::to_owned),
            );
        }
        names
    };
    assert_eq!(section("inputs"), called(&["input", "required", "seconds"]));
    assert_eq!(section("outputs"), called(&["output"]));
    for line in manifest.lines().filter(|line| line.contains(".mjs")) {
        let path = line.split_whitespace().last().unwrap();
        assert!(folder.join(path).exists(), "{path}");
    }
}
