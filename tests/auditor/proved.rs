//! One entry with its proof, and a sample that nobody steers.

use std::fs;

use serde_json::Value;
use stint_audit::receipt::Proof;
use stint_tests::TestBroker;
use stint_tests::after::tbs;

use crate::desk::{Desk, PROD, STAGING, verdict, work};

#[tokio::test]
async fn an_entry_is_proven_by_whatever_names_it() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
    let granted = answer.granted();
    let json = answer.json();
    let certificate = json["credential"]["certificate"].as_str().unwrap();
    fs::write(desk.path("cert.pem"), certificate).unwrap();
    let serial = json["credential"]["serial"].as_str().unwrap();
    let (id, seq) = (granted.grant.as_str(), granted.ledger.seq.to_string());
    let hash = tbs(certificate).to_string();
    for (n, name) in [id, id.get(..12).unwrap(), &seq, serial, &hash]
        .iter()
        .enumerate()
    {
        let file = format!("{n}.stint");
        let said = desk.ledger(&["prove", name, "-o", &file]).await;
        assert_eq!(said.exit, 0, "{name}: {}", said.err);
        let (exit, report) = desk.verdicts(&[&file, "--credential", "cert.pem"]).await;
        assert_eq!(exit, 0, "{name}: {report:#}");
        assert_eq!(report["from"].as_u64(), Some(granted.ledger.seq));
        assert_eq!(verdict(&report, "credential").0, "ok");
        assert_eq!(verdict(&report, "replay").0, "ok");
        // The C2SP proof alone is enough for whoever has another tool.
        let receipt = &desk.files(&file)[&format!("receipts/{seq}.tlog-proof")];
        let proof: Proof = std::str::from_utf8(receipt).unwrap().parse().unwrap();
        assert_eq!(proof.index, granted.ledger.seq);
    }
    let named = desk.ledger(&["prove", id]).await;
    assert_eq!(named.exit, 0);
    assert!(desk.path(&format!("{id}.stint")).exists(), "{}", named.err);
    broker.finish().await;
}

#[tokio::test]
async fn what_names_no_entry_or_several_is_not_proven() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    let desk = Desk::of(&broker).await;
    let none = "gr_7zzzzzzzzzzzzzzzzzzzzzzzzz";
    for name in [none, "nonsense", "4000000", "ent_", "5a01", "../x"] {
        let said = desk.ledger(&["prove", name]).await;
        assert_eq!(said.exit, 2, "{name}: {}", said.err);
    }
    assert_eq!(broker.size().await, 9, "nothing was handed out");
    broker.finish().await;
}

#[tokio::test]
async fn a_sample_can_be_drawn_again_by_anybody() {
    let broker = TestBroker::start().await;
    work(&broker).await;
    for _ in 0..6 {
        let held = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
        assert_eq!(held.status, 201);
    }
    let refused = broker
        .ci("acme/web")
        .on("refs/heads/x")
        .ask("deploy", PROD)
        .x509()
        .await;
    assert_eq!(refused.status, 403);
    let desk = Desk::of(&broker).await;
    assert_eq!(desk.ledger(&["export", "-o", "log.stint"]).await.exit, 0);
    let draw = async |n: &str, nonce: &str| {
        let args = [
            "sample",
            "log.stint",
            "--kind",
            "granted",
            "--n",
            n,
            "--nonce",
            nonce,
        ];
        desk.ledger(&args).await
    };
    let first = draw("3", "pinwheel").await;
    assert_eq!(
        (first.exit, first.out.lines().count()),
        (0, 3),
        "{}",
        first.err
    );
    assert!(
        first.err.contains("3 of 7 entries of kind granted"),
        "{}",
        first.err
    );
    assert_eq!(draw("3", "pinwheel").await.out, first.out);
    let mut all: Vec<u64> = draw("100", "pinwheel")
        .await
        .out
        .lines()
        .map(|line| line.split('\t').next().unwrap().parse().unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, [6, 9, 10, 11, 12, 13, 14]);
    let json = desk
        .ledger(&[
            "sample",
            "log.stint",
            "--kind",
            "granted",
            "--n",
            "3",
            "--nonce",
            "pinwheel",
            "-o",
            "json",
        ])
        .await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&json["schema"], &json["population"]),
        (&"stint.sample/v1".into(), &7.into())
    );
    let seqs: String = json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{}\t{}\n", it["seq"], it["id"].as_str().unwrap()))
        .collect();
    assert_eq!(seqs, first.out);
    // What does not verify is not sampled, and an unknown kind is a slip.
    let mut files = desk.files("log.stint");
    let headers = String::from_utf8(files["headers.jsonl"].clone()).unwrap();
    files.insert(
        "headers.jsonl".into(),
        headers.replacen("\"exp\":1", "\"exp\":2", 1).into(),
    );
    desk.lay_out("forged", &files);
    let forged = desk
        .ledger(&[
            "sample", "forged", "--kind", "granted", "--n", "3", "--nonce", "x",
        ])
        .await;
    assert_eq!((forged.exit, forged.out.as_str()), (8, ""));
    let kind = desk
        .ledger(&[
            "sample",
            "log.stint",
            "--kind",
            "grant",
            "--n",
            "3",
            "--nonce",
            "x",
        ])
        .await;
    assert_eq!(kind.exit, 2, "{}", kind.err);
    broker.finish().await;
}
