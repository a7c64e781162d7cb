//! Several brokers write one ledger at once: whoever is first wins, and nobody else does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde_json::json;
use stint_tests::answer::Answer;
use stint_tests::clock::eventually;
use stint_tests::{TestBroker, together};
use stint_wire::Code;

use crate::common::{STAGING, grant, left_out, load, on_server, rounds, settled, try_grant};

const PROD: &str = "Environment::prod/web";

/// Three brokers in this process.
async fn three() -> [TestBroker; 3] {
    let (a, _) = on_server().await;
    let b = a.replica("b").await.unwrap();
    let c = a.replica("c").await.unwrap();
    [a, b, c]
}

async fn end([a, b, c]: [TestBroker; 3]) {
    c.finish().await;
    b.finish().await;
    a.finish().await;
}

/// How many grants each node wrote.
async fn by_node(broker: &TestBroker) -> BTreeMap<String, usize> {
    let mut nodes = BTreeMap::new();
    for entry in broker.export().await.of("granted") {
        *nodes
            .entry(entry.header["node"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    nodes
}

#[tokio::test]
async fn hundreds_of_grants_through_three_brokers_are_hundreds_of_entries() {
    let all = three().await;
    let each = 70 * rounds();
    // Thirty at a time: more would wait for the processors, and not for each other.
    let client = async |broker| {
        let mut seqs = Vec::new();
        for _ in 0..each / 10 {
            seqs.push(grant(broker).await);
        }
        seqs
    };
    let clients = (0..10).flat_map(|_| all.iter().map(&client));
    let seqs: BTreeSet<_> = together(clients).await.into_iter().flatten().collect();
    assert_eq!(seqs.len(), 3 * each);
    let nodes = by_node(&all[0]).await;
    assert_eq!(
        nodes.values().copied().collect::<Vec<_>>(),
        [each; 3],
        "{nodes:?}"
    );
    // What each of them publishes is one history: the last one's is verified as an extension of it.
    together(all.iter().map(TestBroker::remember)).await;
    end(all).await;
}

/// The same with programs of their own, as operators run them.
#[tokio::test]
async fn two_programs_lengthen_one_ledger() {
    let (mut a, _) = on_server().await;
    let mut b = a.beside("b", |config| config);
    together([&mut a, &mut b].map(|broker| broker.serve(None))).await;
    let each = 40 * rounds();
    for _ in 0..each / 10 {
        let asks = (0..10).flat_map(|_| [&a, &b].map(grant));
        let seqs: BTreeSet<_> = together(asks).await.into_iter().collect();
        assert_eq!(seqs.len(), 20);
    }
    let nodes = by_node(&b).await;
    assert_eq!(
        nodes.values().copied().collect::<Vec<_>>(),
        [each; 2],
        "{nodes:?}"
    );
    b.finish().await;
    a.finish().await;
}

#[tokio::test]
async fn one_token_shown_to_all_at_once_is_one_grant() {
    let all = three().await;
    for round in 0..12 * rounds() {
        let token = all[0].ci("acme/web").job(&round.to_string()).token();
        let asks = (0..2).flat_map(|_| &all).map(|broker| {
            let ask = broker.ci("acme/web").ask("deploy", STAGING).token(&token);
            ask.x509()
        });
        let answers = together(asks).await;
        let granted = answers.iter().filter(|it| it.status == 201).count();
        let said: Vec<_> = answers.iter().map(|it| it.status.as_u16()).collect();
        assert_eq!(granted, 1, "round {round}: {said:?}");
        for answer in answers.iter().filter(|it| it.status != 201) {
            drop(answer.refused(Code::EvidenceRejected));
        }
    }
    assert_eq!(all[0].export().await.of("granted").len(), 12 * rounds());
    end(all).await;
}

#[tokio::test]
async fn one_ask_that_needs_people_is_one_request_wherever_it_was_asked() {
    let all = three().await;
    let mut requests = BTreeSet::new();
    for round in 0..8 * rounds() {
        let job = round.to_string();
        let asks = (0..2)
            .flat_map(|_| &all)
            .map(|broker| broker.ci("acme/web").job(&job).ask("deploy", PROD).x509());
        let held: Vec<_> = together(asks).await.iter().map(Answer::held).collect();
        let ids: BTreeSet<_> = held.iter().map(|it| it.request.clone()).collect();
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        assert_eq!(
            held.iter().filter(|it| it.created).count(),
            1,
            "round {round}"
        );
        requests.extend(ids);
    }
    let recorded = all[0].export().await.of("requested");
    let recorded: BTreeSet<_> = recorded
        .iter()
        .map(|it| it.header["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(recorded, requests);
    end(all).await;
}

#[tokio::test]
async fn one_idempotency_key_is_one_grant_wherever_it_was_sent() {
    let all = three().await;
    let csr = stint_tests::keys::csr();
    for round in 0..8 * rounds() {
        let (job, key) = (round.to_string(), format!("key-{round}"));
        let body = json!({ "action": "deploy", "resources": [STAGING], "credential": { "kind": "x509", "csr": csr } });
        let body = body.to_string();
        let asks = (0..2).flat_map(|_| &all).map(|broker| {
            let bearer = format!("Bearer {}", broker.ci("acme/web").job(&job).token());
            let (key, body) = (&key, &body);
            async move {
                let headers = [("authorization", &*bearer), ("idempotency-key", &**key)];
                broker.post("/v1/grants", &headers, body.as_bytes()).await
            }
        });
        let answers = together(asks).await;
        let mut grants = BTreeSet::new();
        for answer in &answers {
            match answer.status.as_u16() {
                201 => drop(grants.insert(answer.granted().grant)),
                // Another broker's certificate may be on its way for longer than anybody waits for it.
                _ => drop(answer.refused(Code::AlreadyDelivered)),
            }
        }
        assert_eq!(grants.len(), 1, "round {round}");
    }
    assert_eq!(all[0].export().await.of("granted").len(), 8 * rounds());
    end(all).await;
}

/// No grant follows a freeze, on whichever broker either was made: the commit folds up to the very head it extends.
#[tokio::test]
async fn no_grant_follows_a_freeze_on_any_broker() {
    let all = three().await;
    let [a, b, c] = &all;
    for _ in 0..2 * rounds() {
        let frozen = std::cell::Cell::new(false);
        let freeze = async {
            for _ in 0..5 {
                grant(a).await;
            }
            let word = json!({ "issuer": "github", "reason": "a test" });
            assert_eq!(a.command("/v1/freeze", &word).await.status, 200);
            frozen.set(true);
        };
        let others = [b, c, b, c, b, c].map(|broker| {
            let frozen = &frozen;
            async move {
                loop {
                    let was_frozen = frozen.get();
                    let status = try_grant(broker).await;
                    assert!(
                        !was_frozen || status != 201,
                        "a grant after the freeze was answered"
                    );
                    if status != 201 {
                        return;
                    }
                }
            }
        });
        tokio::join!(freeze, together(others));
        let word = json!({ "issuer": "github", "reason": "a test" });
        assert_eq!(a.command("/v1/unfreeze", &word).await.status, 200);
        for broker in &all {
            eventually("the thaw is known", async || try_grant(broker).await == 201).await;
        }
    }
    let (mut frozen, mut after) = (false, 0);
    for entry in a.export().await.entries() {
        match entry.header["kind"].as_str().unwrap() {
            "frozen" => frozen = true,
            "unfrozen" => frozen = false,
            "granted" => after += usize::from(frozen),
            _ => {}
        }
    }
    assert_eq!(after, 0, "grants while it was frozen");
    end(all).await;
}

/// Lets acme/api deploy to staging.
const MORE: &str = r#"@id("api-staging") @owner("Group::\"release\"") @max_ttl("10m") @credential("x509")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
when { context has github && context.github.repository_id == "1" };
"#;

async fn api(broker: &TestBroker) -> u16 {
    let caller = broker.ci("acme/api").claim("repository_id", json!("1"));
    caller.ask("deploy", STAGING).x509().await.status.as_u16()
}

#[tokio::test]
async fn policy_that_was_loaded_on_one_decides_on_all() {
    let all = three().await;
    let [a, b, c] = &all;
    assert_eq!(together(all.iter().map(api)).await, [403; 3]);
    a.write_policy("api.cedar", MORE);
    let word = a.reload().await;
    assert_eq!(word.status, 200, "{}", word.text());
    let pol = word.json()["policy_version"].clone();
    for broker in [b, c] {
        eventually("the new set decides", async || api(broker).await == 201).await;
    }
    // Each grant stands under the set that was in force at its place.
    let mut in_force = serde_json::Value::Null;
    for entry in a.export().await.entries() {
        match entry.header["kind"].as_str().unwrap() {
            "policy_loaded" => in_force = entry.header["pol"].clone(),
            "granted" | "denied" => assert_eq!(entry.header["pol"], in_force, "{}", entry.header),
            _ => {}
        }
    }
    assert_eq!(in_force, pol);
    end(all).await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_free_again_when_its_broker_ends() {
    let (a, _) = on_server().await;
    let mut b = a.beside("b", |config| config);
    // A program, whose clock goes: its signs of life are seen.
    b.serve(None).await;
    let refused = a.replica("b").await.unwrap_err();
    let said = std::iter::successors(Some(&refused as &dyn std::error::Error), |it| it.source());
    let said: Vec<_> = said.map(ToString::to_string).collect();
    assert!(
        said.join(": ")
            .contains("another broker writes this ledger as node `b`"),
        "{said:?}"
    );
    grant(&b).await;
    b.stop().await;
    let again = a.replica("b").await.unwrap();
    grant(&again).await;
    again.finish().await;
    b.abandon().await;
    a.finish().await;
}

/// A broker that fell silent in the middle of its grants: after a minute the others close them, and when it comes back
/// there is nothing left for it to do.
#[tokio::test]
async fn grants_of_a_broker_that_fell_silent_are_closed_by_another() {
    if rounds() == 1 {
        return left_out("others wait a minute: STINT_FAULT_ROUNDS=2");
    }
    let (a, _) = on_server().await;
    let mut b = a.beside("b", |config| config);
    b.serve(None).await;
    let id = b.process().id();
    let mut left = 40;
    let kill = |status| {
        left -= i32::from(status == 201);
        if left == 0 {
            stint_tests::process::signal(id, "KILL");
        }
        ControlFlow::Continue(())
    };
    let kill = std::cell::RefCell::new(kill);
    together((0..8).map(|_| load(&b, |status| kill.borrow_mut()(status)))).await;
    b.kill();
    let released = a.grants();
    for _ in 0..9 {
        tokio::time::sleep(std::time::Duration::from_secs(9)).await;
        grant(&a).await;
    }
    let mut known = released.clone();
    known.extend(a.grants());
    let closed = settled(&a, &known).await.of("sign_failed").len();
    b.restart().await.unwrap();
    grant(&b).await;
    known.extend(a.grants());
    assert_eq!(settled(&a, &known).await.of("sign_failed").len(), closed);
    b.finish_after_crash().await;
    a.finish_after_crash().await;
}
