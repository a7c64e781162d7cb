//! What is absent, and meant to be (STYLE.md §2): the graph of crates from `cargo metadata`, and sweeps of the text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Each package of ours with what it depends on: the names, and of which kind (`normal`, `dev`, `build`).
fn graph() -> BTreeMap<String, BTreeSet<(String, String)>> {
    let args = [
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ];
    let done = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("normal").to_owned();
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        let dependencies = dependencies
            .iter()
            .map(|it| (text(&it["name"]), text(&it["kind"])))
            .collect();
        (text(&package["name"]), dependencies)
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(package)
        .collect()
}

#[test]
fn crates_import_each_other_as_the_map_says() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("stint-policy", [].as_slice()),
        ("stint-audit", &[]),
        ("stint-wire", &[]),
        ("stint-ca", &["stint-policy", "stint-audit"]),
        (
            "stint-broker",
            &["stint-policy", "stint-audit", "stint-ca", "stint-wire"],
        ),
        ("stint-client", &["stint-wire"]),
        (
            "stint-cli",
            &["stint-client", "stint-wire", "stint-audit", "stint-policy"],
        ),
        (
            "stint-tests",
            &[
                "stint-policy",
                "stint-audit",
                "stint-ca",
                "stint-wire",
                "stint-broker",
                "stint-client",
                "stint-cli",
            ],
        ),
    ]);
    let graph = graph();
    assert_eq!(
        graph.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>()
    );
    for (package, dependencies) in &graph {
        for (name, kind) in dependencies {
            if name.starts_with("stint-") {
                assert!(
                    allowed[package.as_str()].contains(&name.as_str()),
                    "{package} imports {name} ({kind})"
                );
            }
        }
    }
}

#[test]
fn leaves_have_no_runtime_no_server_and_no_database() {
    let graph = graph();
    let banned = [
        "tokio",
        "axum",
        "hyper",
        "sqlx",
        "reqwest",
        "libsqlite3-sys",
        "async-trait",
    ];
    for leaf in ["stint-policy", "stint-audit", "stint-wire", "stint-ca"] {
        for (name, _) in &graph[leaf] {
            assert!(!banned.contains(&name.as_str()), "{leaf} has {name}");
        }
    }
    for (package, dependencies) in &graph {
        for (name, kind) in dependencies {
            let server = matches!(name.as_str(), "axum" | "sqlx" | "libsqlite3-sys");
            let rightful = matches!(package.as_str(), "stint-broker" | "stint-tests");
            assert!(!server || rightful, "{package} has {name} ({kind})");
        }
    }
}

/// The Rust files under `folder` that make the product, with their text less tests and comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                if !name.ends_with("/tests") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                // The tests of a file are its last module.
                let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
                let code = product
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                files.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(!files.is_empty(), "{folder} has no sources");
    files
}

const PRODUCT: [&str; 7] = [
    "policy/src",
    "audit/src",
    "ca/src",
    "broker/src",
    "clients/wire/src",
    "clients/rust/src",
    "clients/cli/src",
];

/// No file of `folders` holds one of `words`, but those whose path begins with one of `rightful`.
fn only_in(words: &[&str], folders: &[&str], rightful: &[&str]) {
    let mut found = Vec::new();
    for (name, text) in folders.iter().flat_map(|folder| sources(folder)) {
        for word in words {
            if text.contains(word) && !rightful.iter().any(|place| name.starts_with(place)) {
                found.push(format!("{name} has `{word}`"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_clocks_ask_the_time() {
    let words = [
        "SystemTime::now",
        "Instant::now",
        "now_utc()",
        "now_local()",
    ];
    only_in(
        &words,
        &PRODUCT,
        &[
            "broker/src/clock.rs",
            "clients/rust/src/clock.rs",
            "clients/cli/src/clock.rs",
        ],
    );
}

#[test]
fn sql_is_in_the_store_and_the_ledger() {
    let words = [
        "\"SELECT ",
        "\"INSERT ",
        "\"UPDATE ",
        "\"DELETE ",
        "\"PRAGMA ",
        "\"BEGIN",
        "\"COMMIT",
        "sqlx::",
    ];
    only_in(
        &words,
        &["broker/src"],
        &[
            "broker/src/store",
            "broker/src/ledger",
            // A witness has a database of its own.
            "broker/src/witness",
            // A schema or a log as a whole, which nobody serves meanwhile.
            "broker/src/upkeep/migrate.rs",
            "broker/src/upkeep/relocate.rs",
            "broker/src/upkeep/restore",
        ],
    );
}

#[test]
fn http_is_at_the_door() {
    let rightful = [
        "broker/src/http",
        "broker/src/console",
        "broker/src/dev",
        "broker/src/serve.rs",
        "broker/src/main.rs",
        "broker/src/witness",
    ];
    only_in(&["axum::"], &["broker/src"], &rightful);
}

#[test]
fn the_wire_is_translated_at_the_door() {
    only_in(
        &["stint_wire"],
        &["broker/src"],
        &[
            "broker/src/http",
            "broker/src/console",
            "broker/src/serve.rs",
        ],
    );
}

#[test]
fn only_the_ledger_begins_and_commits() {
    only_in(
        &["BEGIN IMMEDIATE", "\"COMMIT\"", "\"ROLLBACK\"", ".durable("],
        &["broker/src"],
        &[
            "broker/src/ledger",
            "broker/src/store/engine",
            // Databases of their own: a witness's, and the one that is moved to.
            "broker/src/witness",
            "broker/src/store/copy.rs",
            // A log as a whole, which nobody serves meanwhile.
            "broker/src/upkeep/relocate.rs",
            "broker/src/upkeep/restore",
        ],
    );
}

#[test]
fn credentials_are_signed_in_one_place() {
    only_in(
        &[".ca.sign(", ".ca.prepare(", "Authority::sign"],
        &["broker/src"],
        &["broker/src/issue.rs"],
    );
    only_in(&[".decide("], &["broker/src"], &["broker/src/issue.rs"]);
}

#[test]
fn nothing_is_left_to_be_done() {
    only_in(
        &[
            "todo!(",
            "unimplemented!(",
            "unsafe {",
            "dbg!(",
            "FIXME",
            "XXX",
        ],
        &PRODUCT,
        &[],
    );
}

#[test]
fn files_stay_small_enough_to_be_read() {
    let long: Vec<_> = PRODUCT.iter().flat_map(|folder| sources(folder)).collect();
    let long: Vec<_> = long
        .iter()
        .filter(|(_, text)| text.lines().count() > 600)
        .map(|(name, _)| name)
        .collect();
    assert!(long.is_empty(), "two nouns here? {long:?}");
}
