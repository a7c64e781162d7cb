//! Keys that come over the network, change, and fail to come.

use std::future::Future as _;

use serde_json::{Value as Json, json};
use stint_policy::{Seconds, Timestamp};

use super::{NOW, build_in, context, label, now, roster, with};
use crate::authenticate::entry::{Context, IssuerEntry, Transport};
use crate::authenticate::source::{Health, HealthState};
use crate::authenticate::tests::idp::{Idp, Mode, Signer};
use crate::authenticate::{Caller, Evidence, Label, Refused, Roster};
use crate::config::Secret;

fn config(url: &str) -> Json {
    json!({"preset": "generic", "url": url, "audience": "stint", "alg": ["EdDSA", "ES256"], "immutable": ["sub"],
        "id": "{sub}", "single_tenant": true, "max_token_life": "24h", "extra": {"sub": {"claim": "sub", "type": "string"}}})
}

fn entry(name: &str, config: Json) -> IssuerEntry {
    let dev = Context {
        transport: Transport::LoopbackHttp,
        ..context()
    };
    build_in(&dev, name, config).unwrap()
}

fn token(idp: &Idp, key: &Signer) -> String {
    key.token(&json!({"iss": idp.url, "aud": "stint", "sub": "a", "iat": NOW, "exp": NOW + 80_000}))
}

fn after(seconds: u32) -> Timestamp {
    now().plus(Seconds::new(seconds))
}

/// Presents a token `seconds` after the first.
async fn at(roster: &Roster, seconds: u32, token: String) -> Result<Caller, Refused> {
    roster
        .authenticate(&Evidence::token(Secret::new(token), None), after(seconds))
        .await
}

fn health(roster: &Roster, seconds: u32) -> Health {
    roster.health(after(seconds)).remove(0)
}

fn unavailable(outcome: &Result<Caller, Refused>) -> bool {
    matches!(outcome, Err(Refused::Unavailable { .. }))
}

#[tokio::test]
async fn a_rotation_is_survived_and_a_key_that_left_is_dead() {
    let (old, new, never) = (Signer::ed("old"), Signer::ec("new"), Signer::ed("never"));
    let idp = Idp::start(old.jwks()).await;
    let roster = roster(vec![entry("idp", config(&idp.url))]);
    assert_eq!(health(&roster, 0).state, HealthState::Cold);
    assert!(at(&roster, 0, token(&idp, &old)).await.is_ok());
    assert_eq!(
        (idp.fetches(), health(&roster, 0).state),
        (1, HealthState::Ready)
    );
    idp.rotate(new.jwks());
    assert!(
        at(&roster, 10, token(&idp, &old)).await.is_ok(),
        "nobody has looked yet"
    );
    assert!(
        at(&roster, 10, token(&idp, &new)).await.is_ok(),
        "an unknown kid makes it look"
    );
    assert_eq!(label(at(&roster, 11, token(&idp, &old)).await), Label::Key);
    assert_eq!(
        label(at(&roster, 69, token(&idp, &never)).await),
        Label::Key
    );
    assert_eq!(idp.fetches(), 2, "one forced fetch a minute");
    assert_eq!(
        label(at(&roster, 70, token(&idp, &never)).await),
        Label::Key
    );
    assert_eq!(idp.fetches(), 3);
}

#[tokio::test]
async fn many_tokens_wait_for_one_fetch() {
    let key = Signer::ed("k");
    let idp = Idp::start(key.jwks()).await;
    let roster = roster(vec![entry("idp", config(&idp.url))]);
    let one = || at(&roster, 0, token(&idp, &key));
    let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
    assert!([a, b, c, d].iter().all(Result::is_ok));
    assert_eq!(idp.fetches(), 1);
}

#[tokio::test]
async fn past_the_soft_age_the_old_set_serves_and_past_the_hard_age_nothing_does() {
    let (key, never) = (Signer::ed("k"), Signer::ed("never"));
    let idp = Idp::start(key.jwks()).await;
    let roster = roster(vec![entry("idp", config(&idp.url))]);
    assert!(at(&roster, 0, token(&idp, &key)).await.is_ok());
    idp.set(Mode::Broken);
    assert_eq!(health(&roster, 601).state, HealthState::Stale);
    assert!(
        at(&roster, 601, token(&idp, &key)).await.is_ok(),
        "stale, while a refresh runs"
    );
    // A token that is not answered by the set waits for the refresh under way.
    assert_eq!(
        label(at(&roster, 601, token(&idp, &never)).await),
        Label::Key
    );
    assert_eq!(health(&roster, 601).error.as_deref(), Some("status 500"));
    assert!(at(&roster, 3599, token(&idp, &key)).await.is_ok());
    assert_eq!(
        label(at(&roster, 3599, token(&idp, &never)).await),
        Label::Key
    );
    assert!(unavailable(&at(&roster, 3700, token(&idp, &key)).await));
    assert_eq!(health(&roster, 3700).state, HealthState::Expired);
    let failed = idp.fetches();
    assert!(unavailable(&at(&roster, 3700, token(&idp, &key)).await));
    assert_eq!(idp.fetches(), failed, "failures back off");
    idp.set(Mode::Honest);
    assert!(
        at(&roster, 3761, token(&idp, &key)).await.is_ok(),
        "and it comes back by itself"
    );
    assert_eq!(
        (health(&roster, 3761).state, health(&roster, 3761).error),
        (HealthState::Ready, None)
    );
}

#[tokio::test]
async fn every_lie_leaves_the_issuer_without_keys_and_says_why() {
    for (mode, error) in [
        (Mode::ForeignIssuer, "is of issuer `https://evil.example`"),
        (Mode::ForeignHost, "points to `http://localhost"),
        (Mode::Huge, "more than 256 KiB"),
        (Mode::Mangled, "cannot be used"),
        (Mode::Broken, "status 500"),
        (Mode::Redirect, "status 302"),
    ] {
        let key = Signer::ed("k");
        let idp = Idp::start(key.jwks()).await;
        idp.set(mode);
        let roster = roster(vec![entry("idp", config(&idp.url))]);
        assert!(
            unavailable(&at(&roster, 0, token(&idp, &key)).await),
            "{mode:?}"
        );
        let told = health(&roster, 0).error.unwrap();
        assert!(told.contains(error), "{mode:?}: {told}");
    }
}

#[tokio::test]
async fn a_silent_issuer_is_given_up_and_delays_no_other() {
    let key = Signer::ed("k");
    let (silent, honest) = (Idp::start(key.jwks()).await, Idp::start(key.jwks()).await);
    silent.set(Mode::Silent);
    let roster = roster(vec![
        entry("silent", config(&silent.url)),
        entry("honest", config(&honest.url)),
    ]);
    let mut waiting = std::pin::pin!(at(&roster, 0, token(&silent, &key)));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("the silent issuer answered first"),
        outcome = at(&roster, 0, token(&honest, &key)) => assert!(outcome.is_ok()),
    }
    assert!(unavailable(&waiting.await), "after 3 s");
}

#[tokio::test]
async fn at_most_64_tokens_wait_for_an_issuer() {
    let key = Signer::ed("k");
    let idp = Idp::start(key.jwks()).await;
    idp.set(Mode::Silent);
    let roster = roster(vec![entry("idp", config(&idp.url))]);
    let mut waiting: Vec<_> = (0..64)
        .map(|_| Box::pin(at(&roster, 0, token(&idp, &key))))
        .collect();
    std::future::poll_fn(|context| {
        for one in &mut waiting {
            assert!(one.as_mut().poll(context).is_pending());
        }
        std::task::Poll::Ready(())
    })
    .await;
    // One more is answered without waiting: the first look at it is the last.
    let mut more = Box::pin(at(&roster, 0, token(&idp, &key)));
    let answered = std::future::poll_fn(|context| {
        std::task::Poll::Ready(match more.as_mut().poll(context) {
            std::task::Poll::Ready(outcome) => unavailable(&outcome),
            std::task::Poll::Pending => false,
        })
    });
    assert!(answered.await);
}

#[tokio::test]
async fn a_token_that_fails_an_earlier_check_fetches_nothing() {
    let key = Signer::ed("k");
    let idp = Idp::start(key.jwks()).await;
    let roster = roster(vec![entry("idp", config(&idp.url))]);
    for claims in [
        json!({"iss": idp.url, "aud": "other", "sub": "a", "iat": NOW, "exp": NOW + 60}),
        json!({"iss": format!("{}/", idp.url), "aud": "stint", "sub": "a", "iat": NOW, "exp": NOW + 60}),
        json!({"iss": idp.url, "aud": "stint", "sub": "a", "iat": NOW - 90, "exp": NOW - 30}),
    ] {
        assert!(matches!(
            at(&roster, 0, key.token(&claims)).await,
            Err(Refused::Evidence { .. })
        ));
    }
    assert_eq!(idp.fetches(), 0);
    roster.warm_up(now());
    assert!(at(&roster, 0, token(&idp, &key)).await.is_ok());
    assert_eq!(idp.fetches(), 1, "the token waited for the warm-up");
}

#[tokio::test]
async fn a_private_address_is_not_dialled_by_number_or_by_name() {
    let key = Signer::ed("k");
    let idp = Idp::start(key.jwks()).await;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0x7f000001",
        "2130706433",
    ] {
        let url = format!("https://{host}:{}", idp.port());
        // Any certificate would do: the address is judged before TLS.
        let roots = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(roots.path(), certificate()).unwrap();
        let config = with(config(&url), |c| {
            c["ca_file"] = json!(roots.path().to_str())
        });
        let roster = roster(vec![build_in(&context(), "idp", config).unwrap()]);
        let claims = json!({"iss": url, "aud": "stint", "sub": "a", "iat": NOW, "exp": NOW + 60});
        assert!(
            unavailable(&at(&roster, 0, key.token(&claims)).await),
            "{host}"
        );
        let told = health(&roster, 0).error.unwrap();
        assert!(
            told.contains("no address that may be dialled"),
            "{host}: {told}"
        );
    }
    assert_eq!(idp.fetches(), 0);
}

fn certificate() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["idp.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem()
}

#[tokio::test]
async fn a_key_file_is_read_again_when_it_changes() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), old.jwks().to_string()).unwrap();
    let config = with(config("https://cluster.example"), |c| {
        c["jwks_file"] = json!(file.path().to_str())
    });
    let roster = roster(vec![entry("cluster", config)]);
    let token = |key: &Signer| {
        key.token(&json!({"iss": "https://cluster.example", "aud": "stint", "sub": "a", "iat": NOW, "exp": NOW + 60}))
    };
    assert!(at(&roster, 0, token(&old)).await.is_ok());
    std::fs::write(file.path(), new.jwks().to_string()).unwrap();
    assert!(at(&roster, 1, token(&new)).await.is_ok());
    assert_eq!(label(at(&roster, 1, token(&old)).await), Label::Key);
}
