//! Bundles: whole, in part, with chosen bodies, under kept checkpoints, from a URL; and rows for other programs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value;
use stint_tests::TestBroker;

use crate::desk::{Desk, STAGING, verdict, work};

#[tokio::test]
async fn a_bundle_verifies_with_every_decision_made_again() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let exported = desk.ledger(&["export", "-o", "log.stint"]).await;
    assert_eq!(exported.exit, 0, "{}", exported.err);
    let said = desk.ledger(&["verify", "log.stint"]).await;
    assert_eq!(said.exit, 0, "{}", said.out);
    let replayed = "ok        replay     3 decisions come out the same";
    assert!(said.out.contains(replayed), "{}", said.out);
    assert!(said.out.ends_with("\nverified\n"), "{}", said.out);
    // The export itself is on record, with who took it.
    let files = desk.files("log.stint");
    let bodies = String::from_utf8(files["bodies.tsv"].clone()).unwrap();
    let last = bodies.lines().last().unwrap();
    assert!(
        last.contains("\"as\":\"bundle\"") && last.contains("\"id\":\"local:"),
        "{last}"
    );
    for name in [
        "verify.html",
        "trust/ca.pem",
        "trust/jwks.json",
        "trust/log.vkeys",
    ] {
        assert!(!files[name].is_empty(), "{name}");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_part_is_tied_to_the_head_and_brings_what_it_refers_to() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let args = [
        "export",
        "--from",
        "6",
        "--to",
        "8",
        "--since",
        "3,5",
        "-o",
        "part.stint",
    ];
    assert_eq!(desk.ledger(&args).await.exit, 0);
    let files = desk.files("part.stint");
    // The set that decided took force in entry 5, outside the part.
    assert!(files.contains_key("receipts/5.tlog-proof"));
    let (exit, report) = desk.verdicts(&["part.stint"]).await;
    assert_eq!(exit, 0, "{report:#}");
    assert_eq!(
        (report["from"].as_u64(), report["to"].as_u64()),
        (Some(6), Some(8))
    );
    assert_eq!(verdict(&report, "replay").0, "ok");
    let proofs: Value = serde_json::from_slice(&files["proof.json"]).unwrap();
    let sizes: Vec<_> = proofs["since"].as_object().unwrap().keys().collect();
    assert_eq!(sizes, ["3", "5"]);
    broker.finish().await;
}

#[tokio::test]
async fn times_name_places_as_numbers_do() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let all = desk
        .ledger(&["export", "--from", "1970-01-01", "-o", "all.stint"])
        .await;
    assert_eq!(all.exit, 0, "{}", all.err);
    let (_, report) = desk.verdicts(&["all.stint"]).await;
    assert_eq!(report["from"], 0);
    let never = desk
        .ledger(&["export", "--from", "2999-01-01T00:00:00Z"])
        .await;
    assert_eq!(never.exit, 2, "{}", never.err);
    let before = desk.ledger(&["export", "--to", "1970-01-01"]).await;
    assert_eq!(before.exit, 2, "{}", before.err);
    for wrong in ["yesterday", "-3", "2026-13-01"] {
        let said = desk.ledger(&["export", &format!("--from={wrong}")]).await;
        assert_eq!(said.exit, 2, "{}", said.err);
        assert!(
            said.err
                .contains("neither the number of an entry nor a time"),
            "{}",
            said.err
        );
    }
    // What was refused is no export: only the first is an entry.
    assert_eq!(broker.size().await, 10);
    broker.finish().await;
}

#[tokio::test]
async fn bodies_are_chosen_by_kind_and_the_bundle_says_so() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let args = ["export", "--kinds", "granted,voted", "-o", "some.stint"];
    assert_eq!(desk.ledger(&args).await.exit, 0);
    let (exit, report) = desk.verdicts(&["some.stint"]).await;
    assert_eq!(exit, 0, "{report:#}");
    let (state, _, text) = verdict(&report, "complete");
    assert_eq!(
        (state, text.contains("1 bodies are open")),
        ("ok", true),
        "{text}"
    );
    // The refusal's body is withheld, so it is not decided again; that is no failure.
    assert_eq!(verdict(&report, "replay").0, "incomplete");
    assert_eq!(verdict(&report, "replay").1, Some(7));
    assert_eq!(report["summary"], "verified  1 item to look at");
    let (exit, _) = desk.verdicts(&["some.stint", "--all"]).await;
    assert_eq!(exit, 9);
    let files = desk.files("some.stint");
    let mut spoiled = files.clone();
    spoiled.insert("bodies.tsv".into(), Vec::new());
    desk.lay_out("spoiled", &spoiled);
    let (exit, report) = desk.verdicts(&["spoiled"]).await;
    assert_eq!(
        (exit, verdict(&report, "complete").1),
        (9, Some(6)),
        "{report:#}"
    );

    assert_eq!(
        desk.ledger(&["export", "--kinds", "none", "-o", "none.stint"])
            .await
            .exit,
        0
    );
    let files = desk.files("none.stint");
    assert!(files["bodies.tsv"].is_empty());
    assert!(!files.keys().any(|name| name.starts_with("policies/")));
    let who = "spiffe://acme.dev/github/123456/456789";
    let args = [
        "export",
        "--kinds",
        "none",
        "--open",
        who,
        "-o",
        "opened.stint",
    ];
    assert_eq!(desk.ledger(&args).await.exit, 0);
    let opened = String::from_utf8(desk.files("opened.stint")["openings.tsv"].clone()).unwrap();
    let subj = opened.split('\t').next().unwrap();
    let headers = String::from_utf8(files["headers.jsonl"].clone()).unwrap();
    assert!(
        headers.contains(&format!("\"subj\":\"{subj}\"")),
        "{opened}"
    );
    assert_eq!(desk.verdicts(&["opened.stint"]).await.0, 0);
    let unknown = desk.ledger(&["export", "--kinds", "grants"]).await;
    assert_eq!(unknown.exit, 2, "{}", unknown.err);
    broker.finish().await;
}

#[tokio::test]
async fn what_is_remembered_must_be_extended() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    assert_eq!(desk.ledger(&["export", "-o", "one.stint"]).await.exit, 0);
    assert_eq!(
        desk.ledger(&["verify", "one.stint", "--remember"])
            .await
            .exit,
        0
    );
    let granted = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
    assert_eq!(granted.status, 201);
    assert_eq!(desk.ledger(&["export", "-o", "two.stint"]).await.exit, 0);
    let (exit, report) = desk.verdicts(&["two.stint"]).await;
    assert_eq!((exit, verdict(&report, "append").0), (0, "ok"));
    // A part behind it has no proof unless it is asked for.
    let mut args = vec!["export", "--from", "10", "-o", "part.stint"];
    assert_eq!(desk.ledger(&args).await.exit, 0);
    let (exit, report) = desk.verdicts(&["part.stint"]).await;
    assert_eq!(
        (exit, verdict(&report, "append").0),
        (0, "ok"),
        "{report:#}"
    );
    args = vec!["export", "--from", "11", "-o", "later.stint"];
    assert_eq!(desk.ledger(&args).await.exit, 0);
    assert_eq!(desk.verdicts(&["later.stint"]).await.0, 9);
    args = vec![
        "export",
        "--from",
        "11",
        "--since",
        "10",
        "-o",
        "since.stint",
    ];
    assert_eq!(desk.ledger(&args).await.exit, 0);
    let (exit, report) = desk.verdicts(&["since.stint"]).await;
    assert_eq!(
        (exit, verdict(&report, "append").0),
        (0, "ok"),
        "{report:#}"
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_trust_file_of_ones_own_decides_who_must_have_signed() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    assert_eq!(desk.ledger(&["export", "-o", "log.stint"]).await.exit, 0);
    let witness = "witness+24b37851+BNYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN"; // LEDGER.md §14
    fs::write(desk.path("none"), "quorum none\n").unwrap();
    fs::write(desk.path("one"), format!("witness w {witness}\nquorum w\n")).unwrap();
    fs::write(desk.path("bad"), "quorum nobody\n").unwrap();
    let (exit, report) = desk.verdicts(&["log.stint", "--trust", "none"]).await;
    assert_eq!((exit, verdict(&report, "witnesses").0), (0, "ok"));
    let (exit, report) = desk.verdicts(&["log.stint", "--trust", "one"]).await;
    assert_eq!((exit, verdict(&report, "witnesses").0), (9, "incomplete"));
    let bad = desk
        .ledger(&["verify", "log.stint", "--trust", "bad"])
        .await;
    assert_eq!(bad.exit, 2, "{}", bad.err);
    broker.finish().await;
}

#[tokio::test]
async fn a_url_is_as_good_as_a_file() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    assert_eq!(desk.ledger(&["export", "-o", "log.stint"]).await.exit, 0);
    let bundle = fs::read(desk.path("log.stint")).unwrap();
    let url = serve_once("200 OK", bundle.clone());
    let (exit, report) = desk.verdicts(&[&url]).await;
    assert_eq!((exit, verdict(&report, "replay").0), (0, "ok"));
    let cut = serve_once("200 OK", bundle[..bundle.len() / 2].to_vec());
    assert_eq!(desk.ledger(&["verify", &cut]).await.exit, 8);
    let gone = serve_once("404 Not Found", Vec::new());
    assert_eq!(desk.ledger(&["verify", &gone]).await.exit, 7);
    let plain = desk.ledger(&["verify", "http://192.0.2.1/log.stint"]).await;
    assert_eq!(plain.exit, 2, "{}", plain.err);
    broker.finish().await;
}

/// A server that answers one request.
fn serve_once(status: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/log.stint", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut part = [0; 1024];
        while !asked.ends_with(b"\r\n\r\n") {
            let n = peer.read(&mut part).unwrap();
            asked.extend_from_slice(&part[..n]);
        }
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        peer.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    });
    url
}

#[tokio::test]
async fn rows_are_for_other_programs() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let rows = async |format: &str| {
        let args = [
            "export", "--from", "5", "--to", "9", "--format", format, "-o", "-",
        ];
        let said = desk.ledger(&args).await;
        assert_eq!(said.exit, 0, "{}", said.err);
        said.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let jsonl = rows("jsonl").await;
    assert_eq!(jsonl.len(), 4);
    for (seq, line) in (5..).zip(&jsonl) {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&row["seq"], &row["header"]["seq"]),
            (&seq.into(), &seq.into())
        );
        assert!(row["body"]["salt"].is_string());
    }
    let ocsf = rows("ocsf").await;
    assert_eq!(ocsf.len(), 4);
    let event: Value = serde_json::from_str(&ocsf[1]).unwrap();
    assert_eq!(
        (&event["class_uid"], &event["metadata"]["sequence"]),
        (&3003.into(), &6.into())
    );
    let csv = rows("csv").await;
    assert_eq!(csv.len(), 5, "a line of names and four rows");
    let none = desk
        .ledger(&["export", "--from", "3", "--to", "3", "--format", "csv"])
        .await;
    assert_eq!(none.exit, 2, "{}", none.err);
    broker.finish().await;
}
