//! Schemathesis reads docs/openapi.json and asks a real broker whatever the document allows, and what it does not.

use stint_tests::TestBroker;
use stint_tests::issuer::header;
use stint_tests::keys;

use crate::foreign::{here, python, run};

/// For each operation and each way to generate; the first deployment of a change here may ask for more.
const EXAMPLES: usize = 60;
/// More than are asked for: a handful of operations take evidence from the header, one from its form, each in two ways.
const TOKENS: usize = 30 * EXAMPLES;

#[tokio::test]
async fn no_answer_but_those_of_the_document() {
    let broker = TestBroker::start().await;
    let token = |_| {
        let caller = broker.ci("acme/web").on("refs/heads/main");
        broker.issuers.sign(&header(), &caller.claims())
    };
    let tokens: Vec<_> = (0..TOKENS).map(token).collect();
    let (url, document) = (
        format!("http://{}", broker.address()),
        here("../../docs/openapi.json"),
    );
    let asked = tokio::task::spawn_blocking(move || {
        let mut command = python("check_api.py");
        command
            .arg(document)
            .arg(url)
            .arg(EXAMPLES.to_string())
            .arg(keys::csr());
        run(&mut command, &tokens.join("\n"))
    });
    let said = asked.await.unwrap();
    assert!(said.ok, "{}\n{}", said.err, said.out);
    let said = said.json();
    let times =
        |operation: &str, status: &str| said[operation][status].as_u64().unwrap_or_default();
    for (operation, status) in [
        ("POST /v1/grants", "201"),
        ("POST /v1/grants", "202"),
        ("POST /v1/grants", "400"),
        ("POST /v1/grants", "403"),
        ("POST /v1/decisions", "200"),
        ("POST /v1/whoami", "200"),
        ("POST /oauth2/token", "200"),
        ("POST /oauth2/token", "400"),
        ("GET /v1/trust", "200"),
        ("GET /oauth2/authorize", "400"),
        ("GET /v1/ledger/tile/{level}/{place}", "200"),
        ("GET /v1/ledger/tile/{level}/{place}", "404"),
        ("GET /v1/ledger/{epoch}/tile/{level}/{place}", "404"),
    ] {
        assert!(
            times(operation, status) > 0,
            "{operation} never answered {status}: {said:#}"
        );
    }
    // Its client keeps what it was granted to itself.
    broker.finish_after_crash().await;
}
