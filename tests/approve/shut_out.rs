//! An operator shuts an identity out, of a workload or of a person, and takes a person's passkeys.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::passkey::Passkey;
use stint_wire::Code;

use crate::booth::{approver, deploy, one_approver, yes};

const STAGING: &str = "Environment::staging/web";

async fn act(broker: &TestBroker, what: &str, id: &str) -> Value {
    let path = format!("/v1/callers/{what}");
    let ask = json!({ "id": id, "reason": "their laptop is gone" });
    let done = broker.command(&path, &ask).await;
    assert_eq!(done.status, 200, "{}", done.text());
    done.json()
}

fn changed(done: &Value) -> bool {
    done["changed"].as_bool().unwrap()
}

#[tokio::test]
async fn a_disabled_workload_is_refused_and_told_until_it_is_enabled() {
    let mut broker = TestBroker::start().await;
    let ask = || broker.ci("acme/web").ask("deploy", STAGING);
    drop(ask().x509().await.granted());
    let granted = broker.export().await.of("granted").remove(0);
    let caller = granted.body["what"]["caller"]["id"].as_str().unwrap();
    let caller = caller.to_owned();
    let done = act(&broker, "disable", &caller).await;
    assert!(changed(&done));
    assert!(
        !changed(&act(&broker, "disable", &caller).await),
        "it is so already"
    );
    for _ in 0..2 {
        let ask = || broker.ci("acme/web").ask("deploy", STAGING);
        let refused = ask().x509().await.refused(Code::CallerDisabled);
        assert_eq!(refused.detail, "an operator has disabled this caller");
        let dry = ask().for_jwt("https://x.example").judge().await;
        drop(dry.refused(Code::CallerDisabled));
        // What an operator said is an entry, and a start reads it there.
        broker.restart().await.unwrap();
    }
    let other = broker.caller(stint_tests::Like::GitLab, "acme/web");
    let other = other.ask("deploy", STAGING).x509().await;
    drop(other.refused(Code::Denied)); // by policy, as ever
    let entries = broker.export().await;
    let disabled = entries.of("caller_disabled").remove(0);
    assert_eq!(disabled.header["seq"], done["seq"]);
    let body = &disabled.body["what"];
    assert_eq!(body["caller"]["id"], caller);
    assert_eq!(body["reason"], "their laptop is gone");
    let denied = entries.of("denied");
    let denied = denied
        .iter()
        .filter(|it| it.header["what"]["why"] == "disabled");
    assert_eq!(denied.count(), 2, "one entry an ask, none a dry run");

    let enabled = act(&broker, "enable", &caller).await;
    assert!(changed(&enabled));
    let admins = broker.export().await.of("admin");
    let admin = admins.iter().find(|it| it.header["seq"] == enabled["seq"]);
    let admin = admin.unwrap();
    assert_eq!(admin.header["what"]["of"], done["seq"]);
    // Whoever is erased later is named nowhere else.
    assert!(!admin.body["what"].to_string().contains(&caller));
    assert!(!changed(&act(&broker, "enable", &caller).await));
    drop(
        broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .x509()
            .await
            .granted(),
    );
    broker.finish().await;
}

#[tokio::test]
async fn nobody_is_shut_out_by_a_slip_of_the_pen() {
    let broker = TestBroker::with().people().start().await;
    let before = broker.state().await;
    for what in ["disable", "reset-passkeys"] {
        let ask = json!({ "id": "spiffe://acme.dev/user/nobody", "reason": "" });
        let answer = broker.command(&format!("/v1/callers/{what}"), &ask).await;
        drop(answer.refused(Code::NotFound));
    }
    assert_eq!(broker.state().await, before);
    broker.finish().await;
}

#[tokio::test]
async fn a_disabled_person_is_out_at_once_and_their_yes_counts_no_more() {
    let broker = one_approver().start().await;
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let cast = dana.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved", "{}", cast.text());
    assert!(changed(&act(&broker, "disable", &dana.person.id()).await));
    assert_eq!(dana.person.get("/v1/me").await.status, 401);
    let mut again = stint_tests::people::Person::new(&broker, "dana");
    assert_eq!(again.try_sign_in("/login/start").await.status, 403);

    // What dana approved waits again, for somebody else.
    let waiting = deploy(&broker).x509().await.held();
    assert_eq!(
        (&waiting.request, waiting.needs[0].have),
        (&held.request, 0)
    );
    let lee = approver(&broker, "lee").await;
    let cast = lee.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved", "{}", cast.text());
    drop(deploy(&broker).x509().await.granted());

    assert!(changed(&act(&broker, "enable", &dana.person.id()).await));
    assert_eq!(
        dana.person.get("/v1/me").await.status,
        401,
        "the old session does not come back"
    );
    drop(broker.signed_in("dana").await);
    broker.finish().await;
}

#[tokio::test]
async fn whose_passkeys_were_reset_cannot_vote_for_a_day() {
    let broker = one_approver().start().await;
    let dana = approver(&broker, "dana").await;
    let id = dana.person.id();
    let done = act(&broker, "reset-passkeys", &id).await;
    assert!(changed(&done));
    assert!(!changed(&act(&broker, "reset-passkeys", &id).await));
    let retired = broker.export().await.of("key_retired").remove(0);
    assert_eq!(retired.header["seq"], done["seq"]);
    assert_eq!(retired.header["what"]["why"], "reset by an operator");
    assert_eq!(retired.body["what"]["person"]["id"], id);

    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let passkey = Passkey::new("localhost", stint_tests::broker::URL);
    assert_eq!(dana.person.enrol(&passkey).await.status, 201);
    let ballot = dana.ballot(&held.request, &yes(&code)).await;
    let refused = ballot.refused(Code::NotEligible);
    assert!(refused.detail.contains("were reset"), "{}", refused.detail);

    broker.clock.advance(24 * 60 * 60 + 1);
    let held = deploy(&broker).x509().await.held();
    let code = held.match_code.unwrap();
    let dana = approver(&broker, "dana").await;
    let cast = dana.says(&held.request, &yes(&code)).await;
    assert_eq!(cast.json()["state"], "approved", "{}", cast.text());
    broker.finish().await;
}

#[tokio::test]
async fn when_everything_is_frozen_everybody_signs_in_again() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let ask = json!({ "issuer": "github", "reason": "" });
    assert_eq!(broker.command("/v1/freeze", &ask).await.status, 200);
    assert_eq!(
        dana.get("/v1/me").await.status,
        200,
        "an issuer is no person"
    );
    let ask = json!({ "all": true, "reason": "" });
    assert_eq!(broker.command("/v1/freeze", &ask).await.status, 200);
    assert_eq!(dana.get("/v1/me").await.status, 401);
    let dana = broker.signed_in("dana").await;
    assert_eq!(dana.get("/v1/me").await.status, 200);
    broker.finish().await;
}
