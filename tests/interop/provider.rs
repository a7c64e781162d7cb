//! npm `oidc-provider`, a certified OpenID provider, as an issuer of evidence; the broker as an operator sets it up:
//! `stintd init`, an edited `stint.toml`, `stintd serve`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use reqwest::Client;
use reqwest::header::HOST;
use serde_json::{Value, json};
use stint_tests::keys;
use stint_tests::process::{Stintd, program};
use tempfile::TempDir;

use crate::foreign::{self, Talk};
use crate::issued::write;

#[tokio::test]
async fn tokens_of_a_foreign_provider_are_evidence() {
    let places = Places::new();
    for algorithm in ["ES256", "RS256"] {
        let mut idp = Idp::start(&places, algorithm);
        let site = Site::serve(&places, &[("idp", &idp)]).await;
        let token = idp.token("9");
        let (status, caller) = site.post("/v1/whoami", &token, &json!({})).await;
        assert_eq!(
            (status, caller["spiffe_id"].as_str()),
            (200, Some("spiffe://acme.dev/idp/ci")),
            "{caller}"
        );
        assert_eq!(caller["task"]["name"], "idp:9", "{caller}");
        let (status, granted) = site.ask(&token).await;
        assert_eq!(status, 201, "{granted}");
        let (status, problem) = site.ask(&token).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some("evidence_rejected")),
            "a second time, for another key: {problem}"
        );
    }
}

#[tokio::test]
async fn a_key_that_the_provider_rotates_in_serves_at_once_and_the_old_one_never_again() {
    let places = Places::new();
    let mut idp = Idp::start(&places, "ES256");
    let site = Site::serve(&places, &[("idp", &idp)]).await;
    assert_eq!(site.ask(&idp.token("1")).await.0, 201);
    let old = idp.token("2");
    idp.talk.ask("rotate");
    let (status, granted) = site.ask(&idp.token("3")).await;
    assert_eq!(status, 201, "{granted}");
    let (status, problem) = site.ask(&old).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (400, Some("evidence_rejected")),
        "signed by a key that is gone: {problem}"
    );
}

#[tokio::test]
async fn a_provider_that_is_down_takes_nobody_else_with_it() {
    let places = Places::new();
    let (mut idp, mut other) = (Idp::start(&places, "ES256"), Idp::start(&places, "ES256"));
    let token = idp.token("1");
    idp.talk.end();
    let site = Site::serve(&places, &[("idp", &idp), ("other", &other)]).await;

    let (status, problem) = site.ask(&token).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (503, Some("unavailable")),
        "{problem}"
    );
    let (status, granted) = site.ask(&other.token("1")).await;
    assert_eq!(status, 201, "{granted}");
    let (status, checks) = site.ready().await;
    assert_eq!(status, 200, "{checks}");
    assert_eq!(
        check(&checks, "issuer idp")["code"],
        "issuer_unavailable",
        "{checks}"
    );
    assert_eq!(check(&checks, "issuer other")["ok"], true, "{checks}");

    other.talk.end();
    let (status, granted) = site.ask(&other.token_kept.take().unwrap()).await;
    assert_eq!(
        status, 201,
        "known keys serve while their provider is down: {granted}"
    );
}

/// Where things of one test lie.
pub(crate) struct Places {
    pub(crate) folder: TempDir,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Places {
    /// With a certificate for 127.0.0.1, which is its own root.
    pub(crate) fn new() -> Places {
        // The first to install wins, and all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["127.0.0.1".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let cert = write(folder.path(), "idp.pem", &cert.pem());
        let key = write(folder.path(), "idp.key", &key.serialize_pem());
        Places { folder, cert, key }
    }
}

/// A running provider.
struct Idp {
    talk: Talk,
    issuer: String,
    algorithm: &'static str,
    /// One more token, from before it ended.
    token_kept: Option<String>,
}

impl Idp {
    fn start(places: &Places, algorithm: &'static str) -> Idp {
        let mut command = foreign::node("oidc-provider.mjs");
        command.args(["--audience", URL, "--alg", algorithm]);
        let mut talk = Talk::start(
            command
                .arg("--cert")
                .arg(&places.cert)
                .arg("--key")
                .arg(&places.key),
        );
        let ready: Value = serde_json::from_str(&talk.hear()).unwrap();
        let issuer = ready["issuer"].as_str().unwrap().to_owned();
        let mut idp = Idp {
            talk,
            issuer,
            algorithm,
            token_kept: None,
        };
        idp.token_kept = Some(idp.token("kept"));
        idp
    }

    /// A token of this run.
    fn token(&mut self, run: &str) -> String {
        let said = self
            .talk
            .ask(&format!("token {}", json!({ "run_id": run })));
        said["token"]
            .as_str()
            .unwrap_or_else(|| panic!("{said}"))
            .to_owned()
    }

    fn config(&self, name: &str, places: &Places) -> String {
        format!(
            r#"
[issuer.{name}]
preset = "generic"
url = "{}"
audience = "{URL}"
alg = ["{}"]
single_tenant = true
immutable = ["subject"]
id = "{{subject}}"
task = "{{run}}"
extra.subject = {{ claim = "sub", type = "id" }}
extra.run = {{ claim = "run_id", type = "id" }}
ca_file = "{}"
allow_private = ["127.0.0.0/8"]
"#,
            self.issuer,
            self.algorithm,
            places.cert.display()
        )
    }
}

/// `stintd init`, and what an operator does next.
struct Site {
    stintd: Stintd,
    client: Client,
    _folder: TempDir,
}

impl Site {
    async fn serve(places: &Places, issuers: &[(&str, &Idp)]) -> Site {
        let folder = tempfile::Builder::new()
            .tempdir_in(places.folder.path())
            .unwrap();
        let site = folder.path().join("site");
        let mut init = Command::new(program("stintd"));
        init.arg("init")
            .arg(&site)
            .args(["--url", URL, "--trust-domain", "acme.dev"]);
        let said = foreign::run(&mut init, "");
        assert!(said.ok, "{said:?}");

        let mut config = std::fs::read_to_string(site.join("stint.toml")).unwrap();
        for (name, idp) in issuers {
            write!(config, "{}", idp.config(name, places)).unwrap();
        }
        // Every mapped claim has a type in the schema.
        let schema = std::fs::read_to_string(site.join("policy/schema.cedarschema")).unwrap();
        let extra = "\ntype Extra = { subject?: String, run?: String };\n";
        write(&site, "policy/schema.cedarschema", &(schema + extra));
        write(&site, "policy/idp.cedar", &policy(issuers));
        let stintd = Stintd::serve(&site, &config, None).await;
        Site {
            stintd,
            client: Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        }
    }

    async fn ask(&self, token: &str) -> (u16, Value) {
        let ask = json!({
            "action": "deploy",
            "resources": ["Environment::staging/web"],
            "credential": { "kind": "x509", "csr": keys::csr() },
        });
        self.post("/v1/grants", token, &ask).await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = self
            .client
            .post(format!("http://{}{path}", self.stintd.api))
            .header(HOST, URL.trim_start_matches("https://"));
        let answer = request.bearer_auth(token).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn ready(&self) -> (u16, Value) {
        let answer = self
            .client
            .get(format!("http://{}/readyz?verbose", self.stintd.ops))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn policy(issuers: &[(&str, &Idp)]) -> String {
    let one = |(name, _): &(&str, &Idp)| {
        format!(
            "@id(\"{name}-deploys\") @owner(\"Group::\\\"release\\\"\") @max_ttl(\"10m\") @credential(\"x509\")\n\
             permit (principal == Stint::Workload::\"spiffe://acme.dev/{name}/ci\", action == Action::\"deploy\", \
             resource in Environment::\"staging\");\n"
        )
    };
    issuers.iter().map(one).collect()
}

fn check<'a>(checks: &'a Value, name: &str) -> &'a Value {
    let mut all = checks.as_array().unwrap().iter();
    all.find(|check| check["check"] == name)
        .unwrap_or_else(|| panic!("no {name} in {checks}"))
}

/// The broker's name; where it listens is another matter.
pub(crate) const URL: &str = "https://stint.test";
