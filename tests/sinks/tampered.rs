//! The receiver's check finds whatever was dropped, changed, swapped or made up on the way.

use serde_json::Value;
use stint_tests::TestBroker;

use crate::check::{check, key, proves_all};
use crate::formats::live;
use crate::receiver::sink;

/// All the lines of a stream that ends with a heartbeat which covers it.
async fn stream(kind: &str) -> (String, Vec<String>) {
    let table = sink(kind, "file:events", "bodies = [\"*\"]");
    let broker = TestBroker::with().tables(&table).start().await;
    live(&broker).await;
    let path = broker.path("events");
    let text = proves_all(&broker, || {
        std::fs::read_to_string(&path).unwrap_or_default()
    })
    .await;
    let key = key(&broker).await;
    broker.finish().await;
    (key, text.lines().map(str::to_owned).collect())
}

fn is_beat(line: &str) -> bool {
    let marks = [
        "{\"heartbeat\":",
        "ledger.heartbeat\"",
        "\"event_code\":\"heartbeat\"",
    ];
    marks.iter().any(|mark| line.contains(mark))
}

#[track_caller]
fn fails(key: &str, lines: &[String], why: &str) {
    let verdict = check(key, &lines.join("\n"), &[]);
    assert_eq!(verdict.code, 8, "{why}: {}", verdict.said);
    assert!(verdict.said.contains(why), "{why}: {}", verdict.said);
}

#[tokio::test]
async fn what_is_missing_swapped_or_changed_is_named() {
    for kind in ["jsonl", "ocsf", "cloudevents"] {
        let (key, lines) = stream(kind).await;
        assert_eq!(check(&key, &lines.join("\n"), &[]).code, 0);
        let entries: Vec<usize> = (0..lines.len())
            .filter(|at| !is_beat(&lines[*at]))
            .collect();
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut changed = lines.clone();
            change(&mut changed);
            changed
        };
        let third = entries[3];
        let dropped = with(&|lines| drop(lines.remove(third)));
        fails(&key, &dropped, "entry 3 is missing");
        let last = *entries.last().unwrap();
        let cut = with(&|lines| drop(lines.remove(last)));
        fails(&key, &cut, "is missing: all before");
        let swapped = with(&|lines| lines.swap(third, entries[4]));
        fails(&key, &swapped, "entry 3 is missing: 4 came next");
        let edited = with(&|lines| {
            lines[third] = lines[third].replacen("ent_", "gr_", 1);
            let name = if kind == "ocsf" { "raw_data" } else { "header" };
            let at = lines[third].find(name).unwrap();
            let (outside, header) = lines[third].split_at(at);
            lines[third] = format!("{outside}{}", header.replacen("it.stint", "it.stunt", 1));
        });
        fails(&key, &edited, "entry 3 does not hash to its leaf");
        let body = with(&|lines| {
            let at = lines[third].rfind("\"salt\":\"").unwrap() + 8;
            lines[third].replace_range(at..at + 4, "AAAA");
        });
        fails(
            &key,
            &body,
            "the body of entry 3 is not the one that was recorded",
        );
        let twice = with(&|lines| {
            let again = lines[third].clone();
            lines.push(again);
        });
        assert_eq!(check(&key, &twice.join("\n"), &[]).code, 0, "at least once");
    }
}

#[tokio::test]
async fn a_log_that_was_made_up_is_not_what_the_key_signed() {
    let (key, lines) = stream("jsonl").await;
    let (_, other) = stream("jsonl").await;
    // Entries of another log of the same name, whole in themselves, under the checkpoints of this one.
    let entries = other.iter().filter(|line| !is_beat(line)).cloned();
    let beats = lines.iter().filter(|line| is_beat(line)).cloned();
    let mixed: Vec<String> = entries.chain(beats.rev().take(1)).collect();
    fails(&key, &mixed, "are not those the log's key signed");
    let forged: Vec<String> = lines
        .iter()
        .map(|line| match serde_json::from_str::<Value>(line).unwrap() {
            mut beat if is_beat(line) => {
                let note = beat["heartbeat"]["checkpoint"].as_str().unwrap();
                let note = note.replacen("it.stint/ledger\n", "it.stint/ledger\n1", 1);
                beat["heartbeat"]["checkpoint"] = note.into();
                beat.to_string()
            }
            _ => line.clone(),
        })
        .collect();
    fails(&key, &forged, "signature is false");
    let unproven: Vec<String> = lines
        .iter()
        .filter(|line| !is_beat(line))
        .cloned()
        .collect();
    assert_eq!(check(&key, &unproven.join("\n"), &[]).code, 9);
    let broken = ["{\"seq\":".to_owned()];
    fails(&key, &broken, "line 1 is no JSON");
    let foreign = ["{\"hello\":1}".to_owned()];
    fails(&key, &foreign, "is none of Stint's");
}

#[tokio::test]
async fn the_check_goes_on_from_file_to_file() {
    let (key, lines) = stream("jsonl").await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let (first, second) = lines.split_at(lines.len() / 2);
    let more = ["--state", state.as_str()];
    drop(check(&key, &first.join("\n"), &more));
    let verdict = check(&key, &second.join("\n"), &more);
    assert_eq!(verdict.code, 0, "{}", verdict.said);
    // Without the first half, the second proves nothing.
    fails(&key, second, "entry 0 is missing");
}

/// Whatever a pipeline does to JSON that is still the same JSON, the leaves can be computed.
#[tokio::test]
async fn events_that_were_parsed_and_printed_on_the_way_are_still_proven() {
    for kind in ["jsonl", "ocsf", "cloudevents"] {
        let (key, lines) = stream(kind).await;
        let pretty = |line: &String| {
            let event: Value = serde_json::from_str(line).unwrap();
            // In another order, and with escapes as another library would write them.
            let text = event.to_string().replace('→', "\\u2192");
            text.replace("/", "\\/")
        };
        let again: Vec<String> = lines.iter().map(pretty).collect();
        let verdict = check(&key, &again.join("\n"), &[]);
        assert_eq!(verdict.code, 0, "{kind}: {}", verdict.said);
    }
}
