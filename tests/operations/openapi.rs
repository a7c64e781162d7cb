//! The document that the broker serves is the one in docs/.

use serde_json::Value;
use stint_tests::TestBroker;

pub(crate) fn committed() -> Value {
    serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap()
}

#[tokio::test]
async fn what_is_served_is_what_is_committed() {
    let broker = TestBroker::start().await;
    let answer = broker.get("/v1/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), committed());
    broker.finish().await;
}

/// Every problem code is at some route, and each refusal is one of RFC 9457 or of OAuth.
#[test]
fn every_operation_says_who_may_call_it_and_how_it_refuses() {
    let document = committed();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let at = format!("{method} {path}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers.contains_key("500") && answers.contains_key("503"),
                "{at}"
            );
            if operation.get("security").is_some() {
                assert!(answers.contains_key("401"), "{at}");
            } else if method == "get" {
                assert!(
                    answers.contains_key("200") || answers.contains_key("400"),
                    "{at}"
                );
            }
            for (status, answer) in answers
                .iter()
                .filter(|(status, _)| *status >= &"400".to_owned())
            {
                let problem = answer["$ref"] == "#/components/responses/Problem";
                let oauth = answer["content"]["application/json"].is_object();
                assert!(problem || oauth, "{at} {status}");
            }
        }
    }
    assert!(operations > 10, "{operations}");
}
