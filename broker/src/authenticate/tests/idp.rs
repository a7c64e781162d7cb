//! An identity provider for tests: real keys, real signatures, a real server with one switch per lie.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A signing key with its `kid`.
pub(super) struct Signer {
    kid: String,
    key: Private,
}

enum Private {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Signer {
    pub(super) fn rsa(kid: &str) -> Signer {
        let text: String = include_str!("rsa2048.pk8.b64").split_whitespace().collect();
        let pkcs8 = BASE64.decode(text.as_bytes()).unwrap();
        Signer {
            kid: kid.to_owned(),
            key: Private::Rsa(Box::new(RsaKeyPair::from_pkcs8(&pkcs8).unwrap())),
        }
    }

    pub(super) fn ec(kid: &str) -> Signer {
        let (alg, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).unwrap();
        Signer {
            kid: kid.to_owned(),
            key: Private::Ec(key),
        }
    }

    pub(super) fn ed(kid: &str) -> Signer {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer {
            kid: kid.to_owned(),
            key: Private::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()),
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match &self.key {
            Private::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig",
                    "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Private::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": text(key.public_key().as_ref())})
            }
            Private::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid, "n": text(&public.n), "e": "AQAB"})
            }
        }
    }

    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    pub(super) fn header(&self) -> Value {
        let alg = match self.key {
            Private::Ec(_) => "ES256",
            Private::Ed(_) => "EdDSA",
            Private::Rsa(_) => "RS256",
        };
        json!({"typ": "JWT", "alg": alg, "kid": self.kid, "x5t": "unread"})
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let part = |json: &str| BASE64URL_NOPAD.encode(json.as_bytes());
        let input = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match &self.key {
            Private::Ec(key) => key
                .sign(&random, input.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Private::Ed(key) => key.sign(input.as_bytes()).as_ref().to_vec(),
            Private::Rsa(key) => {
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &random,
                    input.as_bytes(),
                    &mut out,
                )
                .unwrap();
                out
            }
        };
        format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It tells the truth.
    Honest,
    /// Its document speaks for somebody else.
    ForeignIssuer,
    /// Its document points to another host.
    ForeignHost,
    /// Its key set is larger than anybody needs.
    Huge,
    /// Its key set is not JSON.
    Mangled,
    /// 500.
    Broken,
    /// 302, to where the truth is.
    Redirect,
    /// It never answers.
    Silent,
}

/// A server that ends with its value.
pub(super) struct Idp {
    pub(super) url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    address: SocketAddr,
    mode: Mutex<Mode>,
    keys: Mutex<Value>,
    fetches: AtomicUsize,
}

impl Idp {
    pub(super) async fn start(keys: Value) -> Idp {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            address,
            mode: Mutex::new(Mode::Honest),
            keys: Mutex::new(keys),
            fetches: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys_of))
            .route("/moved", get(honest_keys))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Idp {
            url: format!("http://{address}"),
            shared,
            _server: server,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.shared.address.port()
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    pub(super) fn rotate(&self, keys: Value) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    /// How often its key set was asked for.
    pub(super) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    let own = format!("http://{}", shared.address);
    let mode = *shared.mode.lock().unwrap();
    let (issuer, keys) = match mode {
        Mode::ForeignIssuer => ("https://evil.example".to_owned(), format!("{own}/keys")),
        Mode::ForeignHost => (
            own,
            format!("http://localhost:{}/keys", shared.address.port()),
        ),
        _ => (own.clone(), format!("{own}/keys")),
    };
    said(json!({"issuer": issuer, "jwks_uri": keys}).to_string())
}

fn said(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn keys_of(State(shared): State<Arc<Shared>>) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let mode = *shared.mode.lock().unwrap();
    match mode {
        Mode::Huge => said(format!("{{\"keys\":[]{}}}", " ".repeat(256 * 1024))),
        Mode::Mangled => said("{\"keys\":".to_owned()),
        Mode::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mode::Redirect => (StatusCode::FOUND, [(header::LOCATION, "/moved")]).into_response(),
        Mode::Silent => std::future::pending().await,
        Mode::Honest | Mode::ForeignIssuer | Mode::ForeignHost => {
            honest_keys(State(shared)).await.into_response()
        }
    }
}

async fn honest_keys(State(shared): State<Arc<Shared>>) -> Response {
    said(shared.keys.lock().unwrap().to_string())
}
