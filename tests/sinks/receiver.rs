//! A receiver of POSTs with a switch: it takes them, says no, hangs, or is gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response};
use axum::routing::post;
use serde_json::Value;
use stint_tests::clock::eventually;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What a receiver does with what comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// 200.
    Takes,
    /// Stores it, and then answers with this status: the sender cannot know.
    TakesAndSays(u16),
    /// This status; nothing is stored.
    Says(u16),
    /// 413 for bodies with more lines than this.
    AtMost(usize),
    /// No answer.
    Hangs,
}

/// A POST that was stored.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Debug)]
struct Seen {
    mood: Mood,
    posts: Vec<Post>,
    /// POSTs that came, stored or not.
    came: usize,
}

/// A receiver over real TCP.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    server: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let seen = Arc::new(Mutex::new(Seen {
            mood: Mood::Takes,
            posts: Vec::new(),
            came: 0,
        }));
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut receiver = Receiver {
            address,
            seen,
            server: JoinSet::new(),
        };
        receiver.serve(socket);
        receiver
    }

    /// `[sink.out]` that leads here, with more lines of config.
    pub(crate) fn sink(&self, kind: &str, more: &str) -> String {
        sink(kind, &format!("http://{}/in", self.address), more)
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.seen.lock().unwrap().mood = mood;
    }

    /// Nobody listens any more.
    pub(crate) async fn stop(&mut self) {
        self.server.shutdown().await;
    }

    /// Listens again, at the same place.
    pub(crate) async fn come_back(&mut self) {
        let socket = TcpListener::bind(self.address).await.unwrap();
        self.serve(socket);
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.seen.lock().unwrap().posts.clone()
    }

    pub(crate) fn came(&self) -> usize {
        self.seen.lock().unwrap().came
    }

    /// Waits until one more POST came, whatever becomes of it.
    pub(crate) async fn one_more(&self) {
        let came = self.came();
        eventually("a POST", async || self.came() > came).await;
    }

    /// All that was stored, one body after the other.
    pub(crate) fn text(&self) -> String {
        let posts = self.posts().into_iter();
        posts.map(|post| post.body + "\n").collect()
    }

    fn serve(&mut self, socket: TcpListener) {
        let router = axum::Router::new()
            .route("/in", post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&self.seen));
        self.server.spawn(async move {
            axum::serve(socket, router).await.unwrap();
        });
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let (status, stores) = {
        let mut seen = seen.lock().unwrap();
        seen.came += 1;
        match seen.mood {
            Mood::Takes => (Some(200), true),
            Mood::TakesAndSays(status) => (Some(status), true),
            Mood::Says(status) => (Some(status), false),
            Mood::AtMost(lines) if body.lines().count() > lines => (Some(413), false),
            Mood::AtMost(_) => (Some(202), true),
            Mood::Hangs => (None, false),
        }
    };
    if stores {
        seen.lock().unwrap().posts.push(Post { headers, body });
    }
    match status {
        Some(status) => Response::builder()
            .status(status)
            .body(Body::empty())
            .unwrap(),
        None => std::future::pending().await,
    }
}

/// `[sink.out]`, with a signed head each second.
pub(crate) fn sink(kind: &str, to: &str, more: &str) -> String {
    format!("[sink.out]\nkind = \"{kind}\"\nto = \"{to}\"\nheartbeat = \"1s\"\n{more}\n")
}

/// The numbers of entries in what was stored, in its order; heartbeats left out.
pub(crate) fn seqs(text: &str) -> Vec<u64> {
    let lines = text.lines().filter(|line| !line.is_empty());
    let events = lines.flat_map(|line| {
        let json = line.find(['{', '[']).unwrap();
        match serde_json::from_str(line.get(json..).unwrap()).unwrap() {
            Value::Array(events) => events,
            event => vec![event],
        }
    });
    let seq = |event: Value| {
        let inner = event.get("data").unwrap_or(&event);
        let seq = inner.get("seq").or(event["metadata"].get("sequence"));
        seq.and_then(Value::as_u64)
    };
    events.filter_map(seq).collect()
}
