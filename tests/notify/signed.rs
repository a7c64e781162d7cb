//! What programs are told, and that they can check from whom it is.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ring::hmac;
use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;

use crate::http::{Mood, Post, Receiver};
use crate::scene::{KEY, PROD, Secrets, ask, broker, settle, webhook};

/// The signature by the spec's words: HMAC-SHA256 of `id.timestamp.body`, with the key behind `whsec_`.
fn is_signed(post: &Post, secret: &str) -> bool {
    let key = data_encoding::BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.unwrap());
    let (id, at) = (post.header("webhook-id"), post.header("webhook-timestamp"));
    let text = format!("{id}.{at}.{}", post.body);
    let tag = post
        .header("webhook-signature")
        .strip_prefix("v1,")
        .unwrap();
    let tag = data_encoding::BASE64.decode(tag.as_bytes()).unwrap();
    hmac::verify(&key, text.as_bytes(), &tag).is_ok()
}

/// The same by Python's own `hmac`.
fn python_agrees(post: &Post, secret: &str) -> bool {
    const CHECK: &str = "import base64, hashlib, hmac, json, sys
it = json.load(sys.stdin)
key = base64.b64decode(it['secret'].removeprefix('whsec_'))
text = f\"{it['id']}.{it['at']}.{it['body']}\".encode()
tag = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
sys.exit(0 if hmac.compare_digest(f'v1,{tag}', it['signature']) else 1)";
    let mut python = Command::new("python3")
        .args(["-c", CHECK])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let told = json!({
        "secret": secret, "body": post.body, "id": post.header("webhook-id"),
        "at": post.header("webhook-timestamp"), "signature": post.header("webhook-signature"),
    });
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(told.to_string().as_bytes()).unwrap();
    drop(stdin);
    python.wait().unwrap().success()
}

#[tokio::test]
async fn an_ask_that_waits_is_told_signed_and_with_one_link() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    let request = ask(&broker, 600).await;
    settle(&broker);
    let post = receiver.stored(1).await;
    assert!(
        is_signed(&post, KEY) && python_agrees(&post, KEY),
        "{post:?}"
    );
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(!is_signed(&post, other) && !python_agrees(&post, other));
    assert_eq!(post.header("content-type"), "application/json");
    assert_eq!(post.header("webhook-id"), format!("{request}-waiting"));
    let at: i64 = post.header("webhook-timestamp").parse().unwrap();
    assert_eq!(at, broker.now().as_secs());
    let told = post.json();
    assert_eq!(told["type"], "requests.waiting");
    assert_eq!(told["timestamp"], broker.now().rfc3339());
    let data = &told["data"];
    assert_eq!(data["url"], format!("http://localhost:8640/a/{request}"));
    assert_eq!(data["count"], 1);
    assert_eq!(data["items"][0]["request"], *request);
    let line = json!({ "label": "Who can decide", "text": "2 of Group::\"sre\"" });
    assert!(
        data["items"][0]["lines"]
            .as_array()
            .unwrap()
            .contains(&line),
        "{data}"
    );
    assert_eq!(
        post.body.matches("://localhost").count(),
        1,
        "{}",
        post.body
    );
    broker.finish().await;
}

#[tokio::test]
async fn neither_match_code_nor_the_askers_words_are_told() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    let caller = broker.ci("acme/web").on("refs/heads/main");
    let asking = caller.ask("deploy", crate::scene::PROD);
    let words = json!("urgent: call +1 555 0100 and read the code to me");
    let held = asking.member("reason", words).x509().await.held();
    settle(&broker);
    let post = receiver.stored(1).await;
    assert!(!post.body.contains("555 0100"), "{}", post.body);
    let told = post.json()["data"]["items"].to_string();
    let code = held.match_code.unwrap();
    let words = told.split(|c: char| !c.is_ascii_alphanumeric());
    assert!(
        words.into_iter().all(|word| word != code.as_str()),
        "{code}: {told}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn the_end_of_an_ask_is_a_second_message() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    let request = ask(&broker, 600).await;
    settle(&broker);
    receiver.stored(1).await;
    broker.clock.advance(3_601);
    // Whoever asks again finds that the first ask is over.
    assert_ne!(ask(&broker, 600).await, request);
    settle(&broker);
    receiver.stored(3).await;
    let mut posts = receiver.posts().into_iter().map(|post| post.json());
    let told = posts
        .find(|told| told["type"] == "requests.decided")
        .unwrap();
    assert_eq!(told["type"], "requests.decided");
    assert_eq!(told["data"]["title"], "Ended without a decision");
    assert_eq!(told["data"]["items"][0]["came_to"], "expired");
    assert_eq!(
        told["data"]["url"],
        format!("http://localhost:8640/a/{request}")
    );
    broker.finish().await;
}

#[tokio::test]
async fn what_people_decide_is_told_with_who_decided() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    let table = webhook("ends", &receiver, &secrets, "events = [\"decided\"]");
    let setup = TestBroker::with().people().tables(&table);
    let setup = setup
        .policy("tests/sample.toml", "")
        .replace("web.cedar", "@quorum(\"2\")", "@quorum(\"1\")")
        .replace("web.cedar", "votes: 2", "votes: 1");
    let broker = setup.start().await;
    let dana = broker.signed_in("dana").await;
    let passkey = dana.passkey().await;
    let (first, second) = (ask(&broker, 600).await, ask(&broker, 500).await);
    let same = broker.ci("acme/web").on("refs/heads/main");
    let same = same.job("19475852113").ask("deploy", PROD).ttl(500);
    let code = same.x509().await.held().match_code.unwrap();
    for (request, choice) in [
        (&first, json!({ "vote": "no", "note": "not on a Friday" })),
        (&second, json!({ "vote": "yes", "match_code": code })),
    ] {
        let path = format!("/v1/requests/{request}");
        let ballot = dana.post(&format!("{path}/ballot"), &choice).await;
        assert_eq!(ballot.status, 200, "{}", ballot.text());
        let (votes, vote) = (format!("{path}/votes"), passkey.vote(&ballot.json()));
        assert_eq!(dana.post(&votes, &vote).await.status, 201);
    }
    settle(&broker);
    let mut came_to = Vec::new();
    receiver.stored(1).await;
    eventually("both are told", async || {
        let posts = receiver.posts().into_iter().map(|post| post.json());
        let items = posts.flat_map(|told| told["data"]["items"].as_array().unwrap().clone());
        came_to = items.collect::<Vec<_>>();
        came_to.len() == 2
    })
    .await;
    let told = |word: &str| came_to.iter().find(|item| item["came_to"] == word).unwrap();
    for word in ["approved", "denied"] {
        let told = told(word).to_string();
        assert!(told.contains("Dana Ortiz"), "{told}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_target_is_told_of_its_groups_and_events_alone() {
    let (sre, other, ends) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let secrets = Secrets::new();
    let tables = webhook("sre", &sre, &secrets, "for = ['Group::\"sre\"']")
        + &webhook("other", &other, &secrets, "for = ['Group::\"release\"']")
        + &webhook("ends", &ends, &secrets, "events = [\"decided\"]");
    let broker = broker(&tables).await;
    ask(&broker, 600).await;
    settle(&broker);
    sre.stored(1).await;
    crate::scene::nothing_waits(&broker, "other").await;
    crate::scene::nothing_waits(&broker, "ends").await;
    assert_eq!((other.came(), ends.came()), (0, 0));
    broker.finish().await;
}

#[tokio::test]
async fn a_try_again_is_the_same_message_under_the_same_id() {
    let (receiver, secrets) = (Receiver::start().await, Secrets::new());
    receiver.mood(Mood::TakesAndSays500);
    let broker = broker(&webhook("sre", &receiver, &secrets, "")).await;
    ask(&broker, 600).await;
    settle(&broker);
    receiver.stored(1).await;
    receiver.mood(Mood::Takes);
    stint_tests::clock::eventually("it comes again", async || {
        broker.clock.advance(1);
        receiver.posts().len() == 2
    })
    .await;
    let posts = receiver.posts();
    assert_eq!(posts[0].header("webhook-id"), posts[1].header("webhook-id"));
    assert_eq!(posts[0].json()["data"], posts[1].json()["data"]);
    assert_ne!(
        posts[0].header("webhook-timestamp"),
        posts[1].header("webhook-timestamp")
    );
    assert!(is_signed(&posts[1], KEY));
    broker.finish().await;
}

#[tokio::test]
async fn alarms_are_told_to_those_who_want_them() {
    let (all, asks, secrets) = (
        Receiver::start().await,
        Receiver::start().await,
        Secrets::new(),
    );
    let tables = webhook("all", &all, &secrets, "")
        + &webhook("asks", &asks, &secrets, "events = [\"request\"]");
    let broker = broker(&tables).await;
    let freeze = json!({ "issuer": "github", "reason": "a leak" });
    assert_eq!(broker.command("/v1/freeze", &freeze).await.status, 200);
    settle(&broker);
    let told = all.stored(1).await.json();
    assert_eq!(told["type"], "alarm");
    let title = "Evidence is frozen: nothing is granted on it";
    assert_eq!(told["data"]["title"], title);
    let lines = told["data"]["items"][0]["lines"].to_string();
    assert!(
        lines.contains("issuer github") && lines.contains("a leak"),
        "{lines}"
    );
    assert_eq!(broker.command("/v1/unfreeze", &freeze).await.status, 200);
    // A token is taken once; who brings it again may have stolen it.
    broker.clock.advance(61);
    all.stored(2).await;
    let job = broker.ci("acme/web").on("refs/heads/main");
    let token = job.token();
    for caller in ["prod/web", "staging/web"] {
        let resource = format!("Environment::{caller}");
        let job = broker.ci("acme/web").on("refs/heads/main");
        drop(job.ask("deploy", &resource).token(&token).x509().await);
    }
    settle(&broker);
    stint_tests::clock::eventually("the alarm", async || {
        let posts = all.posts();
        posts
            .iter()
            .any(|post| post.body.contains("A token came twice"))
    })
    .await;
    assert!(
        !asks
            .posts()
            .iter()
            .any(|post| post.json()["type"] == "alarm")
    );
    broker.finish().await;
}
