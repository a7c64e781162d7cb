//! The golden exchanges (tests/golden/token), each sent through both doors: the same ask has the same digest, the same
//! decision and the same minted claims, whichever words it came in (PROTOCOLS.md §3.4).

use std::path::Path;

use serde_json::{Value, json};
use stint_tests::after::{Entry, der};
use stint_tests::broker::URL;
use stint_tests::issuer;
use stint_tests::keys::{self, DpopKey};
use stint_tests::{Answer, TestBroker};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::desk::with_targets;

#[tokio::test]
async fn every_golden_ask_is_the_same_at_both_doors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/token");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let golden = std::fs::read_to_string(&file).unwrap();
        let golden = golden.replace("{csr}", &keys::csr().replace('\n', "\\n"));
        let golden = serde_json::from_str(&golden);
        check(&golden.unwrap_or_else(|error| panic!("{}: {error}", file.display()))).await;
    }
}

async fn check(golden: &Value) {
    let broker = with_targets().start().await;
    let key = DpopKey::default();
    let twin = by_json(&broker, golden, &key).await;
    assert_eq!(twin.status.as_u16(), golden["twin"], "{}", twin.text());
    let answer = by_form(&broker, golden, &key).await;
    assert_eq!(
        answer.status.as_u16(),
        golden["status"],
        "{}",
        answer.text()
    );
    fits(
        &golden["answer"],
        &answer.json(),
        golden["about"].as_str().unwrap(),
    );

    let entries = broker.export().await.entries();
    let of_callers = entries.iter();
    let of_callers = of_callers.filter(|entry| entry.body["what"].get("caller").is_some());
    let [one, other] = &of_callers.collect::<Vec<_>>()[..] else {
        panic!("one entry each: {entries:?}")
    };
    assert_eq!(recorded(one), recorded(other));
    if golden["status"] == 200 {
        assert_eq!(minted(&twin), minted(&answer));
        assert_eq!(one.header["kind"], other.header["kind"]);
    }
    broker.finish().await;
}

async fn by_json(broker: &TestBroker, golden: &Value, key: &DpopKey) -> Answer {
    let token = broker.ci("acme/web").on("refs/heads/main").job("a").token();
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    let proof = key.proof(&format!("{URL}/v1/grants"), &token, broker.now());
    if golden["proof"] == true {
        headers.push(("dpop", &proof));
    }
    let body = golden["ask"].to_string();
    broker.post("/v1/grants", &headers, body.as_bytes()).await
}

async fn by_form(broker: &TestBroker, golden: &Value, key: &DpopKey) -> Answer {
    let mut form = broker.ci("acme/web").on("refs/heads/main").job("a").form();
    for (name, value) in golden["form"].as_object().unwrap() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        form = form.field(name, &text);
    }
    if golden["proof"] == true {
        form = form.proved_by(key);
    }
    form.send().await
}

/// What the ledger says of the ask: digest and the question that policy was asked, but for what the twin before it left
/// behind in the task.
fn recorded(entry: &Entry) -> Value {
    let body = &entry.body["what"];
    let mut query = body["query"].clone();
    if let Some(context) = query.get_mut("context") {
        context["history"].take();
    }
    json!([body["digest"], query, body["policies"], body["detail"]])
}

/// What was minted, but for what is drawn anew each time.
fn minted(answer: &Answer) -> Value {
    let answer = answer.json();
    let credential = &answer["credential"];
    let token = answer.get("access_token").or(credential.get("token"));
    let text = token
        .unwrap_or(&credential["certificate"])
        .as_str()
        .unwrap();
    match text.starts_with("-----BEGIN") {
        true => certificate(text),
        false => {
            let mut claims = issuer::claims(text);
            for drawn in ["jti", "grant"] {
                assert!(claims.remove(drawn).is_some());
            }
            Value::Object(claims)
        }
    }
}

fn certificate(pem: &str) -> Value {
    let (leaf, _) = pem.split_once("-----END").unwrap();
    let leaf = der(leaf);
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let extensions = leaf.extensions().iter();
    // The last one names the grant.
    let shared = extensions.clone().take(extensions.len() - 1);
    let shared: Vec<_> = shared
        .map(|it| json!([it.oid.to_id_string(), it.critical, it.value]))
        .collect();
    let validity = leaf.validity();
    json!({
        "extensions": shared,
        "key": leaf.public_key().raw,
        "from": validity.not_before.timestamp(),
        "until": validity.not_after.timestamp(),
        "subject": leaf.subject().to_string(),
    })
}

/// `"*"` stands for anything; everything else is exact, and no member is more or less.
fn fits(golden: &Value, got: &Value, place: &str) {
    match (golden, got) {
        (Value::String(any), _) if any == "*" => {}
        (Value::Object(golden), Value::Object(members)) => {
            let names = |it: &serde_json::Map<String, Value>| {
                it.keys()
                    .cloned()
                    .collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(names(golden), names(members), "members of {place}");
            for (name, value) in golden {
                fits(value, &members[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(golden), Value::Array(items)) => {
            assert_eq!(golden.len(), items.len(), "{place}");
            for (golden, item) in golden.iter().zip(items) {
                fits(golden, item, &format!("{place}[]"));
            }
        }
        (golden, got) => assert_eq!(golden, got, "{place}"),
    }
}
