//! `azure`: managed identities and service principals of one tenant, v1 and v2.

use serde_json::{Value, json};

use crate::platform::{Platform, does_not_load, lacks, plus, set};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER: &str = "11111111-86f1-41af-91ab-2d7cd011db47";
const OBJECT: &str = "f3d9c5d2-0b0c-4c1e-8a62-3f6c8a3f9b10";
const CLIENT: &str = "c3d2a1b0-6731-4d8f-9d3a-0b6b7a4c5d6e";

fn v1() -> Value {
    json!({
        "iss": format!("https://sts.windows.net/{TENANT}/"), "nbf": 1_700_000_000, "aio": "E2NgYDjx8nU=",
        "appid": CLIENT, "appidacr": "2", "idp": format!("https://sts.windows.net/{TENANT}/"), "idtyp": "app",
        "oid": OBJECT, "rh": "0.AXUAv4.", "sub": OBJECT, "tid": TENANT, "uti": "XqkV8nT2tEa0_4gTzjYTAA", "ver": "1.0",
        "xms_mirid": "/subscriptions/5f2f/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
    })
}

fn v2() -> Value {
    let mut claims = v1();
    claims["iss"] = json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    claims["azp"] = claims["appid"].take();
    claims
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !["appid", "appidacr", "idp"].contains(&name.as_str()));
    (claims["azpacr"], claims["ver"]) = (json!("2"), json!("2.0"));
    claims
}

async fn azure(name: &'static str, good: Value) -> Platform {
    // A managed identity has no task of its own; here it is one.
    let entry = format!(
        "preset = \"azure\"\nurl = {}\ntask = \"{{oid}}\"",
        good["iss"]
    );
    let when = format!("context has azure && context.azure.oid == \"{OBJECT}\"");
    Platform::start(name, &entry, &when, good).await
}

fn origin() -> Value {
    json!({ "tenant": TENANT, "project": OBJECT })
}

#[tokio::test]
async fn a_managed_identity_is_its_object_in_its_tenant() {
    let azure = azure("azure", v1()).await;
    let id = format!("{TENANT}/{OBJECT}");
    let record = azure
        .accepts(&id, json!(format!("azure:{OBJECT}")), origin())
        .await;
    assert_eq!(record["azure"]["appid"], CLIENT);
    assert_eq!(record["azure"].as_object().unwrap().len(), 7, "{record}");
    azure.broker.finish().await;
}

#[tokio::test]
async fn v2_is_another_issuer_with_another_word_for_the_client() {
    let azure = azure("azure-two", v2()).await;
    azure
        .refuses(vec![
            (
                "a version of its own",
                "claims",
                azure.with(set("/ver", json!("1.0"))),
            ),
            ("an ID token", "claims", azure.with(lacks("azp"))),
            (
                "v1's word for the client",
                "claims",
                azure.with(|claims| {
                    let client = claims["azp"].take();
                    claims.as_object_mut().unwrap().remove("azp");
                    claims["appid"] = client;
                }),
            ),
            (
                "the other issuer",
                "issuer",
                azure.with(set("/iss", v1()["iss"].clone())),
            ),
        ])
        .await;
    let id = format!("{TENANT}/{OBJECT}");
    let record = azure
        .accepts(&id, json!(format!("azure-two:{OBJECT}")), origin())
        .await;
    assert_eq!(record["azure"]["appid"], CLIENT, "v1's word for both");
    azure.broker.finish().await;
}

#[tokio::test]
async fn a_token_lives_a_day_and_is_used_with_one_key() {
    let azure = azure("azure-day", v1()).await;
    let now = azure.broker.now().as_secs();
    let day = |seconds: i64| {
        azure.with(|claims| {
            claims["exp"] = json!(now + seconds);
            claims["uti"] = json!(seconds.to_string());
        })
    };
    azure
        .refuses(vec![("more than 25 h", "lifetime", day(25 * 3600 + 1))])
        .await;
    assert_eq!(azure.ask(&day(25 * 3600)).await.status, 201);
    // `uti` is what no two tokens share: another signature over the same one is the same token.
    let again = azure.with(|claims| {
        claims["exp"] = json!(now + 25 * 3600);
        claims["uti"] = json!((25 * 3600).to_string());
        claims["aio"] = json!("changed");
    });
    assert_eq!(azure.ask(&again).await.json()["code"], "evidence_rejected");
    azure.broker.finish().await;
}

#[tokio::test]
async fn what_a_person_delegated_is_refused() {
    let azure = azure("azure-traps", v1()).await;
    azure
        .refuses(vec![
            (
                "scopes",
                "claims",
                azure.with(plus("scp", json!("user_impersonation"))),
            ),
            (
                "a user's token",
                "claims",
                azure.with(set("/idtyp", json!("user"))),
            ),
            // What a person gets who signs in: our audience, no scopes, and no client.
            (
                "an ID token",
                "claims",
                azure.with(|claims| {
                    lacks("appid")(claims);
                    lacks("idtyp")(claims);
                }),
            ),
            (
                "another tenant",
                "claims",
                azure.with(set("/tid", json!(OTHER))),
            ),
            ("no tenant", "claims", azure.with(lacks("tid"))),
            ("no object", "claims", azure.with(lacks("oid"))),
            (
                "v2 from v1",
                "claims",
                azure.with(set("/ver", json!("2.0"))),
            ),
            (
                "another tenant's issuer",
                "issuer",
                azure.with(set(
                    "/iss",
                    json!(format!("https://sts.windows.net/{OTHER}/")),
                )),
            ),
            (
                "without the slash",
                "issuer",
                azure.with(set(
                    "/iss",
                    json!(format!("https://sts.windows.net/{TENANT}")),
                )),
            ),
            (
                "for the cloud itself",
                "audience",
                azure.with(plus("aud", json!("https://management.azure.com/"))),
            ),
        ])
        .await;
    azure.broker.finish().await;
}

#[test]
fn an_entry_is_one_tenants_and_its_audience_is_ours() {
    let url =
        format!("preset = \"azure\"\nurl = \"https://login.microsoftonline.com/{TENANT}/v2.0\"");
    for everybody in ["common", "organizations", "consumers"] {
        let entry = format!(
            "preset = \"azure\"\nurl = \"https://login.microsoftonline.com/{everybody}/v2.0\""
        );
        does_not_load(&entry, &["not the issuer of one tenant"]);
    }
    for audience in [
        "https://management.azure.com",
        "https://management.core.windows.net/",
        "https://graph.microsoft.com",
        "https://vault.azure.net",
        "00000003-0000-0000-c000-000000000000",
        "api://AzureADTokenExchange",
    ] {
        does_not_load(&format!("{url}\naudience = \"{audience}\""), &["I04"]);
    }
    does_not_load(&format!("{url}\nmax_token_life = \"26h\""), &["25h"]);
}
