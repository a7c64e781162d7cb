//! `stint ledger tail` on a log that grows.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;
use stint_tests::TestBroker;

use crate::desk::{Desk, STAGING, work};

#[tokio::test]
async fn the_log_is_followed_while_it_grows() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let mut child = desk
        .command(&["tail", "--from", "4"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (told, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines() {
            if told.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    let mut next = 4;
    let mut beats = 0;
    let mut asked = false;
    while next < 10 {
        let line: Value = serde_json::from_str(&lines.recv().await.unwrap()).unwrap();
        if line["heartbeat"].is_object() {
            beats += 1;
            continue;
        }
        assert_eq!(line["seq"], next);
        assert!(line["body"].is_null(), "nobody asked for bodies");
        next += 1;
        if next == 9 && !asked {
            asked = true;
            let granted = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
            assert_eq!(granted.status, 201);
        }
    }
    assert!(beats > 0, "no signed head came");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);
    reader.join().unwrap();
    broker.finish().await;
}

#[tokio::test]
async fn bodies_come_along_where_they_are_asked_for() {
    let mut broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let command = desk.command(&["tail", "--from", "6", "--bodies", "granted"]);
    #[expect(
        clippy::disallowed_methods,
        reason = "it follows while the broker goes on"
    )]
    let followed = tokio::spawn(crate::desk::said(command));
    // That they are read is an entry, and the stream ends with the broker.
    while broker.size().await < 10 {
        tokio::task::yield_now().await;
    }
    broker.stop().await;
    let said = followed.await.unwrap();
    assert_eq!(said.exit, 7, "{}", said.err);
    assert!(
        said.err.contains("stint ledger tail --from"),
        "{}",
        said.err
    );
    broker.restart().await.unwrap();
    broker.finish().await;
}
