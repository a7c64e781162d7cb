use serde_json::{Map, Value, json};
use stint_audit::kind::{Admin, AdminOp, Genesis};
use stint_audit::{Batch, Body, Digest, Entry, Head, LogKey, What};

use super::{Follower, Unchecked};
use crate::output::Failure;

const LOG: &str = "stint.example/ledger";

fn key() -> LogKey {
    LogKey::from_seed(&[1; 32], LOG).unwrap()
}

fn entry(n: u64) -> Entry {
    let what: What = if n == 0 {
        Genesis {
            epoch: 0,
            hash: "rfc6962-sha256".into(),
            nonce: Digest::ZERO,
            prior: None,
            vkey: key().vkey(),
        }
        .into()
    } else {
        Admin {
            n: None,
            of: None,
            op: AdminOp::Exported,
        }
        .into()
    };
    Entry {
        id: format!("ent_{n:026}"),
        subj: None,
        by: None,
        behalf: None,
        pol: None,
        what,
        body: Body {
            salt: [3; 16],
            what: Map::new(),
        },
    }
}

fn log(n: u64) -> Batch {
    let entries = (0..n).map(entry).collect();
    Head::empty(LOG, 0).extend("a", 1_000, entries).unwrap()
}

/// The stream of a log, as the broker sends it.
fn lines(batch: &Batch) -> Vec<String> {
    let parts = batch
        .headers()
        .iter()
        .zip(batch.bodies())
        .zip(batch.hashes());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (0..)
        .zip(parts)
        .map(|(seq, ((header, body), leaf)): (u64, _)| {
            let (header, body) = (text(header), text(body));
            format!(r#"{{"seq":{seq},"leaf":"{leaf}","header":{header},"body":{body}}}"#)
        })
        .collect()
}

fn beat(batch: &Batch, next: u64) -> String {
    let checkpoint = key().sign(&batch.head().checkpoint().text());
    json!({"heartbeat": {"log": LOG, "at": 1, "next": next, "checkpoint": checkpoint}}).to_string()
}

/// What comes of a stream: how far it got, and why it ended.
fn follow(from: u64, lines: &[String]) -> (u64, Result<(), String>) {
    let mut follower = Follower::new(from);
    for line in lines {
        let keys = |_: &str| -> Result<_, Failure> { Ok(vec![key().public().clone()]) };
        if let Err(fault) = follower.line(line.as_bytes(), keys).unwrap() {
            return (follower.next, Err(fault));
        }
    }
    (follower.next, Ok(()))
}

#[track_caller]
fn fails(from: u64, lines: &[String], words: &str) {
    let (_, outcome) = follow(from, lines);
    let fault = outcome.unwrap_err();
    assert!(fault.contains(words), "{fault}");
}

#[test]
fn a_stream_is_followed_from_anywhere() {
    let batch = log(6);
    let mut stream = vec![beat(&batch, 0)];
    stream.extend(lines(&batch));
    stream.push(beat(&batch, 6));
    assert_eq!(follow(0, &stream), (6, Ok(())));
    let mut later = lines(&batch).split_off(3);
    later.push(beat(&batch, 6));
    assert_eq!(follow(3, &later), (6, Ok(())));
}

#[test]
fn nothing_is_left_out_or_changed() {
    let batch = log(6);
    let with = |change: fn(&mut Vec<String>)| {
        let mut lines = lines(&batch);
        change(&mut lines);
        lines
    };
    fails(0, &with(|l| drop(l.remove(3))), "entry 3 is missing");
    fails(0, &with(|l| l.swap(3, 4)), "entry 3 is missing");
    fails(
        0,
        &with(|l| l.insert(3, l[2].clone())),
        "entry 3 is missing",
    );
    fails(
        0,
        &with(|l| l[3] = l[3].replace("\"ts\":1000", "\"ts\":1001")),
        "entry 3 does not hash to its leaf",
    );
    fails(
        0,
        &with(|l| l[3] = l[3].replace("AwMD", "BwMD")),
        "entry 3 has a body that is not the one",
    );
    fails(0, &with(|l| l[3] = "{}".into()), "entry 3 in its place");
    fails(
        0,
        &with(|l| l[3] = l[3].replace("\"v\":1", "\"v\":1.0")),
        "entry 3 has no canonical header",
    );
    fails(0, &[beat(&batch, 2)], "entries 0 to 2 were said to be sent");
}

#[test]
fn an_entry_of_another_story_does_not_link() {
    let mut other = (0..6).map(entry).collect::<Vec<_>>();
    other[2].id = format!("ent_{:026}", 77);
    let other = Head::empty(LOG, 0).extend("a", 1_000, other).unwrap();
    let mut stream = lines(&log(6));
    stream[3..].clone_from_slice(&lines(&other)[3..]);
    fails(0, &stream, "entry 3 does not link to the entry before");
}

#[test]
fn the_signed_head_is_over_what_was_sent() {
    let (batch, other) = (log(6), log(7));
    let mut stream = lines(&batch);
    let checkpoint = batch.head().checkpoint();
    let root = stint_audit::Checkpoint {
        root: Digest::ZERO,
        ..checkpoint
    };
    let false_head = json!({"heartbeat": {
        "log": LOG, "at": 1, "next": 6, "checkpoint": key().sign(&root.text()),
    }});
    stream.push(false_head.to_string());
    fails(0, &stream, "do not lead to the signed head of 6");
    stream.pop();
    stream.push(beat(&log(5), 6));
    fails(0, &stream, "the signed head is of 5 entries, 6 were sent");
    stream.pop();
    stream.push(beat(&other, 6)); // the stream is behind
    assert_eq!(follow(0, &stream), (6, Ok(())));
    let mut spoiled: Value = serde_json::from_str(&beat(&batch, 6)).unwrap();
    let note = spoiled["heartbeat"]["checkpoint"].as_str().unwrap();
    let note = note.replace("\n6\n", "\n7\n");
    spoiled["heartbeat"]["checkpoint"] = note.into();
    stream.pop();
    stream.push(spoiled.to_string());
    fails(0, &stream, "false");
}

#[test]
fn without_a_pinned_key_that_is_said_once() {
    let batch = log(2);
    let mut follower = Follower::new(0);
    let none = |_: &str| -> Result<_, Failure> { Ok(Vec::new()) };
    let first = follower.line(beat(&batch, 0).as_bytes(), none).unwrap();
    assert!(first.unwrap().0.unwrap().contains("--key"));
    let again = follower.line(beat(&batch, 0).as_bytes(), none).unwrap();
    assert_eq!(again, Ok(Unchecked(None)));
}
