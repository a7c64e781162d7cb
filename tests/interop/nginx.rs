//! nginx as a relying party: it lets in who shows a live certificate of our root, and it serves under one of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use stint_broker::clock::Stopwatch;
use tempfile::TempDir;

use crate::foreign::{self, Said, Talk};
use crate::issued::{self, Issued, write};

#[tokio::test]
async fn nginx_lets_in_whoever_shows_a_live_certificate_with_its_chain() {
    let broker = issued::broker().await;
    for (kind, algorithm, profile) in issued::KINDS {
        let issued = Issued::ask(&broker, 300, algorithm, profile).await;
        let nginx = Nginx::start(&issued.root);
        let said = nginx.get(Some((&issued.chain(), &issued.key)));
        assert_eq!(
            (said.status, said.verify()),
            (200, "SUCCESS"),
            "{kind}: {said:?}"
        );
        assert_eq!(
            said.body["serial"].as_str().unwrap().to_lowercase(),
            issued.serial(),
            "{kind}"
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn nginx_turns_away_whoever_shows_nothing_no_chain_or_another_root() {
    let (broker, other) = (issued::broker().await, issued::broker().await);
    let issued = Issued::plain(&broker, 300).await;
    let stranger = Issued::plain(&other, 300).await;
    let nginx = Nginx::start(&issued.root);
    let said = nginx.get(None);
    assert_eq!((said.status, said.verify()), (403, "NONE"), "{said:?}");
    let said = nginx.get(Some((&issued.leaf, &issued.key)));
    assert!(
        said.status == 403 && said.verify().contains("unable to verify"),
        "{said:?}"
    );
    let said = nginx.get(Some((&stranger.chain(), &stranger.key)));
    assert!(
        said.status == 403 && said.verify().starts_with("FAILED:"),
        "{said:?}"
    );
    broker.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn nginx_turns_away_a_certificate_from_the_second_it_ends() {
    let broker = issued::broker().await;
    let issued = Issued::plain(&broker, SHORTEST).await;
    let nginx = Nginx::start(&issued.root);
    let chain = issued.chain();
    let watch = Stopwatch::start();
    let mut said = nginx.get(Some((&chain, &issued.key)));
    while said.status == 200 && watch.elapsed() < PATIENCE {
        said = nginx.get(Some((&chain, &issued.key)));
    }
    assert_eq!(
        (said.status, said.verify()),
        (403, "FAILED:certificate has expired"),
        "{said:?}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn nginx_serves_under_a_certificate_of_ours() {
    let broker = issued::broker().await;
    let server = Issued::ask(&broker, 300, &rcgen::PKCS_ECDSA_P256_SHA256, Some("web")).await;
    let client = Issued::plain(&broker, 300).await;
    let nginx = Nginx::serving(
        (&server.chain(), &server.key),
        "web.acme.dev",
        (&server.root, &client.root),
    );
    let said = nginx.get(Some((&client.chain(), &client.key)));
    assert_eq!((said.status, said.verify()), (200, "SUCCESS"), "{said:?}");
    broker.finish().await;
}

/// A running nginx on a socket of its own.
struct Nginx {
    /// Ends with this value, and before its folder.
    _running: Talk,
    host: &'static str,
    /// Whom its clients trust.
    roots: PathBuf,
    folder: TempDir,
}

/// What it answered.
#[derive(Debug)]
struct Answered {
    status: u16,
    body: Value,
}

impl Answered {
    fn verify(&self) -> &str {
        self.body["verify"].as_str().unwrap()
    }
}

impl Nginx {
    /// Lets in clients of `root`, under a certificate that signs itself.
    fn start(root: &Path) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let own = write(folder.path(), "own.pem", &own.pem());
        let key = write(folder.path(), "own.key", &key.serialize_pem());
        Nginx::run(folder, (&own, &key), "localhost", (&own, root))
    }

    fn serving(own: (&Path, &Path), host: &'static str, roots: (&Path, &Path)) -> Nginx {
        Nginx::run(tempfile::tempdir().unwrap(), own, host, roots)
    }

    fn run(
        folder: TempDir,
        (chain, key): (&Path, &Path),
        host: &'static str,
        (roots, clients): (&Path, &Path),
    ) -> Nginx {
        let listen = format!("unix:{}/socket", folder.path().display());
        let mut command = Command::new(foreign::here("nginx.sh"));
        let command = command
            .arg(listen)
            .arg(folder.path())
            .arg(chain)
            .arg(key)
            .arg(clients);
        let mut running = Talk::start(command);
        assert_eq!(running.hear(), "ready");
        Nginx {
            _running: running,
            host,
            roots: roots.to_owned(),
            folder,
        }
    }

    /// Asks with curl, under this certificate and key.
    fn get(&self, own: Option<(&Path, &Path)>) -> Answered {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--write-out",
            "\n%{http_code}",
            "--unix-socket",
        ]);
        curl.arg(self.folder.path().join("socket"))
            .arg("--cacert")
            .arg(&self.roots);
        if let Some((chain, key)) = own {
            curl.arg("--cert").arg(chain).arg("--key").arg(key);
        }
        let said: Said = foreign::run(curl.arg(format!("https://{}/", self.host)), "");
        assert!(said.ok, "{said:?}");
        let (body, status) = said.out.rsplit_once('\n').unwrap();
        Answered {
            status: status.parse().unwrap(),
            body: serde_json::from_str(body).unwrap(),
        }
    }
}

/// Seconds: nothing shorter is granted.
const SHORTEST: u32 = 30;
/// For such a life, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(45);
