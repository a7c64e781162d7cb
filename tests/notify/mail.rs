//! Mail: over TLS or to this machine, a letter for each reader, plain text with a head that nobody else writes.

use serde_json::json;
use stint_tests::clock::eventually;
use stint_tests::database::tamper;

use crate::scene::{Secrets, ask, nothing_waits, settle};
use crate::smtp::{Mood, PASSWORD, Server, Way};

async fn broker(tables: &str) -> stint_tests::TestBroker {
    let broker = crate::scene::broker(tables).await;
    broker.canary(PASSWORD);
    broker
}

#[tokio::test]
async fn a_letter_comes_by_each_way_and_says_what_it_must() {
    for way in [Way::Implicit, Way::Starttls, Way::Plain] {
        let (server, secrets) = (Server::start(way).await, Secrets::new());
        let broker = broker(&server.table(&secrets, "to = [\"sre@acme.dev\"]")).await;
        let request = ask(&broker, 600).await;
        settle(&broker);
        let letter = server.received(1).await;
        assert_eq!(letter.sealed, way != Way::Plain);
        let auth = (way != Way::Plain).then(|| format!("\0stint\0{PASSWORD}"));
        assert_eq!(letter.auth, auth);
        assert_eq!(
            (letter.from.as_str(), letter.to.len()),
            ("<stint@acme.dev>", 1)
        );
        assert_eq!(letter.field("To"), "sre@acme.dev");
        assert_eq!(letter.field("Auto-Submitted"), "auto-generated");
        assert_eq!(
            letter.field("Message-ID"),
            format!("<{request}-waiting@localhost>")
        );
        assert_eq!(letter.field("Content-Type"), "text/plain; charset=utf-8");
        assert!(
            letter
                .field("Subject")
                .starts_with("[stint] Approval needed: ")
        );
        assert!(
            letter
                .field("Date")
                .starts_with("Mon, 01 Mar 2027 10:00:02"),
            "{}",
            letter.text
        );
        let body = letter.body();
        assert!(
            body.contains(&format!("http://localhost:8640/a/{request}\n")),
            "{body}"
        );
        assert!(
            body.contains("Who can decide: 2 of Group::\"sre\"\n"),
            "{body}"
        );
        assert_eq!(body.matches("://localhost").count(), 1, "{body}");
        broker.finish().await;
    }
}

#[tokio::test]
async fn nothing_goes_out_where_starttls_was_taken_away_or_the_root_is_another() {
    let (server, secrets) = (Server::start(Way::Stripped).await, Secrets::new());
    let stripped = broker(&server.table(&secrets, "to = [\"sre@acme.dev\"]")).await;
    ask(&stripped, 600).await;
    settle(&stripped);
    eventually("it is seen", async || {
        stripped.check("notify mail").await["code"] == "notices_fail"
    })
    .await;
    assert!(server.letters().is_empty());
    stripped.finish().await;

    let (server, other) = (
        Server::start(Way::Implicit).await,
        Server::start(Way::Implicit).await,
    );
    let table = server.table(&secrets, "to = [\"sre@acme.dev\"]");
    std::fs::write(
        server.pki().cert().with_file_name("root.pem"),
        other.pki().root_pem(),
    )
    .unwrap();
    let broker = broker(&table).await;
    ask(&broker, 600).await;
    settle(&broker);
    eventually("it is seen", async || {
        let check = broker.check("notify mail").await;
        check["detail"].as_str().unwrap().contains("certificate")
    })
    .await;
    assert!(server.letters().is_empty());
    broker.finish().await;
}

#[tokio::test]
async fn a_server_that_hangs_or_waits_is_tried_again() {
    let (server, secrets) = (Server::start(Way::Plain).await, Secrets::new());
    server.mood(Mood::Hangs);
    let broker = broker(&server.table(&secrets, "to = [\"sre@acme.dev\"]")).await;
    ask(&broker, 600).await;
    settle(&broker);
    eventually("it is seen", async || {
        let check = broker.check("notify mail").await;
        check["detail"]
            .as_str()
            .unwrap()
            .contains("took longer than 2s")
    })
    .await;
    server.mood(Mood::Sends451);
    let before = server.connections();
    eventually("it is tried again", async || {
        broker.clock.advance(2);
        server.connections() > before
    })
    .await;
    server.mood(Mood::Takes);
    eventually("it comes", async || {
        broker.clock.advance(2);
        server.letters().len() == 1
    })
    .await;
    broker.finish().await;
}

#[tokio::test]
async fn one_reader_who_is_unknown_costs_the_others_nothing() {
    let (server, secrets) = (Server::start(Way::Plain).await, Secrets::new());
    server.mood(Mood::Refuses("gone@acme.dev"));
    let to = "to = [\"gone@acme.dev\", \"a@acme.dev\", \"b@acme.dev\"]";
    let broker = broker(&server.table(&secrets, to)).await;
    ask(&broker, 600).await;
    settle(&broker);
    server.received(2).await;
    nothing_waits(&broker, "mail").await;
    let to: Vec<_> = server
        .letters()
        .into_iter()
        .flat_map(|letter| letter.to)
        .collect();
    assert_eq!(to, ["<a@acme.dev>", "<b@acme.dev>"]);
    broker.finish().await;
}

/// Whoever signed in last with these groups.
const PEOPLE: &str = "INSERT INTO person (log, id, name, email, groups, seen)
  SELECT log, 'spiffe://acme.dev/user/dana', 'Dana', 'dana@acme.dev', '[\"sre\"]', 1 FROM request UNION ALL
  SELECT log, 'spiffe://acme.dev/user/lee', 'Lee', 'lee@acme.dev', '[\"sre\",\"ops\"]', 1 FROM request UNION ALL
  SELECT log, 'spiffe://acme.dev/user/kim', 'Kim', 'kim@acme.dev', '[\"dev\"]', 1 FROM request UNION ALL
  SELECT log, 'spiffe://acme.dev/user/dumb', 'Dumb', NULL, '[\"sre\"]', 1 FROM request";

/// Somebody who is to be disabled before there is a way to write to them.
const OUT: &str = "INSERT INTO person (log, id, name, email, groups, seen)
  SELECT log, 'spiffe://acme.dev/user/out', 'Out', NULL, '[\"sre\"]', 1 FROM request";
const OUT_HAS_MAIL: &str = "UPDATE person SET email = 'out@acme.dev' WHERE name = 'Out'";

#[tokio::test]
async fn without_addresses_those_are_written_to_who_may_decide() {
    let (server, secrets) = (Server::start(Way::Plain).await, Secrets::new());
    let mut broker = broker(&server.table(&secrets, "")).await;
    ask(&broker, 600).await;
    settle(&broker);
    eventually("nobody is known", async || {
        let check = broker.check("notify mail").await;
        check["detail"].as_str().unwrap().contains("sign in once")
    })
    .await;
    assert_eq!(server.connections(), 0);
    broker.stop().await;
    tamper(&broker.database(), OUT).await;
    broker.restart().await.unwrap();
    let out = json!({ "id": "spiffe://acme.dev/user/out", "reason": "left" });
    assert_eq!(
        broker.command("/v1/callers/disable", &out).await.status,
        200
    );
    broker.stop().await;
    tamper(&broker.database(), PEOPLE).await;
    tamper(&broker.database(), OUT_HAS_MAIL).await;
    broker.restart().await.unwrap();
    eventually("they are written to", async || {
        broker.clock.advance(2);
        server.letters().len() >= 2
    })
    .await;
    nothing_waits(&broker, "mail").await;
    let mut to: Vec<_> = server
        .letters()
        .into_iter()
        .flat_map(|letter| letter.to)
        .collect();
    to.sort();
    assert_eq!(to, ["<dana@acme.dev>", "<lee@acme.dev>"]);
    // Nobody reads who else was written to.
    for letter in server.letters() {
        assert_eq!(
            letter.text.matches("@acme.dev").count(),
            2,
            "{}",
            letter.text
        );
    }
    broker.finish().await;
}

#[tokio::test]
async fn who_was_reached_is_not_written_to_again() {
    let (server, secrets) = (Server::start(Way::Plain).await, Secrets::new());
    let to = "to = [\"a@acme.dev\", \"b@acme.dev\"]";
    let broker = broker(&server.table(&secrets, to)).await;
    server.mood(Mood::Sends451);
    ask(&broker, 600).await;
    settle(&broker);
    eventually("it is seen", async || {
        broker.check("notify mail").await["code"] == "notices_fail"
    })
    .await;
    server.mood(Mood::Takes);
    eventually("both come", async || {
        broker.clock.advance(2);
        server.letters().len() == 2
    })
    .await;
    nothing_waits(&broker, "mail").await;
    broker.clock.advance(600);
    server.received(2).await;
    broker.finish().await;
}
