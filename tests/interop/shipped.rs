//! What deploy/ ships is what it says to readers that are not ours: a JSON Schema of stint.toml, rules for Prometheus.

use serde_json::{Value, json};

use crate::foreign::{here, python, run};

const CONFIG: &str = include_str!("../../deploy/stint.toml");

fn faults(config: &str) -> Value {
    let mut command = python("check_deploy.py");
    command
        .arg("schema")
        .arg(here("../../deploy/stint.schema.json"));
    let said = run(&mut command, config);
    assert!(said.ok, "{}", said.err);
    said.json()
}

#[test]
fn the_schema_takes_the_example_and_refuses_it_spoiled() {
    assert_eq!(faults(CONFIG), json!([]));
    for (from, to, about) in [
        (
            "listen = \"0.0.0.0:8640\"",
            "lissen = \"0.0.0.0:8640\"",
            "lissen",
        ),
        (
            "request_timeout = \"15s\"",
            "request_timeout = 15",
            "server/request_timeout",
        ),
        (
            "request_timeout = \"15s\"",
            "request_timeout = \"15\"",
            "server/request_timeout",
        ),
        ("queue = 1024", "queue = 0", "limits/queue"),
        ("reload = \"signal\"", "reload = \"never\"", "policy/reload"),
        (
            "passphrase = { credential = \"stint-keys\" }",
            "passphrase = \"secret\"",
            "keys/passphrase",
        ),
        ("preset = \"github-actions\"", "", "issuer/github"),
        ("[ca.profile.web]", "[ca.profile.Web]", "ca/profile"),
        (
            "asks_per_caller = \"100/s\"",
            "asks_per_caller = \"100/d\"",
            "limits/asks_per_caller",
        ),
        (
            "eku = [\"server\"]",
            "eku = [\"any\"]",
            "ca/profile/web/eku",
        ),
    ] {
        assert!(CONFIG.contains(from), "{from}");
        let faults = faults(&CONFIG.replacen(from, to, 1)).to_string();
        assert!(faults.contains(about), "{to}: {faults}");
    }
}

#[test]
fn the_alerts_are_rules_that_say_what_is_wrong() {
    let mut command = python("check_deploy.py");
    let said = run(
        command.arg("rules"),
        include_str!("../../deploy/alerts.yml"),
    );
    assert!(said.ok, "{}", said.err);
    let rules = said.json()["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .clone();
    let page = include_str!("../../docs/metrics.md");
    assert!(rules.len() > 10);
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(
            rule["expr"].is_string() && rule["annotations"]["summary"].is_string(),
            "{name}"
        );
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(matches!(severity, "page" | "ticket"), "{name}");
        assert!(
            page.contains(&format!("`{name}`")),
            "{name} is not in docs/metrics.md"
        );
    }
}
