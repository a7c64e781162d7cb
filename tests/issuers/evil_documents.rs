//! An issuer whose connection, discovery document or key set is not as it should be. Whatever it is, its tokens wait for
//! better times and learn nothing, operators read what it is, and nobody else notices.

use stint_tests::TestBroker;
use stint_tests::clock::eventually;
use stint_tests::evil::Lie::{self, *};
use stint_tests::evil::Stage::{Discovery, Keys};
use stint_tests::evil::{Evil, IdpKey};
use stint_tests::together;

use crate::common::{ask_as, broker, others_are_served, unavailable};

/// Every lie about a connection or a document, and the word an operator reads.
const LIES: [(Lie, &str); 42] = [
    (SilentTcp, "slow"),
    (Closes, "unreachable"),
    (PlainHttp, "tls"),
    (OtherName, "tls"),
    (OtherAuthority, "tls"),
    (EndedCertificate, "tls"),
    (Silent(Discovery), "slow"),
    (Silent(Keys), "slow"),
    (Drip(Discovery), "slow"),
    (Drip(Keys), "slow"),
    (Endless(Discovery), "too_large"),
    (Endless(Keys), "too_large"),
    (Large(Discovery), "too_large"),
    (Large(Keys), "too_large"),
    (Html(Discovery), "content_type"),
    (Html(Keys), "content_type"),
    (Gzip(Discovery), "encoded"),
    (Gzip(Keys), "encoded"),
    (Redirect(Discovery), "status"),
    (Redirect(Keys), "status"),
    (Status(Discovery, 404), "status"),
    (Status(Discovery, 500), "status"),
    (Status(Keys, 201), "status"),
    (Status(Keys, 503), "status"),
    (Mangled(Discovery), "metadata"),
    (Mangled(Keys), "keys"),
    (List(Discovery), "metadata"),
    (List(Keys), "keys"),
    (Twice(Discovery), "metadata"),
    (Twice(Keys), "keys"),
    (Deep(Discovery), "metadata"),
    (Deep(Keys), "keys"),
    (Short(Keys), "unreachable"),
    (OtherIssuer, "foreign_issuer"),
    (Slash, "foreign_issuer"),
    (OtherHost, "foreign_host"),
    (OtherPort, "foreign_host"),
    (ClearKeys, "foreign_host"),
    (UserInfo, "foreign_host"),
    (FileUrl, "foreign_host"),
    (NoUrl, "url"),
    (NoPlace, "metadata"),
];

/// An issuer for each lie, honest so far.
async fn liars(key: &IdpKey) -> Vec<Evil> {
    let named = (0..LIES.len()).map(|n| async move { format!("idp-{n}") });
    let mut liars = Vec::new();
    for name in named {
        liars.push(Evil::with_key(&name.await, key).await);
    }
    liars
}

async fn beside(liars: &[Evil]) -> TestBroker {
    broker(&liars.iter().collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_brings_a_key_and_each_is_told_to_operators_alone() {
    let key = IdpKey::new("k");
    let liars = liars(&key).await;
    for (idp, (lie, _)) in liars.iter().zip(LIES) {
        idp.tell(lie);
    }
    let broker = beside(&liars).await;
    others_are_served(&broker).await;
    let before = broker.state().await;
    let answers = together(liars.iter().map(|idp| ask_as(&broker, idp, &key))).await;
    let told: Vec<_> = answers.iter().map(unavailable).collect();
    assert!(
        told.iter().all(|one| one == told.first().unwrap()),
        "a lie shows in its answer"
    );
    for (idp, (lie, class)) in liars.iter().zip(LIES) {
        let check = broker.check(&format!("issuer {}", idp.name)).await;
        assert_eq!(
            (&check["code"], &check["error"], &check["state"]),
            (&"issuer_unavailable".into(), &class.into(), &"cold".into()),
            "{lie:?}: {check}"
        );
    }
    assert_eq!(
        broker.operator("GET", "/readyz").await.status,
        200,
        "one issuer alone is never fatal"
    );
    assert_eq!(
        broker.state().await,
        before,
        "nothing was minted or written"
    );
    others_are_served(&broker).await;
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_told_later_leaves_the_old_keys_in_service_for_an_hour() {
    let key = IdpKey::new("k");
    let liars = liars(&key).await;
    let broker = beside(&liars).await;
    all_are_served(&broker, &liars, &key).await;
    for (idp, (lie, _)) in liars.iter().zip(LIES) {
        idp.tell(lie);
    }
    broker.clock.advance(601);
    // One after the other: so many at once would be turned away on a busy machine.
    for idp in &liars {
        drop(ask_as(&broker, idp, &key).await.granted());
    }
    for (idp, (lie, class)) in liars.iter().zip(LIES) {
        eventually("the refresh failed", async || {
            broker.check(&format!("issuer {}", idp.name)).await["error"] == class
        })
        .await;
        let check = broker.check(&format!("issuer {}", idp.name)).await;
        assert_eq!(
            (&check["code"], &check["keys"]),
            (&"issuer_stale".into(), &1.into()),
            "{lie:?}"
        );
    }
    broker.clock.advance(3_000);
    broker.anchored().await;
    // Rows of spent evidence are forgotten meanwhile: only the ledger stands still.
    let before = (broker.size().await, broker.released());
    for answer in together(liars.iter().map(|idp| ask_as(&broker, idp, &key))).await {
        unavailable(&answer);
    }
    assert_eq!((broker.size().await, broker.released()), before);
    let check = broker.check("issuer idp-0").await;
    assert_eq!(
        (&check["code"], &check["state"]),
        (&"issuer_unavailable".into(), &"expired".into())
    );
    others_are_served(&broker).await;
    for idp in &liars {
        idp.tell(None);
    }
    broker.clock.advance(61);
    all_are_served(&broker, &liars, &key).await;
    broker.finish().await;
}

/// On a busy machine the fetches of so many at once may be slow: they are tried again when they have waited, and no
/// later, so that nobody else's keys grow old.
async fn all_are_served(broker: &TestBroker, idps: &[Evil], key: &IdpKey) {
    for idp in idps {
        eventually("its caller is served", async || {
            let served = ask_as(broker, idp, key).await.status == 201;
            broker.clock.advance(if served { 0 } else { 5 });
            served
        })
        .await;
    }
}
