//! What the tests of this binary share.

use stint_tests::TestBroker;
use stint_tests::broker::Setup;
use stint_tests::postgres::{Cluster, Spot};

pub(crate) const STAGING: &str = "Environment::staging/web";

/// A broker on a fresh database of the shared cluster, whatever engine the run is on.
pub(crate) async fn broker() -> (TestBroker, Spot) {
    let spot = Cluster::shared().await.database().await;
    (setup(&spot).start().await, spot)
}

pub(crate) fn setup(spot: &Spot) -> Setup {
    TestBroker::with().on_server(spot, spot.port)
}

pub(crate) async fn grant(broker: &TestBroker) -> u64 {
    let ask = broker.ci("acme/web").ask("deploy", STAGING);
    ask.x509().await.granted().ledger.seq
}

/// Why a stopped broker does not start again, with every cause.
pub(crate) async fn refused(broker: &mut TestBroker) -> String {
    let error = broker.restart().await.unwrap_err();
    chain(&error)
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
