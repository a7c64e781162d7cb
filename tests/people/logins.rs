//! From the login page to a session, and all the ways that do not lead there.

use std::collections::BTreeSet;

use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::people::{Lie, Person, set_cookie};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_and_is_known() {
    let broker = TestBroker::with().people().start().await;
    let stranger = Person::new(&broker, "dana");
    let page = stranger.get("/login?return_to=/a/req_x").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text()
            .contains("href=\"/login/start?return_to=/a/req_x\"")
            || page
                .text()
                .contains("href=\"/login/start?return_to=&#x2F;a&#x2F;req_x\""),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("<form method=\"post\""));
    let dana = broker.signed_in("dana").await;
    assert_eq!(dana.cookie.split('=').next(), Some("stint-session"));
    let me = dana.get("/v1/me").await;
    assert_eq!(me.status, 200, "{}", me.text());
    let me = me.json();
    assert_eq!(me["id"], dana.id());
    assert_eq!(me["name"], "Dana Ortiz");
    assert_eq!(me["email"], "dana@acme.dev");
    assert_eq!(me["groups"], json!(["sre"]));
    assert_eq!(me["roles"], json!([]));
    assert_eq!(me["auth_at"], "2027-03-01T10:00:00Z");
    assert_eq!(me["sessions"][0]["here"], true);
    assert_eq!(me["sessions"][0]["agent"], "harness/1");
    let olu = broker.signed_in("olu").await;
    assert_eq!(olu.get("/v1/me").await.json()["roles"], json!(["operator"]));
    let logins = broker.export().await.of("login");
    assert_eq!(logins.len(), 2);
    let (header, body) = (&logins[0].header, &logins[0].body["what"]);
    assert_eq!(header["what"], json!({ "via": "console" }));
    assert_eq!(body["person"]["id"], dana.id());
    assert_eq!(body["person"]["name"], "Dana Ortiz");
    assert_eq!(body["agent"], "harness/1");
    assert_eq!(body["session"], me["sessions"][0]["id"]);
    assert_eq!(
        logins[1].header["what"],
        json!({ "roles": ["operator"], "via": "console" })
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_of_this_host_over_tls_alone() {
    let broker = TestBroker::with().people().over_https().start().await;
    let stranger = Person::new(&broker, "dana");
    let sent = stranger.get("/login/start?return_to=/inbox").await;
    let cookie = sent.header("set-cookie");
    assert!(cookie.starts_with("__Host-stint-login="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600"),
        "{cookie}"
    );
    let to = sent.header("location");
    assert!(
        to.contains("redirect_uri=https%3A%2F%2Flocalhost%3A8640%2Flogin%2Fcallback"),
        "{to}"
    );
    let back = broker.idp().answer(to, "dana");
    let path = back.strip_prefix("https://localhost:8640").unwrap();
    let carried = set_cookie(&sent);
    let answer = broker
        .request("GET", path, &[("cookie", &carried)], b"")
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/inbox")
    );
    let cookies: Vec<_> = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|it| it.to_str().unwrap())
        .collect();
    assert!(
        cookies[0].starts_with("__Host-stint=")
            && cookies[0].ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure")
    );
    assert_eq!(
        cookies[1],
        "__Host-stint-login=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_of_the_provider_is_the_same_page() {
    let broker = TestBroker::with().people().start().await;
    broker.signed_in("dana").await;
    let before = broker.state().await;
    let mut pages = BTreeSet::new();
    for lie in [
        Lie::Nonce,
        Lie::NoNonce,
        Lie::Issuer,
        Lie::Audience,
        Lie::TwoAudiences,
        Lie::Party,
        Lie::Unsigned,
        Lie::Hmac,
        Lie::Forged,
        Lie::Expired,
        Lie::Early,
        Lie::AccessToken,
        Lie::Twice,
        Lie::NoSubject,
        Lie::ResponseIssuer,
        Lie::NoResponseIssuer,
        Lie::State,
        Lie::Refuses,
        Lie::TokenRefused,
    ] {
        broker.idp().tell(lie);
        let mut dana = Person::new(&broker, "dana");
        let answer = dana.try_sign_in("/login/start").await;
        assert_eq!(answer.status, 403, "{lie:?}");
        assert_eq!(
            answer.header("set-cookie").split(';').next(),
            Some("stint-login="),
            "{lie:?}"
        );
        assert!(!answer.text().contains("alert(1)"));
        pages.insert(answer.text());
    }
    assert_eq!(pages.len(), 1);
    assert_eq!(broker.state().await, before, "nothing was written");
    broker.idp().tell(Lie::None);
    broker.signed_in("dana").await;
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_and_in_the_browser_that_asked() {
    let broker = TestBroker::with().people().start().await;
    let before = broker.state().await;
    let mut dana = Person::new(&broker, "dana");
    let began = dana.get("/login/start").await;
    let carried = set_cookie(&began);
    let back = broker.idp().answer(began.header("location"), "dana");
    // Somebody else's browser: one without the sign-in, and one with a sign-in of its own.
    let mut mallory = Person::new(&broker, "mallory");
    assert_eq!(mallory.come_back(&back, "other=1").await.status, 403);
    let other = set_cookie(&mallory.get("/login/start").await);
    assert_eq!(mallory.come_back(&back, &other).await.status, 403);
    // The cookie twice: nobody knows which is ours.
    assert_eq!(
        dana.come_back(&back, &format!("{carried}; {other}"))
            .await
            .status,
        403
    );
    // A cookie that somebody changed.
    let mut changed = carried.clone();
    let other = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(other);
    assert_eq!(dana.come_back(&back, &changed).await.status, 403);
    assert_eq!(broker.state().await, before);
    assert_eq!(dana.come_back(&back, &carried).await.status, 303);
    let mut again = Person::new(&broker, "dana");
    assert_eq!(
        again.come_back(&back, &carried).await.status,
        403,
        "the code was used"
    );
    // Ten minutes are the most.
    let began = again.get("/login/start").await;
    let back = broker.idp().answer(began.header("location"), "dana");
    broker.clock.advance(600);
    assert_eq!(
        again.come_back(&back, &set_cookie(&began)).await.status,
        403
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_another_place() {
    let broker = TestBroker::with().people().start().await;
    let stranger = Person::new(&broker, "dana");
    for path in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%5C%5Cevil.example",
        "javascript%3Aalert(1)",
        "%2Flogin",
        "%2F%0d%0aset-cookie:x=y",
        "evil.example",
        "",
    ] {
        let answer = stranger
            .get(&format!("/login/start?return_to={path}"))
            .await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.header("location"), "", "{path}");
    }
    let mut dana = Person::new(&broker, "dana");
    let answer = dana
        .try_sign_in("/login/start?return_to=/grants%3Fstate%3Dactive%26q%3D%2F%2Fx")
        .await;
    assert_eq!(answer.header("location"), "/grants?state=active&q=//x");
    // Pages go to the login and come back; the API says what is missing.
    let stranger = Person::new(&broker, "dana");
    let page = stranger.get("/cli/authorize?port=4711").await;
    assert_eq!(
        page.header("location"),
        "/login?return_to=/cli/authorize%3Fport%3D4711"
    );
    let api = stranger.get("/v1/me").await;
    assert_eq!(api.problem().code.as_str(), "login_required");
    assert!(api.header("www-authenticate").contains("DPoP"));
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_a_short_list_or_nobody_comes_in() {
    let broker = TestBroker::with().people().start().await;
    let sign_in = async |name: &str| Person::new(&broker, name).try_sign_in("/login/start").await;
    let many: Vec<String> = (0..256).map(|n| format!("team-{n}")).collect();
    broker.idp().set("ada", "groups", json!(many));
    assert_eq!(sign_in("ada").await.status, 303);
    let more: Vec<String> = (0..257).map(|n| format!("team-{n}")).collect();
    broker.idp().set("ada", "groups", json!(more));
    let answer = sign_in("ada").await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("at most 256"), "{}", answer.text());
    // Entra's overage: a reference in place of the list.
    broker.idp().set("ada", "groups", json!(null));
    broker
        .idp()
        .set("ada", "_claim_names", json!({ "groups": "src1" }));
    let answer = sign_in("ada").await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.text().contains("so many groups"),
        "{}",
        answer.text()
    );
    broker.idp().set("ada", "_claim_names", json!(null));
    assert_eq!(
        sign_in("ada").await.status,
        303,
        "no groups at all are no fault"
    );
    for odd in [json!("sre"), json!(["sre", 7]), json!({ "sre": true })] {
        broker.idp().set("ada", "groups", odd.clone());
        assert_eq!(sign_in("ada").await.status, 403, "{odd}");
    }
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_get_the_names_of_policies() {
    let lines = "groups_claim = \"/resource/groups\"\ngroups = { \"8f2c\" = \"sre\", \"77aa\" = \"operator\" }";
    let broker = TestBroker::with().people_with(lines).start().await;
    broker.idp().set(
        "ada",
        "resource",
        json!({ "groups": ["8f2c", "other", "operator"] }),
    );
    let ada = broker.signed_in("ada").await;
    let me = ada.get("/v1/me").await.json();
    assert_eq!(
        (me["groups"].clone(), me["roles"].clone()),
        (json!(["sre"]), json!([]))
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_belongs_to_one_person() {
    let broker = TestBroker::with().people().start().await;
    let kim = broker.signed_in("kim").await;
    broker.idp().set("mallory", "github_id", json!("28"));
    let before = broker.size().await;
    let answer = Person::new(&broker, "mallory")
        .try_sign_in("/login/start")
        .await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.text().contains("tied to another person"),
        "{}",
        answer.text()
    );
    assert_eq!(
        broker.size().await,
        before,
        "no entry of a login that was none"
    );
    broker.signed_in("kim").await;
    assert_eq!(
        kim.get("/v1/me").await.status,
        200,
        "another browser is another session"
    );
    // A number is the same account; what is no id is none.
    broker.idp().set("mallory", "github_id", json!(28));
    assert_eq!(
        Person::new(&broker, "mallory")
            .try_sign_in("/login/start")
            .await
            .status,
        403
    );
    broker.idp().set("mallory", "github_id", json!(["28"]));
    assert_eq!(
        Person::new(&broker, "mallory")
            .try_sign_in("/login/start")
            .await
            .status,
        403
    );
    broker.idp().set("mallory", "github_id", json!(29));
    broker.signed_in("mallory").await;
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_started_a_run_is_a_person_once_they_signed_in() {
    let broker = TestBroker::with().people().start().await;
    let ask = || {
        broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web")
    };
    drop(ask().x509().await.granted());
    let kim = broker.signed_in("kim").await;
    drop(ask().x509().await.granted());
    let granted = broker.export().await.of("granted");
    let names_kim = |n: usize| {
        granted[n].body["what"]["query"]
            .to_string()
            .contains(&kim.id())
    };
    assert!(
        !names_kim(0) && names_kim(1),
        "{}",
        granted[1].body["what"]["query"]
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_nobody_signs_in() {
    let broker = TestBroker::start().await;
    for path in ["/login", "/login/start", "/login/callback?code=x&state=y"] {
        let page = broker.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text().contains("Nobody can sign in here"), "{path}");
    }
    assert_eq!(broker.get("/v1/me").await.status, 401);
    broker.finish().await;
}
