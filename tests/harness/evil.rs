//! An identity provider over TLS that tells the truth, or lies in exactly one way: one switch per lie.
//!
//! ```text
//! let idp = Evil::start("idp").await;
//! let broker = TestBroker::with().issuer(&idp.config()).start().await;
//! idp.tell(Lie::Status(Stage::Keys, 500));
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};
use stint_policy::Timestamp;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::io::ReaderStream;

use crate::broker::URL;
use crate::issuer::encode;
use crate::keys::DpopKey;

/// The document a lie is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// The key set.
    Keys,
}

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing but the truth.
    None,

    // The connection.
    /// It takes connections and says nothing, not even TLS.
    SilentTcp,
    /// It closes connections at once.
    Closes,
    /// It speaks HTTP where TLS is expected.
    PlainHttp,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate is of an authority nobody named.
    OtherAuthority,
    /// Its certificate ended.
    EndedCertificate,

    // Either document.
    /// It never answers.
    Silent(Stage),
    /// A byte every 50 ms, for ever.
    Drip(Stage),
    /// A body without end, as fast as it can.
    Endless(Stage),
    /// A document padded to 300 KiB.
    Large(Stage),
    /// A page for people.
    Html(Stage),
    /// Compressed, unasked.
    Gzip(Stage),
    /// A redirect to where the truth is.
    Redirect(Stage),
    /// This status, with the truth in the body.
    Status(Stage, u16),
    /// Half a document.
    Mangled(Stage),
    /// A document that is no object.
    List(Stage),
    /// A member twice.
    Twice(Stage),
    /// Less than its length says.
    Short(Stage),
    /// Deeper than anybody needs.
    Deep(Stage),

    // Discovery.
    /// It speaks for somebody else.
    OtherIssuer,
    /// It speaks for itself with one more slash.
    Slash,
    /// The keys are on another host.
    OtherHost,
    /// The keys are on another port of this host.
    OtherPort,
    /// The keys are in the clear.
    ClearKeys,
    /// The place of the keys has a user and a password.
    UserInfo,
    /// The place of the keys is no URL.
    NoUrl,
    /// The place of the keys is a file.
    FileUrl,
    /// No word of where the keys are.
    NoPlace,
}

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
        std::fs::write(authority.path(), AUTHORITY.pem()).unwrap();
        let (ready, streams) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared), ready));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/truth/discovery", get(true_discovery))
            .route("/truth/keys", get(true_keys))
            .with_state(Arc::clone(&shared));
        let streams = Streams { streams, address };
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

/// A key of an identity provider: P-256, under a `kid`.
#[derive(Debug)]
pub struct IdpKey {
    /// Its name.
    pub kid: String,
    key: DpopKey,
}

impl IdpKey {
    /// A new key.
    #[must_use]
    pub fn new(kid: &str) -> IdpKey {
        IdpKey {
            kid: kid.to_owned(),
            key: DpopKey::default(),
        }
    }

    /// Its public JWK.
    ///
    /// # Panics
    /// Never: it is an object.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.key.jwk();
        let members = jwk.as_object_mut().unwrap();
        members.insert("kid".to_owned(), json!(self.kid));
        members.insert("use".to_owned(), json!("sig"));
        members.insert("alg".to_owned(), json!("ES256"));
        jwk
    }

    /// Its thumbprint, base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Map<String, Value>) -> String {
        self.sign(
            &json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }),
            claims,
        )
    }

    /// A JWS with whatever header.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        self.key.sign(header, claims)
    }
}

/// Handshakes in tasks of their own: one that never ends holds up no other.
async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    ready: mpsc::Sender<TlsStream<TcpStream>>,
) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let lie = *shared.lie.lock().unwrap();
        let ready = ready.clone();
        open.spawn(async move { shake(stream, lie, ready).await });
    }
}

async fn shake(mut stream: TcpStream, lie: Lie, ready: mpsc::Sender<TlsStream<TcpStream>>) {
    let certificate = match lie {
        Lie::SilentTcp => std::future::pending().await,
        Lie::Closes => return,
        Lie::PlainHttp => {
            // All that was said is read first: closing on unread bytes would be a reset, another fault.
            let mut hello = [0; 4096];
            drop(stream.read(&mut hello).await);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{}").await);
            return;
        }
        Lie::OtherName => &OTHER_NAME,
        Lie::OtherAuthority => &OTHER_AUTHORITY,
        Lie::EndedCertificate => &ENDED,
        _ => &HONEST,
    };
    if let Ok(stream) = certificate.accept(stream).await {
        drop(ready.send(stream).await);
    }
}

static HONEST: LazyLock<TlsAcceptor> = LazyLock::new(|| acceptor("127.0.0.1", &AUTHORITY, 2100));
static OTHER_NAME: LazyLock<TlsAcceptor> =
    LazyLock::new(|| acceptor("idp.example", &AUTHORITY, 2100));
static OTHER_AUTHORITY: LazyLock<TlsAcceptor> =
    LazyLock::new(|| acceptor("127.0.0.1", &OTHER, 2100));
static ENDED: LazyLock<TlsAcceptor> = LazyLock::new(|| acceptor("127.0.0.1", &AUTHORITY, 2021));

/// TLS under a certificate for `name` that ends with the first day of a year.
fn acceptor(name: &str, authority: &CertifiedIssuer<'static, KeyPair>, ends: i32) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(ends, 1, 1));
    let der = params.signed_by(&key, authority).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The authority that tests name in `ca_file`, and one that nobody names.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(authority);
static OTHER: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(authority);

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Connections whose handshake is over.
struct Streams {
    streams: mpsc::Receiver<TlsStream<TcpStream>>,
    address: SocketAddr,
}

impl Listener for Streams {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.streams.recv().await {
            Some(stream) => (stream, self.address),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.discoveries.fetch_add(1, Ordering::SeqCst);
    let lie = *shared.lie.lock().unwrap();
    let truth = shared.document(lie).to_string();
    said(lie, Stage::Discovery, truth).await
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let lie = *shared.lie.lock().unwrap();
    let truth = shared.keys.lock().unwrap().to_string();
    let mut response = said(lie, Stage::Keys, truth).await;
    let max_age = *shared.max_age.lock().unwrap();
    if let Some(seconds) = max_age {
        let value = HeaderValue::from_str(&format!("public, max-age={seconds}")).unwrap();
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

async fn true_discovery(State(shared): State<Arc<Shared>>) -> Response {
    json_body(shared.document(Lie::None).to_string())
}

async fn true_keys(State(shared): State<Arc<Shared>>) -> Response {
    json_body(shared.keys.lock().unwrap().to_string())
}

impl Shared {
    /// The discovery document, as this lie bends it.
    fn document(&self, lie: Lie) -> Value {
        let port = self.address.port();
        let own = format!("https://127.0.0.1:{port}");
        let keys = format!("{own}/keys");
        match lie {
            Lie::OtherIssuer => json!({ "issuer": "https://evil.example", "jwks_uri": keys }),
            Lie::Slash => json!({ "issuer": format!("{own}/"), "jwks_uri": keys }),
            Lie::OtherHost => {
                json!({ "issuer": own, "jwks_uri": format!("https://localhost:{port}/keys") })
            }
            Lie::OtherPort => json!({ "issuer": own, "jwks_uri": "https://127.0.0.1:1/keys" }),
            Lie::ClearKeys => {
                json!({ "issuer": own, "jwks_uri": format!("http://127.0.0.1:{port}/keys") })
            }
            Lie::UserInfo => {
                json!({ "issuer": own, "jwks_uri": format!("https://a:b@127.0.0.1:{port}/keys") })
            }
            Lie::NoUrl => json!({ "issuer": own, "jwks_uri": "/keys" }),
            Lie::FileUrl => json!({ "issuer": own, "jwks_uri": "file:///etc/passwd" }),
            Lie::NoPlace => json!({ "issuer": own }),
            _ => json!({ "issuer": own, "jwks_uri": keys }),
        }
    }
}

/// `truth`, or what becomes of it on this stage.
async fn said(lie: Lie, stage: Stage, truth: String) -> Response {
    let is_here = |at: Stage| at == stage;
    match lie {
        Lie::Silent(at) if is_here(at) => std::future::pending().await,
        Lie::Drip(at) if is_here(at) => flow(truth, Some(Duration::from_millis(50))),
        Lie::Endless(at) if is_here(at) => flow(truth, None),
        Lie::Large(at) if is_here(at) => json_body(format!("{truth}{}", " ".repeat(300 * 1024))),
        Lie::Html(at) if is_here(at) => {
            ([(header::CONTENT_TYPE, "text/html")], truth).into_response()
        }
        Lie::Gzip(at) if is_here(at) => {
            let mut response = json_body(truth);
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            response
        }
        Lie::Redirect(at) if is_here(at) => {
            let to = match stage {
                Stage::Discovery => "/truth/discovery",
                Stage::Keys => "/truth/keys",
            };
            (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
        }
        Lie::Status(at, status) if is_here(at) => {
            let mut response = json_body(truth);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        Lie::Mangled(at) if is_here(at) => json_body(truth.chars().take(truth.len() / 2).collect()),
        Lie::List(at) if is_here(at) => json_body(format!("[{truth}]")),
        Lie::Twice(at) if is_here(at) => {
            let member = match stage {
                Stage::Discovery => r#"{"issuer":"https://evil.example","#,
                Stage::Keys => r#"{"keys":[],"#,
            };
            json_body(truth.replacen('{', member, 1))
        }
        Lie::Short(at) if is_here(at) => {
            let mut response = flow_once(truth.clone());
            let length = HeaderValue::from(truth.len() + 100);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
            response
        }
        Lie::Deep(at) if is_here(at) => {
            let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
            json_body(truth.replacen('{', &format!(r#"{{"x":{deep},"#), 1))
        }
        _ => json_body(truth),
    }
}

fn json_body(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The truth, and then spaces without end.
fn flow(truth: String, pause: Option<Duration>) -> Response {
    let (mut write, read) = tokio::io::duplex(16 * 1024);
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends when its reader is gone, and nobody waits for it"
    )]
    drop(tokio::spawn(async move {
        let mut chunk = match pause {
            Some(_) => vec![b' '; 1],
            None => vec![b' '; 8 * 1024],
        };
        let mut truth = truth.into_bytes().into_iter();
        loop {
            for byte in &mut chunk {
                *byte = truth.next().unwrap_or(b' ');
            }
            if write.write_all(&chunk).await.is_err() {
                return;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }));
    let body = Body::from_stream(ReaderStream::new(read));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The truth as a stream that ends.
fn flow_once(truth: String) -> Response {
    let body = Body::from_stream(ReaderStream::new(std::io::Cursor::new(truth.into_bytes())));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
