//! An identity provider over TLS that tells the truth, or lies in exactly one way: one switch per lie.
//!
//! ```text
//! let idp = Evil::start("idp").await;
//! let broker = TestBroker::with().tables(&idp.config()).start().await;
//! idp.tell(Lie::Status(Stage::Keys, 500));
//! ```

mod connections;
mod documents;
mod key;
mod lie;

pub use key::IdpKey;
pub use lie::{Lie, Stage};

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use stint_policy::Timestamp;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::broker::URL;
use crate::issuer::encode;

/// A server that ends with its value.
#[derive(Debug)]
pub struct Evil {
    /// `NAME` of its `[issuer.NAME]`.
    pub name: String,
    /// Its issuer identifier.
    pub url: String,
    shared: Arc<Shared>,
    authority: NamedTempFile,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    lie: Mutex<Lie>,
    keys: Mutex<Value>,
    max_age: Mutex<Option<u32>>,
    fetches: AtomicUsize,
    discoveries: AtomicUsize,
    connections: AtomicUsize,
}

impl Evil {
    /// An honest one, without keys yet.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(name: &str) -> Evil {
        // The first to install wins, and all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            address,
            lie: Mutex::new(Lie::None),
            keys: Mutex::new(json!({ "keys": [] })),
            max_age: Mutex::new(None),
            fetches: AtomicUsize::new(0),
            discoveries: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let authority = NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), connections::authority_pem()).unwrap();
        let (ready, streams) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(connections::accept(listener, Arc::clone(&shared), ready));
        let router = documents::router(Arc::clone(&shared));
        let streams = connections::Streams { streams, address };
        tasks.spawn(async move { axum::serve(streams, router).await.unwrap() });
        Evil {
            name: name.to_owned(),
            url: format!("https://127.0.0.1:{}", address.port()),
            shared,
            authority,
            _tasks: tasks,
        }
    }

    /// One with this key, by `kid`.
    pub async fn with_key(name: &str, key: &IdpKey) -> Evil {
        let idp = Evil::start(name).await;
        idp.publish(&[key.jwk()]);
        idp
    }

    /// Its table in `stint.toml`.
    #[must_use]
    pub fn config(&self) -> String {
        self.config_with("")
    }

    /// The same with more lines.
    #[must_use]
    pub fn config_with(&self, lines: &str) -> String {
        let (name, url) = (&self.name, &self.url);
        let authority = self.authority.path().display();
        format!(
            r#"
[issuer.{name}]
preset = "generic"
url = "{url}"
audience = "{URL}"
alg = ["ES256"]
immutable = ["sub"]
id = "{{sub}}"
task = "{{job}}"
single_tenant = true
reuse = "never"
ca_file = "{authority}"
allow_private = ["127.0.0.0/8"]
extra.sub = {{ claim = "sub", type = "id" }}
extra.job = {{ claim = "job", type = "id" }}
{lines}
"#
        )
    }

    /// From now on it lies like this.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    pub fn tell(&self, lie: Lie) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    /// From now on these are its keys.
    pub fn publish(&self, keys: &[Value]) {
        self.publish_raw(json!({ "keys": keys }));
    }

    /// From now on this is its key set.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    pub fn publish_raw(&self, set: Value) {
        *self.shared.keys.lock().unwrap() = set;
    }

    /// `Cache-Control: max-age` of its key set.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    pub fn max_age(&self, seconds: u32) {
        *self.shared.max_age.lock().unwrap() = Some(seconds);
    }

    /// How often its key set was asked for.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// How often its discovery document was.
    #[must_use]
    pub fn discoveries(&self) -> usize {
        self.shared.discoveries.load(Ordering::SeqCst)
    }

    /// How often somebody connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The claims of a fresh token for `sub`, of a job of its own.
    ///
    /// # Panics
    /// Without randomness.
    #[must_use]
    pub fn claims(&self, sub: &str, now: Timestamp) -> Map<String, Value> {
        let random = ring::rand::generate::<[u8; 12]>(&ring::rand::SystemRandom::new());
        let jti = encode(&random.unwrap().expose());
        let claims = json!({ "iss": self.url, "aud": URL, "sub": sub, "job": format!("j{jti}"), "jti": jti,
            "iat": now.as_secs(), "exp": now.as_secs() + 300 });
        claims.as_object().unwrap().clone()
    }

    /// A fresh token for `sub` that `key` signed.
    #[must_use]
    pub fn token(&self, key: &IdpKey, now: Timestamp) -> String {
        key.token(&self.claims("worker", now))
    }
}
