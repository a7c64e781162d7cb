//! Each page: there for the right reader, nowhere for others, and whole.

use stint_tests::TestBroker;

use crate::page::{denied, granted, held, page, until};

/// What those read who read everything, beside what all read who are signed in.
const READERS: [&str; 4] = ["/ledger", "/ledger/0", "/integrations", "/policy/try"];
const EVERYBODY: [&str; 8] = [
    "/",
    "/requests",
    "/grants",
    "/tasks",
    "/callers",
    "/catalogue",
    "/policy",
    "/trust",
];

#[tokio::test]
async fn every_page_is_whole_for_its_readers_and_nowhere_for_others() {
    let broker = TestBroker::with().people().start().await;
    let (avery, olu, kim) = (
        broker.signed_in("avery").await,
        broker.signed_in("olu").await,
        broker.signed_in("kim").await,
    );
    for path in EVERYBODY.iter().chain(&READERS) {
        for person in [&avery, &olu] {
            let page = page(person, path).await;
            assert!(page.html.contains("The same by CLI"), "{path}");
        }
    }
    for path in EVERYBODY {
        page(&kim, path).await;
    }
    let nowhere = kim.get("/there/is/no/such/page").await;
    assert_eq!(nowhere.status, 404);
    for path in READERS {
        let hidden = kim.get(path).await;
        assert_eq!(hidden.status, 404, "{path}");
        assert!(hidden.text().contains("not_found"), "{path}");
        let stranger = broker.get(path).await;
        assert_eq!(stranger.status, 303, "{path}");
    }
    // What strangers may know they read: whom to trust before they believe anything.
    assert_eq!(broker.get("/trust").await.status, 200);
    drop((avery, olu, kim));
    broker.finish().await;
}

#[tokio::test]
async fn what_is_foreign_reads_like_what_is_not() {
    let broker = TestBroker::with().people().start().await;
    let (grant, decision) = (granted(&broker).await, denied(&broker).await);
    let task = broker.ci("acme/web").on("refs/heads/main");
    let task = task
        .ask("deploy", "Environment::staging/web")
        .x509()
        .await
        .granted()
        .task;
    let avery = broker.signed_in("avery").await;
    // Kim started these runs, so somebody else is needed who had no part in them.
    broker
        .idp()
        .set("sam", "groups", serde_json::json!(["nobody"]));
    let sam = broker.signed_in("sam").await;
    let caller = "/callers/acme.dev/github/123456/456789".to_owned();
    let none = "26n00000000000000000000000".to_owned();
    for (path, unknown) in [
        (format!("/grants/{grant}"), format!("/grants/gr_{none}")),
        (
            format!("/grants/{grant}/proof"),
            format!("/grants/gr_{none}/proof"),
        ),
        (
            format!("/decisions/{decision}"),
            format!("/decisions/dec_{none}"),
        ),
        (format!("/tasks/{task}"), format!("/tasks/task_{none}")),
        (caller, "/callers/acme.dev/github/1/2".to_owned()),
        ("/ledger/1".to_owned(), "/ledger/99999".to_owned()),
        ("/ledger/1/body".to_owned(), "/ledger/99999/body".to_owned()),
    ] {
        until_there(&avery, &path).await;
        let (foreign, unknown) = (sam.get(&path).await, sam.get(&unknown).await);
        assert_eq!(
            (foreign.status, unknown.status),
            (404.try_into().unwrap(), 404.try_into().unwrap()),
            "{path}"
        );
        assert_eq!(foreign.text(), unknown.text(), "{path}");
    }
    drop((avery, sam));
    broker.finish().await;
}

async fn until_there(person: &stint_tests::people::Person<'_>, path: &str) {
    let answer = person.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

#[tokio::test]
async fn home_shows_what_waits_what_lives_and_how_the_broker_is() {
    let broker = TestBroker::with().people().start().await;
    let avery = broker.signed_in("avery").await;
    let empty = page(&avery, "/").await;
    assert!(empty.part("waiting").contains("Nothing waits for you"));
    assert!(
        empty.part("live").contains("stint run deploy"),
        "the next step is said"
    );
    let (grant, request) = (granted(&broker).await, held(&broker).await);
    let dana = broker.signed_in("dana").await;
    let mine = page(&dana, "/").await;
    assert!(
        mine.part("waiting").contains(&request),
        "{}",
        mine.part("waiting")
    );
    assert!(!mine.html.contains(&grant), "another group's grant");
    assert!(
        !mine.html.contains("id=\"checks\""),
        "checks are for who runs it"
    );
    let all = until(&avery, "/", &format!("/grants/{grant}")).await;
    assert!(
        !all.part("waiting").contains(&request),
        "an auditor decides nothing"
    );
    assert!(all.part("waiting").contains("One request waits for others"));
    assert!(all.part("live").contains(&grant));
    let checks = all.part("checks");
    for word in ["ledger", "policy", "issuer github", "ok"] {
        assert!(checks.contains(word), "{checks}");
    }
    until(&avery, "/", &format!("/a/{request}")).await;
    drop((avery, dana));
    broker.finish().await;
}

#[tokio::test]
async fn trust_says_what_to_pin_to_strangers_and_keys_to_readers() {
    let broker = TestBroker::with().people().start().await;
    let trust = broker.get("/v1/trust").await.json();
    let open = crate::page::Page::of(&broker.get("/trust").await);
    for pin in [&trust["root_fingerprint"], &trust["ledger"]["vkey"]] {
        assert!(open.html.contains(&escaped(pin.as_str().unwrap())), "{pin}");
    }
    assert!(
        !open.html.contains("github"),
        "issuers are not for strangers"
    );
    let olu = broker.signed_in("olu").await;
    let whole = page(&olu, "/trust").await;
    assert!(whole.part("issuers").contains("github"));
    assert!(whole.part("our-keys").contains("Issuing CA ends"));
    drop(olu);
    broker.finish().await;
}

/// As a template writes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;")
}

#[tokio::test]
async fn integrations_say_how_the_last_delivery_went() {
    let sink = "[sink.here]\nkind = \"jsonl\"\nto = \"file:FOLDER/out.jsonl\"\n";
    let folder = tempfile::tempdir().unwrap();
    let sink = sink.replace("FOLDER", folder.path().to_str().unwrap());
    let broker = TestBroker::with().people().tables(&sink).start().await;
    let olu = broker.signed_in("olu").await;
    let shown = until(&olu, "/integrations", "sends").await;
    assert!(shown.part("sinks").contains("here"));
    assert!(
        shown
            .part("targets")
            .contains("Nobody is told that an ask waits")
    );
    drop(olu);
    broker.finish().await;
}

#[tokio::test]
async fn the_catalogue_is_the_same_by_api() {
    let broker = TestBroker::with().people().start().await;
    let kim = broker.signed_in("kim").await;
    let told = kim.get("/v1/catalogue").await;
    assert_eq!(told.status, 200);
    let actions = told.json()["offers"].as_array().unwrap().len();
    let shown = page(&kim, "/catalogue").await;
    assert_eq!(shown.all("section").count(), actions);
    assert!(shown.html.contains("15 min at most"), "the cap in words");
    assert!(shown.html.contains("must say yes"), "the approval in words");
    assert!(
        !shown.html.contains("456789"),
        "what is expected is its owner's to say"
    );
    let found = page(&kim, "/catalogue?find=web-api-connects").await;
    assert_eq!(found.all("section").count(), 1);
    assert_eq!(broker.get("/v1/catalogue").await.status, 401);
    drop(kim);
    broker.finish().await;
}
