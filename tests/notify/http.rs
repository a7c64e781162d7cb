//! A receiver of POSTs with a switch: it takes them, says no, hangs, or is gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::post;
use serde_json::Value;
use stint_tests::clock::eventually;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// No answer.
    Hangs,
    /// This status, and these words; nothing is stored.
    Says(u16, &'static str),
    /// 200.
    Takes,
    /// Stores it and answers 500: the sender cannot know.
    TakesAndSays500,
}

/// A POST that was stored.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Post {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Debug)]
struct Seen {
    mood: Mood,
    posts: Vec<Post>,
    /// Stored or not.
    came: usize,
}

/// A receiver over real TCP.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _server: JoinSet<()>,
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
        let router = axum::Router::new()
            .route("/hook/{secret}", post(take))
            .with_state(Arc::clone(&seen));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(socket, router).await.unwrap() });
        Receiver {
            address,
            seen,
            _server: server,
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.seen.lock().unwrap().mood = mood;
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.seen.lock().unwrap().posts.clone()
    }

    pub(crate) fn came(&self) -> usize {
        self.seen.lock().unwrap().came
    }

    /// Waits until `count` were stored, and gives the last.
    pub(crate) async fn stored(&self, count: usize) -> Post {
        eventually(&format!("{count} posts"), async || {
            self.posts().len() >= count
        })
        .await;
        let posts = self.posts();
        assert_eq!(posts.len(), count, "{posts:#?}");
        posts.last().unwrap().clone()
    }

    /// Waits until one more came, whatever becomes of it.
    pub(crate) async fn one_more(&self) {
        let came = self.came();
        eventually("a POST", async || self.came() > came).await;
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mood = {
        let mut seen = seen.lock().unwrap();
        seen.came += 1;
        if matches!(seen.mood, Mood::Takes | Mood::TakesAndSays500) {
            seen.posts.push(Post { headers, body });
        }
        seen.mood
    };
    let (status, words) = match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Says(status, words) => (status, words),
        Mood::Takes => (200, "ok"),
        Mood::TakesAndSays500 => (500, ""),
    };
    let answer = Response::builder().status(status);
    answer.body(Body::from(words)).unwrap()
}
