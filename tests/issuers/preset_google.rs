//! `google`: a service account's identity token from the metadata server.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const ENTRY: &str = "preset = \"google\"\nonly = { sub = [\"113340128742817489012\"] }";
const WHEN: &str =
    "context has google.instance_id && context.google.sub == \"113340128742817489012\"";

fn good() -> Value {
    json!({
        "iss": "https://accounts.google.com", "azp": "113340128742817489012", "sub": "113340128742817489012",
        "email": "739419398126-compute@developer.gserviceaccount.com", "email_verified": true,
        "google": { "compute_engine": {
            "project_id": "acme-shop", "project_number": 739_419_398_126_i64, "zone": "us-central1-a",
            "instance_id": "152986662232938449", "instance_name": "web-1",
            "instance_creation_timestamp": 1_556_145_233, "instance_confidentiality": 1, "license_id": ["1000204"]
        } }
    })
}

async fn google(name: &'static str) -> Platform {
    Platform::start(name, ENTRY, WHEN, good()).await
}

#[tokio::test]
async fn an_instance_is_a_task_of_its_service_account() {
    let google = google("gcp").await;
    let origin = json!({ "tenant": "739419398126", "project": "113340128742817489012",
        "instance": "152986662232938449", "region": "us-central1" });
    let task = json!("gcp:152986662232938449");
    let record = google.accepts("113340128742817489012", task, origin).await;
    let wanted = json!({ "google": {
        "azp": "113340128742817489012", "sub": "113340128742817489012", "project_id": "acme-shop",
        "project_number": 739_419_398_126_i64, "zone": "us-central1-a", "instance_id": "152986662232938449",
        "instance_name": "web-1", "instance_creation_timestamp": 1_556_145_233
    } });
    assert_eq!(record, wanted, "and no address of anybody");
    // Without `format=full` nothing is known of the instance.
    let me = google.who(&google.with(lacks("google"))).await;
    assert_eq!(me["task"], Value::Null);
    assert_eq!(
        me["claims"]["origin"],
        json!({ "project": "113340128742817489012" })
    );
    google.ends_with_its_token().await;
    google.broker.finish().await;
}

#[tokio::test]
async fn everybody_has_this_issuer() {
    let google = google("gcp-traps").await;
    let instance = "/google/compute_engine/instance_id";
    let number = "/google/compute_engine/project_number";
    let hour = google.broker.now().as_secs() + 3601;
    let token = |change: Box<dyn FnOnce(&mut Value)>| google.with(change);
    google
        .refuses(vec![
            (
                "somebody's account",
                "not_admitted",
                token(Box::new(set("/sub", json!("113340128742817489013")))),
            ),
            (
                "an account without id",
                "claims",
                token(Box::new(lacks("sub"))),
            ),
            (
                "an address for an id",
                "not_admitted",
                token(Box::new(set("/sub", json!("kim@acme.dev")))),
            ),
            (
                "a number for an id",
                "claims",
                token(Box::new(set("/sub", json!(113_340)))),
            ),
            (
                "an instance's id as a number",
                "claims",
                token(Box::new(set(instance, json!(15_298)))),
            ),
            (
                "a project's number as text",
                "claims",
                token(Box::new(set(number, json!("739419398126")))),
            ),
            (
                "no object",
                "claims",
                token(Box::new(set("/google/compute_engine", json!("full")))),
            ),
            (
                "more than an hour",
                "lifetime",
                token(Box::new(plus("exp", json!(hour)))),
            ),
            (
                "gcloud's audience",
                "audience",
                token(Box::new(plus(
                    "aud",
                    json!("32555940559.apps.googleusercontent.com"),
                ))),
            ),
        ])
        .await;
    google.broker.finish().await;
}

#[test]
fn an_account_is_bound_or_nobody_comes_in() {
    does_not_load("preset = \"google\"", &["I01", "sub"]);
    // The client that a token was made for is whoever made it.
    does_not_load("preset = \"google\"\nonly = { azp = [\"1\"] }", &["I01"]);
    does_not_load(
        "preset = \"google\"\nonly = { zone = [\"us-central1-a\"] }",
        &["I01"],
    );
    does_not_load(
        "preset = \"google\"\nonly = { instance_name = [\"web-1\"] }",
        &["I03", "instance_id"],
    );
    does_not_load("preset = \"google\"\nonly = { sub = [\"1*\"] }", &["I02"]);
    does_not_load(
        "preset = \"google\"\nonly = { sub = [\"1\"] }\naudience = \"32555940559.apps.googleusercontent.com\"",
        &["I04"],
    );
    does_not_load(
        "preset = \"google\"\nonly = { sub = [\"1\"] }\nid = \"{sub}/{instance_id}\"",
        &["I06"],
    );
}
