//! Logs whose own operator lies, with the log's key in hand: every hash and signature holds, and the decisions do not
//! (LEDGER.md §15, T10).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stint_audit::bundle::{BODIES, CHECKPOINT, Files, HEADERS, PROOF};
use stint_audit::canonical::canonical;
use stint_audit::tree::{leaf_hash, root};
use stint_audit::{Checkpoint, Digest, LogKey};
use stint_tests::TestBroker;

use crate::desk::{Desk, said, verdict, work};

/// An entry on its way to another story.
struct Entry {
    header: Value,
    body: Value,
}

/// The same log with other entries, linked and signed anew.
fn forged(files: &Files, change: impl Fn(u64, &mut Entry)) -> (Files, LogKey) {
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let (headers, bodies) = (text(HEADERS), text(BODIES));
    let bodies: BTreeMap<u64, Value> = bodies
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(seq, body)| (seq.parse().unwrap(), serde_json::from_str(body).unwrap()))
        .collect();
    let (mut prev, mut leaves) = (Digest::ZERO, Vec::new());
    let (mut new_headers, mut new_bodies) = (Vec::new(), Vec::new());
    let mut log = String::new();
    for (seq, line) in (0..).zip(headers.lines()) {
        let mut entry = Entry {
            header: serde_json::from_str(line).unwrap(),
            body: bodies[&seq].clone(),
        };
        change(seq, &mut entry);
        let body = canonical(&entry.body).unwrap();
        entry.header["body"] = json!(Digest::of(&body));
        entry.header["prev"] = json!(prev);
        let header = canonical(&entry.header).unwrap();
        prev = leaf_hash(&header);
        leaves.push(prev);
        log = entry.header["log"].as_str().unwrap().to_owned();
        new_headers.extend([header, b"\n".to_vec()].concat());
        new_bodies.extend([format!("{seq}\t").into_bytes(), body, b"\n".to_vec()].concat());
    }
    let key = LogKey::from_seed(&[9; 32], &log).unwrap();
    let checkpoint = Checkpoint {
        origin: log,
        size: leaves.len().try_into().unwrap(),
        root: root(&leaves),
    };
    let mut files = files.clone();
    files.insert(HEADERS.into(), new_headers);
    files.insert(BODIES.into(), new_bodies);
    files.insert(CHECKPOINT.into(), key.sign(&checkpoint.text()).into());
    files.insert(PROOF.into(), br#"{"left":[],"right":[]}"#.to_vec());
    (files, key)
}

/// What came of a lie: the replay's state and first bad seq, its words, and the exit code.
async fn told(
    desk: &Desk,
    files: &Files,
    change: impl Fn(u64, &mut Entry),
) -> (String, Option<u64>, String, i32) {
    let (forged, key) = forged(files, change);
    let folder = format!("forged-{}", Digest::of(&forged[HEADERS]));
    desk.lay_out(&folder, &forged);
    let said = said(desk.command_by(&key.vkey(), &["verify", &folder, "-o", "json"])).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    for name in ["bytes", "chain", "root", "signature"] {
        assert_eq!(verdict(&report, name).0, "ok", "{report:#}");
    }
    let (state, seq, text) = verdict(&report, "replay");
    (state.to_owned(), seq, text.to_owned(), said.exit)
}

#[tokio::test]
async fn a_lie_about_a_decision_comes_out() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    assert_eq!(desk.ledger(&["export", "-o", "log.stint"]).await.exit, 0);
    let files = desk.files("log.stint");

    let (state, ..) = told(&desk, &files, |_, _| {}).await;
    assert_eq!(state, "ok", "the same story, told by another key");

    let check = async |words: &str, at: u64, lie: fn(&mut Entry)| {
        let change = |seq, entry: &mut Entry| {
            if seq == at {
                lie(entry);
            }
        };
        let (state, seq, text, exit) = told(&desk, &files, change).await;
        assert_eq!(
            (state.as_str(), seq, exit),
            ("failed", Some(at), 8),
            "{text}"
        );
        assert!(text.contains(words), "{text}");
    };
    check("recorded as deciding", 6, |it| {
        it.body["what"]["policies"] = json!(["another"]);
    })
    .await;
    check("longer than policy allows", 6, |it| {
        let exp = it.header["what"]["exp"].as_u64().unwrap();
        it.header["what"]["exp"] = json!(exp + 86_400_000);
    })
    .await;
    check("`entities` differs", 6, |it| {
        it.body["what"]["query"]["entities"] = json!([]);
    })
    .await;
    check("another caller", 6, |it| {
        it.body["what"]["query"]["principal"]["id"] = json!("spiffe://acme.dev/github/1/2");
    })
    .await;
    check("another kind of credential", 6, |it| {
        it.header["what"]["cred"] = json!("jwt");
    })
    .await;
    check("recorded as why", 7, |it| {
        it.body["what"]["detail"] = json!("forbidden");
    })
    .await;
    check("other numbers of votes", 8, |it| {
        it.header["what"]["quorum"] = json!([1]);
    })
    .await;
    check("recorded as needed", 8, |it| {
        it.body["what"]["needs"] = json!([]);
    })
    .await;

    // A grant of what had to wait for people: its own question says so.
    let bodies = String::from_utf8(files[BODIES].clone()).unwrap();
    let held = bodies.lines().find_map(|line| line.strip_prefix("8\t"));
    let held: Value = serde_json::from_str(held.unwrap()).unwrap();
    let change = |seq, entry: &mut Entry| {
        if seq == 6 {
            entry.body["what"]["query"] = held["what"]["query"].clone();
        }
    };
    let (state, seq, text, exit) = told(&desk, &files, change).await;
    assert_eq!(
        (state.as_str(), seq, exit),
        ("failed", Some(6), 8),
        "{text}"
    );
    assert!(
        text.contains("recorded is permit, policy says hold"),
        "{text}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn policies_that_are_others_or_absent_show() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    assert_eq!(desk.ledger(&["export", "-o", "log.stint"]).await.exit, 0);
    let files = desk.files("log.stint");
    let is_policy = |name: &str| name.starts_with("policies/");
    let web = files
        .keys()
        .find(|it| is_policy(it) && it.ends_with("/web.cedar"));
    let web = web.unwrap().clone();

    let mut absent = files.clone();
    absent.retain(|name, _| !is_policy(name));
    desk.lay_out("absent", &absent);
    let (exit, report) = desk.verdicts(&["absent"]).await;
    let (state, seq, text) = verdict(&report, "replay");
    assert_eq!((state, seq, exit), ("incomplete", Some(6), 0), "{text}");
    assert!(
        text.contains("3 of 3 decisions") && text.contains("is not here"),
        "{text}"
    );
    assert_eq!(desk.verdicts(&["absent", "--all"]).await.0, 9);

    let mut edited = files.clone();
    edited.get_mut(&web).unwrap().extend(b"// more\n");
    desk.lay_out("edited", &edited);
    let (exit, report) = desk.verdicts(&["edited"]).await;
    let (state, seq, text) = verdict(&report, "replay");
    assert_eq!((state, seq, exit), ("failed", Some(6), 8), "{text}");
    assert!(text.contains("are not the ones it names"), "{text}");

    let mut foreign = files;
    let schema = foreign.keys().find(|it| it.ends_with("stint.cedarschema"));
    let schema = schema.unwrap().clone();
    foreign.remove(&schema);
    foreign.get_mut(&web).unwrap().extend(b"// more\n");
    desk.lay_out("foreign", &foreign);
    let (_, report) = desk.verdicts(&["foreign"]).await;
    let (state, _, text) = verdict(&report, "replay");
    assert_eq!(state, "incomplete", "{text}");
    assert!(text.contains("another version of Stint"), "{text}");
    broker.finish().await;
}
