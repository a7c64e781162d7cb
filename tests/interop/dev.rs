//! `stintd dev` as a process: the one broker that is reached under the URL it signs with.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use serde_json::{Value, json};
use stint_tests::process::program;
use stint_wire::{Credential, Granted};
use tempfile::TempDir;

/// A running `stintd dev`.
#[derive(Debug)]
pub(crate) struct Dev {
    pub(crate) url: String,
    client: Client,
    child: Child,
    folder: TempDir,
}

impl Dev {
    /// Waits until it says where it is.
    pub(crate) fn start() -> Dev {
        // The first to install wins, and all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program("stintd"));
        command
            .args(["dev", "--port", "0", "--policy"])
            .arg(folder.path().join("policy"));
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            let console = line.strip_prefix("console ")?;
            console.split_whitespace().next().map(str::to_owned)
        });
        // Whatever else it says is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let client = Client::builder().no_proxy().build().unwrap();
        Dev {
            url: url.expect("stintd dev starts"),
            client,
            child,
            folder,
        }
    }

    /// A JWT for a job of acme/web that deploys to staging.
    pub(crate) async fn jwt(&self, audience: &str, ttl: u32) -> String {
        let minted = self.post("/dev/github/token", "", json!({})).await;
        let ask = json!({
            "action": "deploy",
            "resources": ["Environment::staging/web"],
            "credential": { "kind": "jwt", "audience": audience },
            "ttl_s": ttl,
        });
        let granted = self
            .post("/v1/grants", minted["token"].as_str().unwrap(), ask)
            .await;
        let granted: Granted =
            serde_json::from_value(granted.clone()).unwrap_or_else(|_| panic!("{granted}"));
        match granted.credential {
            Credential::Jwt { token, .. } => token.expose().to_owned(),
            Credential::X509 { .. } => panic!("a certificate"),
        }
    }

    /// A fresh token of a job of acme/web.
    pub(crate) async fn evidence(&self) -> String {
        let minted = self.post("/dev/github/token", "", json!({})).await;
        minted["token"].as_str().unwrap().to_owned()
    }

    /// Its policy folder.
    pub(crate) fn policy(&self) -> PathBuf {
        self.folder.path().join("policy")
    }

    /// The newest signed head.
    pub(crate) async fn checkpoint(&self) -> String {
        let url = format!("{}/v1/ledger/checkpoint", self.url);
        let answer = self.client.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// `sha256:…` of its root.
    pub(crate) async fn fingerprint(&self) -> String {
        let url = format!("{}/v1/trust", self.url);
        let trust: Value = self
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        trust["root_fingerprint"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> Value {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(token)
            .json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Told, not killed: its folder goes with it.
        drop(
            Command::new("kill")
                .arg(self.child.id().to_string())
                .status(),
        );
        drop(self.child.wait());
    }
}
