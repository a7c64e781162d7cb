//! `GET /v1/events`: what changed, by name alone; bounded, and gone with the process.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use stint_tests::TestBroker;
use stint_tests::people::Person;

use crate::page::granted;

/// An open stream.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(broker: &TestBroker, person: &Person<'_>, last: Option<&str>) -> Response {
        let request = broker.client().get(format!("{}/v1/events", broker.base()));
        let request = request
            .header("host", "localhost:8640")
            .header("cookie", &person.cookie);
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        request.send().await.unwrap()
    }

    fn of(response: Response) -> Stream {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let text = String::new();
        Stream { response, text }
    }

    /// The next block, up to its empty line; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next change: its id, and what changed.
    async fn change(&mut self) -> (u64, Vec<String>) {
        loop {
            let block = self.block().await.unwrap();
            if !block.contains("event: changed") {
                continue;
            }
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap()
            };
            let data: Value = serde_json::from_str(field("data: ")).unwrap();
            let members = data.as_object().unwrap();
            assert_eq!(
                members.keys().collect::<Vec<_>>(),
                ["changed"],
                "names what changed and nothing else"
            );
            let topics = data["changed"].as_array().unwrap().iter();
            let topics = topics
                .map(|topic| topic.as_str().unwrap().to_owned())
                .collect();
            return (field("id: ").parse().unwrap(), topics);
        }
    }
}

#[tokio::test]
async fn a_change_is_named_and_what_was_missed_is_made_up_for() {
    let broker = TestBroker::with().people().start().await;
    let (avery, kim) = (
        broker.signed_in("avery").await,
        broker.signed_in("kim").await,
    );
    let mut all = Stream::of(Stream::open(&broker, &avery, None).await);
    let mut theirs = Stream::of(Stream::open(&broker, &kim, None).await);
    assert!(all.block().await.unwrap().starts_with("retry: "));
    granted(&broker).await;
    let (at, topics) = all.change().await;
    assert!(topics.contains(&"grants".to_owned()), "{topics:?}");
    assert!(topics.contains(&"ledger".to_owned()), "{topics:?}");
    let (_, topics) = theirs.change().await;
    assert!(
        topics.contains(&"grants".to_owned()) && !topics.contains(&"ledger".to_owned()),
        "{topics:?}"
    );
    granted(&broker).await;
    let (next, _) = all.change().await;
    assert!(next > at);
    drop(all);
    let mut again = Stream::of(Stream::open(&broker, &avery, Some(&at.to_string())).await);
    let (made_up, topics) = again.change().await;
    assert!(made_up >= next && topics.contains(&"grants".to_owned()));
    drop((again, theirs, avery, kim));
    broker.finish().await;
}

#[tokio::test]
async fn a_session_has_four_streams_and_strangers_none() {
    let broker = TestBroker::with().people().start().await;
    let avery = broker.signed_in("avery").await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = Stream::of(Stream::open(&broker, &avery, None).await);
        stream.block().await.unwrap();
        open.push(stream);
    }
    let fifth = Stream::open(&broker, &avery, None).await;
    assert_eq!(fifth.status(), 429);
    assert!(fifth.headers().contains_key("retry-after"));
    assert_eq!(broker.get("/v1/events").await.status, 401);
    let other = broker.signed_in("kim").await;
    drop(Stream::of(Stream::open(&broker, &other, None).await));
    // A stream that is left gives its place back.
    drop(open.pop());
    let mut freed = None;
    for _ in 0..200 {
        let again = Stream::open(&broker, &avery, None).await;
        if again.status() == 200 {
            freed = Some(again);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(freed.is_some());
    drop((open, freed, avery, other));
    broker.finish().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_process() {
    let mut broker = TestBroker::with().people().start().await;
    let cookie = broker.signed_in("avery").await.cookie.clone();
    let request = broker.client().get(format!("{}/v1/events", broker.base()));
    let request = request
        .header("host", "localhost:8640")
        .header("cookie", cookie);
    let mut stream = Stream::of(request.send().await.unwrap());
    stream.block().await.unwrap();
    broker.stop().await;
    while let Some(block) = stream.block().await {
        assert!(!block.contains("event: changed"), "{block}");
    }
    broker.restart().await.unwrap();
    broker.finish().await;
}
