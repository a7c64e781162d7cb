//! `kubernetes`: projected service account tokens, and those that are not.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, jwks, lacks, plus, set, table};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const WEST: &str = "https://stint.example/k/west";
const WHEN: &str = "context has kubernetes.pod_uid && \
                    context.kubernetes.serviceaccount_uid == \"14ee3fa4-1d0c-4b6e-9f57-2d1c0c8f3a10\"";
const ACCOUNT: &str = "14ee3fa4-1d0c-4b6e-9f57-2d1c0c8f3a10";
const POD: &str = "5e0bd49b-f040-43b0-99b7-22765a53f7f3";

fn entry(audience: &str) -> String {
    format!("preset = \"kubernetes\"\nurl = \"{CLUSTER}\"\naudience = \"{audience}\"")
}

fn good() -> Value {
    json!({
        "iss": CLUSTER, "aud": [WEST], "sub": "system:serviceaccount:shop:web", "jti": "aed34954-b33a",
        "kubernetes.io": {
            "namespace": "shop", "node": { "name": "n1", "uid": "646e7c5e-32d6-4d42-9dbe-e504d0c8b3d2" },
            "pod": { "name": "web-1", "uid": POD }, "serviceaccount": { "name": "web", "uid": ACCOUNT }
        }
    })
}

#[tokio::test]
async fn a_pod_is_a_task_of_its_account_by_uid() {
    let cluster = Platform::start("west", &entry(WEST), WHEN, good()).await;
    let origin =
        json!({ "tenant": "shop", "project": ACCOUNT, "project_name": "web", "instance": POD });
    let id = format!("shop/web/{ACCOUNT}");
    let record = cluster
        .accepts(&id, json!(format!("west:{POD}")), origin)
        .await;
    assert_eq!(
        record["kubernetes"].as_object().unwrap().len(),
        7,
        "{record}"
    );
    let bare = json!({ "alg": "RS256", "kid": "dev-issuers" });
    cluster
        .who(&cluster.sign_under(&bare, &cluster.claims()))
        .await;
    // `kubectl create token`: nobody's pod.
    let by_hand = cluster.with(|claims| {
        let body = claims["kubernetes.io"].as_object_mut().unwrap();
        body.retain(|name, _| ["namespace", "serviceaccount"].contains(&name.as_str()));
    });
    assert_eq!(cluster.who(&by_hand).await["task"], Value::Null);
    // Made anew under its name, it is somebody else, whom no policy knows.
    let anew = cluster.with(set(
        "/kubernetes.io/serviceaccount/uid",
        json!("99ee3fa4-1d0c-4b6e-9f57-2d1c0c8f3a10"),
    ));
    assert_ne!(
        cluster.who(&anew).await["spiffe_id"],
        format!("spiffe://acme.dev/west/{id}")
    );
    cluster.broker.finish().await;
}

#[tokio::test]
async fn a_token_that_was_not_made_for_us_is_refused() {
    let cluster = Platform::start("west-traps", &entry(WEST), WHEN, good()).await;
    let year = cluster.broker.now().as_secs() + 365 * 24 * 3600;
    let sub = |sub: &str| cluster.with(set("/sub", json!(sub)));
    cluster
        .refuses(vec![
            (
                "a legacy token without audience",
                "audience",
                cluster.with(lacks("aud")),
            ),
            (
                "a legacy token without end",
                "claims",
                cluster.with(lacks("exp")),
            ),
            (
                "the API server's audience",
                "audience",
                cluster.with(plus("aud", json!([CLUSTER]))),
            ),
            (
                "ours among others",
                "audience",
                cluster.with(plus("aud", json!([WEST, CLUSTER]))),
            ),
            (
                "the year-long extension",
                "lifetime",
                cluster.with(plus("exp", json!(year))),
            ),
            (
                "another account's name",
                "claims",
                sub("system:serviceaccount:shop:admin"),
            ),
            (
                "another namespace",
                "claims",
                sub("system:serviceaccount:kube-system:web"),
            ),
            ("a person", "claims", sub("kubernetes-admin")),
            (
                "no uid",
                "claims",
                cluster.with(set(
                    "/kubernetes.io/serviceaccount",
                    json!({ "name": "web" }),
                )),
            ),
            ("no body", "claims", cluster.with(lacks("kubernetes.io"))),
        ])
        .await;
    cluster.broker.finish().await;
}

#[tokio::test]
async fn clusters_of_one_name_are_told_apart_by_audience() {
    let east = "https://stint.example/k/east";
    let tables = [("west-one", WEST), ("east-one", east)]
        .map(|(name, audience)| table(name, &entry(audience), &jwks("sig")))
        .concat();
    let clusters = Platform::of(("west-one", &tables), WHEN, good()).await;
    let me = clusters
        .who(&clusters.with(plus("aud", json!([east]))))
        .await;
    assert_eq!(me["issuer"], "east-one");
    clusters.broker.finish().await;
}

#[test]
fn the_api_servers_audience_is_not_ours() {
    for audience in [CLUSTER, "https://kubernetes.default.svc"] {
        does_not_load(&entry(audience), &["I04"]);
    }
}
