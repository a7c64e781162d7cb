//! The ledger against whoever holds the disk, and against crashes: what was recorded stays, what was altered shows.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use stint_audit::bundle::{BODIES, HEADERS};
use stint_audit::trust::Trust;
use stint_audit::verify::Options;
use stint_broker::store::Engine;
use stint_tests::database::{cell, only_on, tamper};
use stint_tests::process::{said, signal};
use stint_tests::{TestBroker, together};
use stint_wire::Code;

const STAGING: &str = "Environment::staging/web";

async fn grant(broker: &TestBroker) -> u64 {
    broker
        .ci("acme/web")
        .ask("deploy", STAGING)
        .x509()
        .await
        .granted()
        .ledger
        .seq
}

#[tokio::test]
async fn the_ledger_tells_from_its_first_entry_on_what_this_broker_is() {
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    broker.remember().await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    let (export, report) = broker.verify_ledger().await;
    assert_eq!(report.exit, 0, "{report}");
    let kinds: Vec<_> = export
        .entries()
        .iter()
        .map(|entry| entry.header["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "genesis",
            "key_added",
            "key_added",
            "key_added",
            "config_loaded",
            "policy_loaded",
            "granted",
            "config_loaded",
            "granted",
            "admin",
        ]
    );
    let uses: Vec<_> = export
        .of("key_added")
        .iter()
        .map(|entry| entry.header["what"]["use"].clone())
        .collect();
    assert_eq!(uses, ["log", "ca", "jwt"]);
    broker.finish().await;
}

#[tokio::test]
async fn an_export_names_nobody_in_its_headers() {
    let broker = TestBroker::start().await;
    grant(&broker).await;
    let export = broker.export().await;
    let headers = String::from_utf8(export.files[HEADERS].clone()).unwrap();
    for personal in ["spiffe://", "acme/web", "456789", "Environment"] {
        assert!(!headers.contains(personal), "{personal} is in a header");
    }
    broker.finish().await;
}

/// A stopped broker that has granted three times, in the hands of somebody who may write its database.
struct Victim {
    broker: TestBroker,
}

impl Victim {
    async fn new() -> Self {
        let mut broker = TestBroker::start().await;
        for seq in 6..9 {
            assert_eq!(grant(&broker).await, seq);
        }
        broker.stop().await;
        broker.database().save("whole").await;
        Self { broker }
    }

    /// After `sql` it must not start, and say `text`.
    async fn check(&mut self, what: &str, sql: &str, text: &str) {
        assert!(
            tamper(&self.broker.database(), sql).await > 0,
            "{what}: nothing was changed"
        );
        let refused = self.broker.restart().await.unwrap_err().to_string();
        assert!(
            refused.contains(text),
            "{what}: `{refused}` does not say `{text}`"
        );
        self.broker.database().restore("whole").await;
    }

    async fn cell(&self, sql: &'static str) -> Vec<u8> {
        cell(&self.broker.database(), sql).await
    }

    /// What was whole starts, whatever was tried meanwhile.
    async fn end(mut self) {
        self.broker.restart().await.unwrap();
        grant(&self.broker).await;
        self.broker.finish().await;
    }
}

/// `bytes` with one bit flipped, as an SQL literal.
fn flipped(bytes: &[u8], place: usize) -> String {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1;
    literal(&bytes)
}

fn literal(bytes: &[u8]) -> String {
    format!("x'{}'", data_encoding::HEXLOWER.encode(bytes))
}

#[tokio::test]
async fn a_bit_of_a_header_shows() {
    let mut victim = Victim::new().await;
    let headers = victim
        .cell("SELECT headers FROM ledger_batch WHERE first_seq = 7")
        .await;
    for place in (0..headers.len()).step_by(23) {
        let sql = format!(
            "UPDATE ledger_batch SET headers = {} WHERE first_seq = 7",
            flipped(&headers, place)
        );
        victim.check(&format!("bit {place}"), &sql, "entry 7").await;
    }
    let last = victim
        .cell("SELECT headers FROM ledger_batch WHERE first_seq = 8")
        .await;
    let sql = format!(
        "UPDATE ledger_batch SET headers = {} WHERE first_seq = 8",
        flipped(&last, 100)
    );
    victim.check("the last header", &sql, "entry 8").await;
    let hashes = victim
        .cell("SELECT hashes FROM ledger_batch WHERE first_seq = 7")
        .await;
    let sql = format!(
        "UPDATE ledger_batch SET hashes = {} WHERE first_seq = 7",
        flipped(&hashes, 31)
    );
    victim.check("a hash beside a header", &sql, "root").await;
    victim.end().await;
}

#[tokio::test]
async fn a_body_that_was_edited_or_moved_shows() {
    let mut victim = Victim::new().await;
    let body = String::from_utf8(
        victim
            .cell("SELECT body FROM ledger_body WHERE seq = 7")
            .await,
    )
    .unwrap();
    assert!(body.contains("acme/web"));
    let edited = literal(body.replace("acme/web", "acme/wob").as_bytes());
    let other = literal(
        &victim
            .cell("SELECT body FROM ledger_body WHERE seq = 8")
            .await,
    );
    for (what, body) in [
        ("an edited body", &*edited),
        ("another entry's body", &*other),
        ("an empty body", "x''"),
    ] {
        let sql = format!("UPDATE ledger_body SET body = {body} WHERE seq = 7");
        victim.check(what, &sql, "entry 7").await;
    }
    victim.end().await;
}

#[tokio::test]
async fn whatever_is_edited_in_the_head_shows() {
    let mut victim = Victim::new().await;
    for (column, value) in [
        ("size", "size - 1"),
        ("size", "size + 1"),
        ("last_ts", "last_ts + 1"),
        ("closed", "1 - closed"),
        ("mac", "zeroblob(32)"),
        ("last_leaf", "zeroblob(32)"),
        ("root", "zeroblob(32)"),
        ("root", "x'00'"),
        ("frontier", "zeroblob(length(frontier))"),
        ("frontier", "zeroblob(0)"),
    ] {
        let sql = format!("UPDATE ledger_head SET {column} = {value}");
        victim
            .check(&sql, &sql, "not the one this broker wrote")
            .await;
    }
    victim.end().await;
}

#[tokio::test]
async fn entries_that_are_gone_show() {
    let mut victim = Victim::new().await;
    for (what, sql, text) in [
        (
            "the last batch",
            "DELETE FROM ledger_batch WHERE first_seq = 8",
            "entry 8",
        ),
        (
            "one in the middle",
            "DELETE FROM ledger_batch WHERE first_seq = 7",
            "entry 7",
        ),
        (
            "the first",
            "DELETE FROM ledger_batch WHERE first_seq = 0",
            "entry 0",
        ),
        ("all", "DELETE FROM ledger_batch", "entry 0"),
        ("the head", "DELETE FROM ledger_head", "the pin knows"),
        (
            "of another log",
            "UPDATE ledger_batch SET log = 'other' WHERE first_seq = 8",
            "entry 8",
        ),
        (
            "the policy in force",
            "UPDATE policy_set SET pol = 'AAAA'",
            "policy",
        ),
        (
            "where it took force",
            "UPDATE policy_set SET seq = 6",
            "policy",
        ),
    ] {
        victim.check(what, sql, text).await;
    }
    victim.end().await;
}

#[tokio::test]
async fn yesterdays_database_does_not_start_under_todays_pin() {
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    broker.stop().await;
    broker.database().save("yesterday").await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    broker.database().restore("yesterday").await;
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("the pin knows more"), "{refused}");
    broker.abandon().await;
}

#[tokio::test]
async fn a_fork_of_the_same_length_does_not_start_under_the_pin() {
    let mut broker = TestBroker::start().await;
    broker.stop().await;
    broker.database().save("past").await;
    std::fs::copy(broker.path("ledger.pin"), broker.path("past.pin")).unwrap();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    // The same past again, by the same keys, and another future as long as the first.
    broker.database().save("first").await;
    broker.database().restore("past").await;
    std::fs::rename(broker.path("past.pin"), broker.path("ledger.pin")).unwrap();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    broker.database().restore("first").await;
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(
        refused.contains("does not extend the pinned head"),
        "{refused}"
    );
    broker.abandon().await;
}

#[tokio::test]
async fn a_pin_that_is_not_ours_stops_the_start_and_a_lost_one_does_not() {
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    broker.stop().await;
    let pin = std::fs::read_to_string(broker.path("ledger.pin")).unwrap();
    for altered in [
        pin.replacen("7\n", "6\n", 1),
        "not a note".to_owned(),
        String::new(),
    ] {
        std::fs::write(broker.path("ledger.pin"), altered).unwrap();
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(refused.contains("pin"), "{refused}");
    }
    std::fs::remove_file(broker.path("ledger.pin")).unwrap();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_store_that_vanished_is_not_begun_anew() {
    let mut broker = TestBroker::start().await;
    broker.stop().await;
    broker.database().empty().await;
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("the pin knows"), "{refused}");
    broker.database().empty().await;
    std::fs::remove_file(broker.path("ledger.pin")).unwrap();
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("has not begun"), "{refused}");
    broker.abandon().await;
}

#[tokio::test]
async fn a_second_broker_does_not_write_the_same_ledger() {
    if !only_on(
        Engine::Sqlite,
        "a server has any number of brokers: tests/postgres",
    ) {
        return;
    }
    let broker = TestBroker::start().await;
    grant(&broker).await;
    let size = broker.size().await;
    let second = broker.second().await;
    assert!(second.is_err(), "two brokers serve one database");
    assert_eq!(broker.size().await, size);
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn a_head_that_moves_under_a_running_broker_stops_grants_until_somebody_looks() {
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    let file = broker.database();
    assert_eq!(
        tamper(&file, "UPDATE ledger_head SET size = size + 1").await,
        1
    );
    for _ in 0..3 {
        let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
        let problem = answer.refused(Code::Unavailable);
        assert!(problem.retryable);
        assert_eq!(
            answer.header("retry-after"),
            problem.retry_after_s.unwrap().to_string()
        );
        assert!(
            !answer.text().contains("head"),
            "the cause is the operator's: {}",
            answer.text()
        );
    }
    let ready = broker.operator("GET", "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("ledger_diverged"), "{}", ready.text());
    assert_eq!(broker.operator("GET", "/healthz").await.status, 200);
    broker.stop().await;
    assert_eq!(
        tamper(&file, "UPDATE ledger_head SET size = size - 1").await,
        1
    );
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

#[tokio::test]
async fn an_export_that_was_altered_does_not_verify() {
    let broker = TestBroker::start().await;
    for _ in 0..3 {
        grant(&broker).await;
    }
    let good = broker.export().await.files;
    let vkey = broker.get("/v1/trust").await.json()["ledger"]["vkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let trust = Trust::from_keys(&vkey).unwrap();
    let exit = |files: &stint_audit::bundle::Files, trust: &Trust| {
        let now = broker.now().as_millis().unsigned_abs();
        stint_audit::verify(
            files,
            trust,
            &Options {
                now,
                ..Options::default()
            },
        )
        .exit
    };
    assert_eq!(exit(&good, &trust), 0);
    assert_ne!(
        exit(&good, &Trust::default()),
        0,
        "without a pinned key nothing is proved"
    );
    for name in [HEADERS, BODIES] {
        for place in (0..good[name].len()).step_by(good[name].len() / 40) {
            let mut files = good.clone();
            files.get_mut(name).unwrap()[place] ^= 1;
            assert_eq!(exit(&files, &trust), 8, "{name} at {place}");
        }
        let mut files = good.clone();
        let lines = files.get_mut(name).unwrap();
        let last = lines[..lines.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap();
        lines.truncate(last + 1);
        assert_ne!(exit(&files, &trust), 0, "{name} without its last line");
    }
    broker.finish().await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_grants_nothing_and_goes_on_afterwards() {
    if !only_on(
        Engine::Sqlite,
        "the limit is on the file that this process writes",
    ) {
        return;
    }
    let mut broker = TestBroker::with().real_time().start().await;
    broker.stop().await;
    let used = std::fs::metadata(broker.database()).unwrap().len() / 1_024;
    broker.serve(Some(used + 400)).await;
    let mut granted = 0;
    let failed = loop {
        match broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .x509_or_nothing()
            .await
        {
            Ok(answer) if answer.status == 201 => granted += 1,
            Ok(answer) => break Some(answer),
            Err(_) => break None,
        }
        assert!(granted < 1_000, "the limit did not bite");
    };
    assert!(granted > 0, "nothing was granted before the disk was full");
    if let Some(answer) = failed {
        drop(answer.refused(Code::Unavailable));
        drop(
            broker
                .ci("acme/web")
                .ask("deploy", STAGING)
                .x509_or_nothing()
                .await
                .map(|answer| {
                    assert_eq!(answer.status, 503, "{}", answer.text());
                }),
        );
    }
    broker.kill();
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish_after_crash().await;
}

#[tokio::test]
async fn what_a_client_received_survives_kill_nine() {
    let mut broker = TestBroker::with().real_time().start().await;
    for round in 0..ROUNDS {
        broker.serve(None).await;
        let id = broker.process().id();
        let before = broker.released();
        {
            let broker = &broker;
            let load = |client: usize| async move {
                let mut job = 0;
                while broker
                    .ci("acme/web")
                    .job(&format!("{round}-{client}-{job}"))
                    .ask("deploy", STAGING)
                    .x509_or_nothing()
                    .await
                    .is_ok()
                {
                    job += 1;
                    if broker.released() >= before + 5 + 7 * round {
                        // Whoever comes here first ends it in the middle of the others' asks.
                        drop(std::panic::catch_unwind(|| signal(id, "KILL")));
                    }
                }
            };
            together((0..8).map(load)).await;
        }
        assert!(broker.released() > before, "{}", said(&broker.path("")));
        broker.kill();
    }
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish_after_crash().await;
}

/// Times the process is killed under load.
const ROUNDS: usize = 10;

#[tokio::test]
async fn the_program_ends_in_order_when_told() {
    let mut broker = TestBroker::with().real_time().start().await;
    broker.serve(None).await;
    grant(&broker).await;
    broker.stop().await;
    let pin = std::fs::read_to_string(broker.path("ledger.pin")).unwrap();
    broker.restart().await.unwrap();
    let size = broker.size().await;
    assert_eq!(
        pin.lines().nth(1).unwrap().parse::<u64>().unwrap() + 1,
        size,
        "the pin held the very last head"
    );
    broker.finish().await;
}

#[tokio::test]
async fn a_key_that_others_may_read_stops_the_start() {
    let mut broker = TestBroker::start().await;
    broker.stop().await;
    for name in ["ledger.key", "secret.key", "issuing-1.key", "jwt-1.key"] {
        let path = broker.path("keys").join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    broker.restart().await.unwrap();
    broker.finish().await;
}
