//! The tamper matrix of LEDGER.md §15, as far as it is about a store: one test a row, on the engine of the run. Rows about
//! bundles, notes and votes (T11 to T16) are the verifiers' (tests/verifiers, tests/auditor); T9 and T17 have their own
//! tests beside what they are about: `sign_takes_the_receipt_of_these_very_bytes_alone`,
//! `text_of_an_ask_cannot_forge_a_line_of_the_ledger`, and tests/issuers for the roll-ups.

use stint_audit::Head;
use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::database::{Database, cell, only_on, tamper};
use stint_wire::Code;

use crate::common::{STAGING, grant, reads};

/// Whoever looks, and where: each must refuse and name the entry.
struct Victim {
    broker: TestBroker,
}

impl Victim {
    /// A stopped broker whose entries 6, 7 and 8 are grants.
    async fn new() -> Self {
        let mut broker = TestBroker::start().await;
        for seq in 6..9 {
            assert_eq!(grant(&broker).await, seq);
        }
        broker.stop().await;
        broker.database().save("whole").await;
        Self { broker }
    }

    async fn alter(&self, sql: &str) {
        assert!(
            tamper(&self.broker.database(), sql).await > 0,
            "{sql}: nothing was changed"
        );
    }

    async fn cell(&self, sql: &'static str) -> Vec<u8> {
        cell(&self.broker.database(), sql).await
    }

    /// The start refuses and says `text`; then all is whole again.
    async fn stops_the_start(&mut self, what: &str, text: &str) {
        let refused = self.broker.restart().await.unwrap_err().to_string();
        assert!(
            refused.contains(text),
            "{what}: `{refused}` does not say `{text}`"
        );
        self.whole().await;
    }

    async fn whole(&mut self) {
        self.broker.stop().await;
        self.broker.database().restore("whole").await;
    }

    /// A broker that runs finds it by reading: a pass names it, and from then on nothing is granted.
    async fn is_found_by_the_scrubber(&mut self, sql: &str, text: &str) {
        self.broker.restart().await.unwrap();
        self.alter(sql).await;
        let said = self.broker.operator("POST", "/v1/ledger/scrub").await;
        let said = said.refused(Code::StateConflict);
        assert!(said.detail.contains(text), "{sql}: {}", said.detail);
        reads(&self.broker, "ledger_diverged").await;
        let answer = self
            .broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .x509()
            .await;
        drop(answer.refused(Code::Unavailable));
        self.broker.stop().await;
        // What the pin has seen of this start goes with it.
        self.whole_with_its_pin().await;
    }

    async fn whole_with_its_pin(&mut self) {
        self.whole().await;
        drop(std::fs::remove_file(self.broker.path("ledger.pin")));
    }

    /// What was whole starts, whatever was tried meanwhile.
    async fn end(mut self) {
        self.whole().await;
        self.broker.restart().await.unwrap();
        grant(&self.broker).await;
        self.broker.finish().await;
    }
}

fn literal(bytes: &[u8]) -> String {
    format!("x'{}'", data_encoding::HEXLOWER.encode(bytes))
}

fn set_headers(bytes: &[u8], first: u64) -> String {
    let bytes = literal(bytes);
    format!("UPDATE ledger_batch SET headers = {bytes} WHERE first_seq = {first}")
}

/// T1: a bit of a header. The start names it if it is among the last 512, the scrubber wherever it is.
#[tokio::test]
async fn t1_a_bit_of_a_header() {
    let mut victim = Victim::new().await;
    let headers = victim
        .cell("SELECT headers FROM ledger_batch WHERE first_seq = 7")
        .await;
    let bits = headers.len() * 8;
    for bit in (0..bits).step_by(bits / (9 * crate::common::rounds())) {
        let mut headers = headers.clone();
        headers[bit / 8] ^= 1 << (bit % 8);
        victim.alter(&set_headers(&headers, 7)).await;
        victim
            .stops_the_start(&format!("bit {bit}"), "entry 7")
            .await;
    }
    let mut other = headers.clone();
    *other.last_mut().unwrap() ^= 4;
    victim
        .is_found_by_the_scrubber(&set_headers(&other, 7), "entry 7")
        .await;
    victim.end().await;
}

/// T1, the next reader: another broker does not join a ledger that is not whole.
#[tokio::test]
async fn t1_the_next_reader_refuses() {
    if !only_on(Engine::Postgres, "a file has one broker") {
        return;
    }
    let broker = TestBroker::start().await;
    let seq = grant(&broker).await;
    let database = broker.database();
    let sql = format!("UPDATE ledger_batch SET hashes = zeroblob(32) WHERE first_seq = {seq}");
    assert_eq!(tamper(&database, &sql).await, 1);
    let refused = broker.replica("b").await.unwrap_err().to_string();
    assert!(
        refused.contains("root") || refused.contains(&format!("entry {seq}")),
        "{refused}"
    );
    broker.abandon().await;
}

/// T2: a body edited, with another salt, swapped with another, with another pseudonym's opening.
#[tokio::test]
async fn t2_a_body_that_is_another() {
    let mut victim = Victim::new().await;
    let seven = victim
        .cell("SELECT body FROM ledger_body WHERE seq = 7")
        .await;
    let eight = victim
        .cell("SELECT body FROM ledger_body WHERE seq = 8")
        .await;
    let text = String::from_utf8(seven.clone()).unwrap();
    let after = |word: &str| text.find(word).unwrap() + word.len();
    let flipped = |place: usize| {
        let mut bytes = seven.clone();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        bytes
    };
    for (what, body) in [
        (
            "an edited body",
            text.replace("acme/web", "acme/wob").into_bytes(),
        ),
        ("another salt", flipped(after("\"salt\":\""))),
        ("a false opening", flipped(after("\"open\":\""))),
        ("another entry's body", eight),
        ("nothing", Vec::new()),
    ] {
        let sql = format!(
            "UPDATE ledger_body SET body = {} WHERE seq = 7",
            literal(&body)
        );
        victim.alter(&sql).await;
        victim.stops_the_start(what, "entry 7").await;
        victim.is_found_by_the_scrubber(&sql, "entry 7").await;
    }
    victim.end().await;
}

/// The last entry made another, and everything above it computed anew: all but the seal.
async fn forge(victim: &Victim) -> Head {
    let mut head = Head::empty("it.stint/ledger", 0);
    let mut sql = String::new();
    for first in 0..8 {
        let headers = match first {
            6 => {
                victim
                    .cell("SELECT headers FROM ledger_batch WHERE first_seq = 6")
                    .await
            }
            7 => {
                victim
                    .cell("SELECT headers FROM ledger_batch WHERE first_seq = 7")
                    .await
            }
            _ => headers_at(victim, first).await,
        };
        if !headers.is_empty() {
            head = follow(&head, &headers);
        }
    }
    let last = victim
        .cell("SELECT headers FROM ledger_batch WHERE first_seq = 8")
        .await;
    let text = String::from_utf8(last[2..].to_vec()).unwrap();
    let at = text.find("\"exp\":1").unwrap() + 8;
    let mut forged = last;
    // A later end.
    forged[2 + at] = b'9';
    head = follow(&head, &forged);
    sql.push_str(&set_headers(&forged, 8));
    victim.alter(&sql).await;
    let root = literal(head.root().as_bytes());
    let leaf = literal(head.last_leaf().as_bytes());
    victim
        .alter(&format!(
            "UPDATE ledger_batch SET hashes = {leaf}, root = {root} WHERE first_seq = 8"
        ))
        .await;
    let frontier: Vec<u8> = head
        .frontier()
        .nodes()
        .iter()
        .flat_map(|it| *it.as_bytes())
        .collect();
    let frontier = literal(&frontier);
    let sql =
        format!("UPDATE ledger_head SET last_leaf = {leaf}, root = {root}, frontier = {frontier}");
    victim.alter(&sql).await;
    head
}

async fn headers_at(victim: &Victim, first: u64) -> Vec<u8> {
    let sql = match first {
        0 => "SELECT coalesce((SELECT headers FROM ledger_batch WHERE first_seq = 0), zeroblob(0))",
        1 => "SELECT coalesce((SELECT headers FROM ledger_batch WHERE first_seq = 1), zeroblob(0))",
        2 => "SELECT coalesce((SELECT headers FROM ledger_batch WHERE first_seq = 2), zeroblob(0))",
        3 => "SELECT coalesce((SELECT headers FROM ledger_batch WHERE first_seq = 3), zeroblob(0))",
        4 => "SELECT coalesce((SELECT headers FROM ledger_batch WHERE first_seq = 4), zeroblob(0))",
        _ => "SELECT coalesce((SELECT headers FROM ledger_batch WHERE first_seq = 5), zeroblob(0))",
    };
    victim.cell(sql).await
}

fn follow(head: &Head, mut rest: &[u8]) -> Head {
    let mut headers = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (header, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        headers.push(header);
        rest = after;
    }
    head.follow(headers).unwrap().0
}

/// T3: an entry edited and every hash computed anew, without the key of the seal.
#[tokio::test]
async fn t3_a_consistent_forgery_without_the_seal() {
    let mut victim = Victim::new().await;
    let forged = forge(&victim).await;
    assert_eq!(forged.size(), 9);
    drop(std::fs::remove_file(victim.broker.path("ledger.pin")));
    victim.stops_the_start("a forged head", "seal").await;
    victim.end().await;
}

/// T4: the whole machine in a thief's hands, who makes another future of the same past with our own keys: the pin knows
/// better, and so does an auditor with one checkpoint.
#[tokio::test]
async fn t4_another_history_under_our_own_keys() {
    let mut broker = TestBroker::start().await;
    broker.stop().await;
    broker.database().save("past").await;
    std::fs::copy(broker.path("ledger.pin"), broker.path("past.pin")).unwrap();
    broker.restart().await.unwrap();
    grant(&broker).await;
    let seen = broker.checkpoint().await;
    broker.stop().await;
    std::fs::copy(broker.path("ledger.pin"), broker.path("seen.pin")).unwrap();
    broker.database().restore("past").await;
    std::fs::rename(broker.path("past.pin"), broker.path("ledger.pin")).unwrap();
    broker.restart().await.unwrap();
    for _ in 0..3 {
        grant(&broker).await;
    }
    let export = broker.export().await;
    let vkey = broker.get("/v1/trust").await.json()["ledger"]["vkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let trust = stint_audit::trust::Trust::from_keys(&vkey).unwrap();
    let now = broker.now().as_millis().unsigned_abs();
    let options = |since| stint_audit::verify::Options {
        now,
        since,
        ..Default::default()
    };
    let alone = stint_audit::verify(&export.files, &trust, &options(None));
    assert_eq!(alone.exit, 0, "nobody who saw nothing can tell:\n{alone}");
    let report = stint_audit::verify(&export.files, &trust, &options(Some(seen)));
    assert_eq!(report.exit, 8, "{report}");
    broker.stop().await;
    std::fs::rename(broker.path("seen.pin"), broker.path("ledger.pin")).unwrap();
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(
        refused.contains("does not extend the pinned head"),
        "{refused}"
    );
    broker.abandon().await;
}

/// T5: entries deleted, swapped, copied, moved to another log.
#[tokio::test]
async fn t5_entries_that_are_not_where_they_were() {
    let mut victim = Victim::new().await;
    let seven = victim
        .cell("SELECT headers FROM ledger_batch WHERE first_seq = 7")
        .await;
    let six = victim
        .cell("SELECT headers FROM ledger_batch WHERE first_seq = 6")
        .await;
    let swap = "UPDATE ledger_batch SET
        headers = (SELECT headers FROM ledger_batch AS o WHERE o.log = ledger_batch.log AND o.first_seq = 13 - ledger_batch.first_seq),
        hashes = (SELECT hashes FROM ledger_batch AS o WHERE o.log = ledger_batch.log AND o.first_seq = 13 - ledger_batch.first_seq)
        WHERE first_seq IN (6, 7)";
    for (what, sql, text) in [
        (
            "one in the middle is gone",
            "DELETE FROM ledger_batch WHERE first_seq = 7".to_owned(),
            "entry 7",
        ),
        (
            "the first is gone",
            "DELETE FROM ledger_batch WHERE first_seq = 0".to_owned(),
            "entry 0",
        ),
        ("two are swapped", swap.to_owned(), "entry 6"),
        ("one stands there twice", set_headers(&six, 7), "entry 7"),
        (
            "two in the place of one",
            set_headers(&[seven, six.clone()].concat(), 7),
            "entry",
        ),
        (
            "one is another log's",
            "UPDATE ledger_batch SET log = 'other' WHERE first_seq = 7".to_owned(),
            "entry 7",
        ),
    ] {
        victim.alter(&sql).await;
        let refused = victim.broker.restart().await.map(drop);
        match refused {
            Err(error) => {
                let said = error.to_string();
                // Swapped leaves give another root, which is noticed first.
                assert!(
                    said.contains(text) || said.contains("root"),
                    "{what}: {said}"
                );
            }
            Ok(()) => {
                let said = victim.broker.operator("POST", "/v1/ledger/scrub").await;
                let said = said.refused(Code::StateConflict);
                assert!(said.detail.contains(text), "{what}: {}", said.detail);
            }
        }
        victim.whole_with_its_pin().await;
    }
    victim.end().await;
}

/// T6: the tail cut off, the head set back to an older one with its own seal, yesterday's copy put back, with the broker
/// stopped and under its feet.
#[tokio::test]
async fn t6_back_to_an_older_state() {
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    broker.stop().await;
    broker.database().save("yesterday").await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    broker.database().save("today").await;
    for tail in [
        "DELETE FROM ledger_batch WHERE first_seq = (SELECT max(first_seq) FROM ledger_batch)",
        "DELETE FROM ledger_batch WHERE first_seq > 6",
    ] {
        assert!(tamper(&broker.database(), tail).await > 0);
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(refused.contains("is missing"), "{tail}: {refused}");
        broker.database().restore("today").await;
    }
    broker.database().restore("yesterday").await;
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("the pin knows more"), "{refused}");
    broker.database().restore("today").await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    // Under its feet: what the process remembers is newer.
    let old = "UPDATE ledger_head SET size = size - 1";
    assert_eq!(tamper(&broker.database(), old).await, 1);
    let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
    drop(answer.refused(Code::Unavailable));
    reads(&broker, "ledger_diverged").await;
    broker.stop().await;
    assert_eq!(
        tamper(&broker.database(), "UPDATE ledger_head SET size = size + 1").await,
        1
    );
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.finish().await;
}

/// T7: two entries that follow one: the second is refused by the table itself, whoever writes it.
#[tokio::test]
async fn t7_two_heads_of_one_size() {
    let broker = TestBroker::start().await;
    grant(&broker).await;
    let twin = "INSERT INTO ledger_batch (log, first_seq, n, ts, node, prev, root, hashes, headers)
                SELECT log, first_seq + 1000, n, ts, 'evil', prev, root, hashes, headers FROM ledger_batch
                WHERE first_seq = 6";
    let refused = match broker.database() {
        Database::File(file) => {
            use sqlx::Connection as _;
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let mut db = sqlx::sqlite::SqliteConnection::connect_with(&options)
                .await
                .unwrap();
            sqlx::query(twin)
                .execute(&mut db)
                .await
                .unwrap_err()
                .to_string()
        }
        Database::Server(spot) => {
            let mut db = spot.connect().await;
            sqlx::query(twin)
                .execute(&mut db)
                .await
                .unwrap_err()
                .to_string()
        }
    };
    assert!(refused.to_lowercase().contains("unique"), "{refused}");
    grant(&broker).await;
    broker.finish().await;
}

/// T8: what is derived is deleted or lies. A freeze holds without any of it, and it is made again.
#[tokio::test]
async fn t8_a_freeze_holds_whatever_becomes_of_rows() {
    let mut broker = TestBroker::start().await;
    grant(&broker).await;
    let freeze = serde_json::json!({ "issuer": "github", "reason": "a test" });
    assert_eq!(broker.command("/v1/freeze", &freeze).await.status, 200);
    broker.derived().await;
    let database = broker.database();
    for sql in [
        "DELETE FROM ledger_index",
        "UPDATE ledger_index SET kind = 'granted' WHERE kind = 'frozen'",
        "DELETE FROM ledger_cursor",
        "UPDATE ledger_cursor SET seq = 1",
        "UPDATE ledger_cursor SET seq = seq + 1000000",
        "DELETE FROM ledger_note",
        "DELETE FROM ledger_tile",
    ] {
        broker.stop().await;
        tamper(&database, sql).await;
        broker.restart().await.unwrap();
        let answer = broker.ci("acme/web").ask("deploy", STAGING).x509().await;
        assert_ne!(answer.status, 201, "{sql}: {}", answer.text());
    }
    let said = broker.operator("POST", "/v1/ledger/scrub").await;
    assert_eq!(said.status, 200, "{}", said.text());
    assert_eq!(broker.command("/v1/unfreeze", &freeze).await.status, 200);
    eventually("the thaw is known", async || {
        crate::common::try_grant(&broker).await == 201
    })
    .await;
    broker.finish().await;
}

/// T8, a freeze itself: its entry or its body altered stops the start, deleted too.
#[tokio::test]
async fn t8_a_freeze_that_was_taken_out_is_missed() {
    let mut broker = TestBroker::start().await;
    let freeze = serde_json::json!({ "issuer": "github", "reason": "a test" });
    assert_eq!(broker.command("/v1/freeze", &freeze).await.status, 200);
    let seq = broker.size().await - 1;
    broker.stop().await;
    broker.database().save("whole").await;
    for sql in [
        format!("DELETE FROM ledger_body WHERE seq = {seq}"),
        format!(
            "UPDATE ledger_body SET body = (SELECT body FROM ledger_body WHERE seq = 0) WHERE seq = {seq}"
        ),
        format!("DELETE FROM ledger_batch WHERE first_seq = {seq}"),
    ] {
        assert_eq!(tamper(&broker.database(), &sql).await, 1);
        let refused = broker.restart().await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("entry {seq}")),
            "{sql}: {refused}"
        );
        broker.database().restore("whole").await;
    }
    broker.restart().await.unwrap();
    assert_ne!(crate::common::try_grant(&broker).await, 201);
    broker.finish().await;
}

/// T10: the policy in force is what its entry says, not what a row or a file says.
#[tokio::test]
async fn t10_a_policy_that_was_never_loaded_decides_nothing() {
    let mut victim = Victim::new().await;
    for sql in [
        "UPDATE policy_set SET pol = 'AAAA'",
        "UPDATE policy_set SET seq = seq + 1",
        "DELETE FROM policy_set",
    ] {
        victim.alter(sql).await;
        victim.stops_the_start(sql, "policy").await;
    }
    victim.end().await;
}
