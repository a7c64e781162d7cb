//! Its two documents, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use super::{Lie, Shared, Stage};

/// Where they are, and where the truth is for those who follow redirects.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/keys", get(keys))
        .route("/truth/discovery", get(true_discovery))
        .route("/truth/keys", get(true_keys))
        .with_state(shared)
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
