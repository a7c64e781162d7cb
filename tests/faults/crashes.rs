//! `kill -9` at random moments under load, on both engines, with one program and with two.

use std::cell::RefCell;
use std::ops::ControlFlow;

use stint_broker::store::Engine;
use stint_tests::database::only_on;
use stint_tests::process::signal;
use stint_tests::{TestBroker, together};

use crate::common::{grant, load, on_server, rounds, settled};
use crate::steps::killed_starting;

/// Eight clients ask until `broker` has answered `grants` of them, in the middle of which it is killed.
async fn killed_under_load(broker: &mut TestBroker, grants: usize) {
    let id = broker.process().id();
    {
        let left = RefCell::new(grants);
        let broker = &*broker;
        let client = || async {
            load(broker, |status| {
                let mut left = left.borrow_mut();
                *left = left.saturating_sub(usize::from(status == 201));
                if *left == 0 {
                    // Whoever comes here first ends it in the middle of the others' asks.
                    drop(std::panic::catch_unwind(|| signal(id, "KILL")));
                }
                ControlFlow::Continue(())
            })
            .await;
        };
        together((0..8).map(|_| client())).await;
    }
    broker.kill();
}

/// Moments that are not alike: the number of answers before the end.
fn moments(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(|round| 1 + (round * 29) % 47)
}

#[tokio::test]
async fn whoever_is_killed_leaves_an_honest_ledger() {
    let mut broker = TestBroker::with().real_time().start().await;
    broker.stop().await;
    for grants in moments(3 * rounds()) {
        broker.serve(None).await;
        broker.remember().await;
        killed_under_load(&mut broker, grants).await;
    }
    broker.restart().await.unwrap();
    grant(&broker).await;
    drop(settled(&broker, &broker.grants()).await);
    broker.finish_after_crash().await;
}

/// A start that is cut off while it closes what was left open leaves the rest to the next one.
#[tokio::test]
async fn a_start_that_is_killed_is_begun_again() {
    if !only_on(Engine::Sqlite, "a disk that fails is under a file") {
        return;
    }
    let mut broker = TestBroker::with().real_time().start().await;
    broker.stop().await;
    broker.serve(None).await;
    killed_under_load(&mut broker, 30).await;
    // As if none of them had been handed out: thirty grants to close.
    stint_tests::database::tamper(&broker.database(), "UPDATE ledger_node SET released = 0").await;
    for calls in [6, 14, 30, 60] {
        killed_starting(&broker, calls).await;
    }
    let before = broker.grants();
    broker.restart().await.unwrap();
    grant(&broker).await;
    let last = broker.grants().difference(&before).cloned().collect();
    let closed = settled(&broker, &last).await.of("sign_failed").len();
    assert!(closed >= 30, "{closed} were closed");
    broker.finish_after_crash().await;
}

/// Two programs on one server; one is killed, the other goes on, and the first comes back.
#[tokio::test]
async fn one_of_two_programs_is_killed_and_the_other_goes_on() {
    let (mut a, _) = on_server().await;
    let mut b = a.beside("b", |config| config);
    together([&mut a, &mut b].map(|broker| broker.serve(None))).await;
    for grants in moments(2 * rounds()) {
        killed_under_load(&mut b, grants).await;
        // No lock of the dead one holds the other up for long.
        crate::common::recovers(&a).await;
        b.serve(None).await;
        grant(&b).await;
        drop(settled(&a, &a.grants()).await);
    }
    b.finish_after_crash().await;
    a.finish_after_crash().await;
}

/// Both at once.
#[tokio::test]
async fn both_of_two_programs_are_killed() {
    let (mut a, _) = on_server().await;
    let mut b = a.beside("b", |config| config);
    for grants in moments(rounds()) {
        together([&mut a, &mut b].map(|broker| broker.serve(None))).await;
        together([&mut a, &mut b].map(|broker| killed_under_load(broker, grants + 10))).await;
    }
    let back = together([&mut a, &mut b].map(TestBroker::restart)).await;
    back.into_iter().for_each(Result::unwrap);
    grant(&b).await;
    drop(settled(&a, &a.grants()).await);
    b.finish_after_crash().await;
    a.finish_after_crash().await;
}
