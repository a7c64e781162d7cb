//! What operators read: whole reports, as they are printed.

#![expect(
    clippy::disallowed_methods,
    reason = "what a secret reads as is what is tested"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const MINIMAL: &str = r#"version = 1
[server]
url = "https://stint.acme.dev"
[ca]
trust_domain = "acme.dev"
[policy]
dir = "policy"
"#;

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    Config::parse_in(("stint.toml", text), Path::new("/etc/stint"), |_| None)
}

fn check(text: &str, expected: &str) {
    let report = parse(text).unwrap_err().report().to_string() + "\n";
    assert_eq!(
        report, expected,
        "\n--- read\n{report}--- wanted\n{expected}"
    );
}

fn warnings(text: &str) -> String {
    let loaded = parse(text).unwrap();
    loaded
        .warnings
        .iter()
        .map(|warning| warning.report().to_string() + "\n")
        .collect()
}

/// [`MINIMAL`] with its `[server]` table given other keys.
fn server(keys: &str) -> String {
    MINIMAL.replace("[server]\n", &format!("[server]\n{keys}\n"))
}

#[test]
fn an_unknown_key_is_reported_with_its_likeness() {
    check(
        &format!(
            "{MINIMAL}[issuer.github]\npreset = \"github-actions\"\nonly = {{ repository_owner_id = [\"123456\"] }}\n\
             audiance = \"https://stint.acme.dev\"\n"
        ),
        r#"error     stint.toml:11:1 unknown key `audiance` in [issuer.github]
   10 | only = { repository_owner_id = ["123456"] }
   11 | audiance = "https://stint.acme.dev"
      | ^^^^^^^^ did you mean `audience`?          help: stintd help config issuer
"#,
    );
}

#[test]
fn all_faults_come_in_one_report() {
    check(
        r#"version = 2
[server]
url = "https://stint.acme.dev/"
listen = "0.0.0.0"
request_timeout = "15 seconds"
[sever]
[ops]
listen = 8641
[ca]
trust_domain = "Acme"
issuing_ttl = "2y"
[limits]
connections = "many"
queue = 0
asks_per_caller = "fast"
[policy]
reload = "wach"
[console]
enabled = true
"#,
        r#"error     stint.toml:1:11 `version` is out of bounds: 2
    1 | version = 2
      |           ^ 1 to 1          help: stintd help config
error     stint.toml:3:7 `url` in [server] must be `https://stint.acme.dev` and no more
    2 | [server]
    3 | url = "https://stint.acme.dev/"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^ https://HOST[:PORT] in lower case, without a path          help: stintd help config server
error     stint.toml:4:10 `listen` in [server] is not an address: `0.0.0.0`
    3 | url = "https://stint.acme.dev/"
    4 | listen = "0.0.0.0"
      |          ^^^^^^^^^ IP:PORT, an IPv6 address in [brackets]          help: stintd help config server
error     stint.toml:5:19 `request_timeout` in [server] is not a duration: `15 seconds`
    4 | listen = "0.0.0.0"
    5 | request_timeout = "15 seconds"
      |                   ^^^^^^^^^^^^ a number and s, m, h or d          help: stintd help config server
error     stint.toml:6:2 unknown table [sever]
    5 | request_timeout = "15 seconds"
    6 | [sever]
      |  ^^^^^ did you mean `server`?          help: stintd help config
error     stint.toml:8:10 `listen` in [ops] is a whole number, not an address such as "127.0.0.1:8640"
    7 | [ops]
    8 | listen = 8641
      |          ^^^^ help: stintd help config ops
error     stint.toml:10:16 `trust_domain` in [ca] is not a trust domain: `Acme`
    9 | [ca]
   10 | trust_domain = "Acme"
      |                ^^^^^^ a host name in lower case, without spiffe://          help: stintd help config ca
error     stint.toml:11:15 `issuing_ttl` in [ca] is not a duration: `2y`
   10 | trust_domain = "Acme"
   11 | issuing_ttl = "2y"
      |               ^^^^ a number and s, m, h or d          help: stintd help config ca
error     stint.toml:13:15 `connections` in [limits] is a string, not a whole number
   12 | [limits]
   13 | connections = "many"
      |               ^^^^^^ help: stintd help config limits
error     stint.toml:14:9 `queue` in [limits] is out of bounds: 0
   13 | connections = "many"
   14 | queue = 0
      |         ^ 1 to 65536          help: stintd help config limits
error     stint.toml:15:19 `asks_per_caller` in [limits] is not a rate: `fast`
   14 | queue = 0
   15 | asks_per_caller = "fast"
      |                   ^^^^^^ a number and /s, /m or /h          help: stintd help config limits
error     stint.toml:16:1 missing key `dir` in [policy]
   15 | asks_per_caller = "fast"
   16 | [policy]
      | ^^^^^^^^ a path          help: stintd help config policy
error     stint.toml:17:10 `reload` in [policy] does not know the word `wach`
   16 | [policy]
   17 | reload = "wach"
      |          ^^^^^^ did you mean `watch`?          help: stintd help config policy
error     stint.toml:18:2 unknown table [console]
   17 | reload = "wach"
   18 | [console]
      |  ^^^^^^^ planned, but this version of stintd does not have it          help: stintd help config
"#,
    );
}

#[test]
fn what_must_be_there_is_named() {
    check(
        "version = 1\n[server]\nlisten = \"127.0.0.1:1\"\n",
        "\
error     stint.toml:2:1 missing key `url` in [server]
    1 | version = 1
    2 | [server]
      | ^^^^^^^^ a URL such as \"https://stint.acme.dev\"          help: stintd help config server
error     stint.toml missing table [ca] with `trust_domain`
          help: stintd help config ca
error     stint.toml missing table [policy] with `dir`
          help: stintd help config policy
",
    );
}

#[test]
fn a_literal_secret_is_refused_and_not_repeated() {
    check(
        &format!("{MINIMAL}[keys]\npassphrase = \"hunter2\"\npasphrase = \"hunter2\"\n"),
        "\
error     stint.toml:9:14 `passphrase` in [keys] is a literal secret
    8 | [keys]
    9 | passphrase = \"*******\"
      |              ^^^^^^^^^ anybody who reads this file has it: write { file = PATH }          help: stintd help config keys
error     stint.toml:10:1 unknown key `pasphrase` in [keys]
    9 | passphrase = \"*******\"
   10 | pasphrase = \"*******\"
      | ^^^^^^^^^ did you mean `passphrase`?          help: stintd help config keys
",
    );
}

#[test]
fn a_secret_file_is_refused_if_others_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passphrase");
    fs::write(&file, "hunter2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!("{MINIMAL}[keys]\npassphrase = {{ file = \"passphrase\" }}\n");
    let error = Config::parse("stint.toml", &text, dir.path()).unwrap_err();
    let report = error
        .report()
        .to_string()
        .replace(&dir.path().display().to_string(), "DIR");
    assert_eq!(
        report,
        "\
error     stint.toml:9:14 `passphrase` in [keys] cannot be used: `DIR/passphrase` is open to other users (mode 0644)
    8 | [keys]
    9 | passphrase = { file = \"passphrase\" }
      |              ^^^^^^^^^^^^^^^^^^^^^^^ chmod 600 DIR/passphrase          help: stintd help config keys"
    );

    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let loaded = Config::parse("stint.toml", &text, dir.path()).unwrap();
    assert_eq!(
        loaded
            .config
            .keys
            .passphrase
            .unwrap()
            .read()
            .unwrap()
            .expose(),
        b"hunter2"
    );
}

#[test]
fn text_that_is_no_toml_is_shown_where_it_breaks() {
    let report =
        parse("version = 1\n[server\nurl = \"x\"\n[keys]\npassphrase = \"hunter2\n").unwrap_err();
    let report = report.report().to_string();
    assert!(report.starts_with("error     stint.toml:2:"), "{report}");
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn contradictions_between_keys_are_faults() {
    let fault = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        fault(&server("listen = \"0.0.0.0:8640\"")),
        "stint.toml: `listen` in [server] is open to the network without TLS: 0.0.0.0:8640"
    );
    assert!(parse(&server("listen = \"0.0.0.0:8640\"\ntls = \"proxy\"")).is_ok());
    assert_eq!(
        fault(&server("listen = \"127.0.0.1:8641\"")),
        "stint.toml: `ops` listens where [server] does: 127.0.0.1:8641"
    );
    assert_eq!(
        fault(&format!("{MINIMAL}default_ttl = \"2h\"\n")),
        "stint.toml: `default_ttl` in [policy] is longer than `max_ttl`, 1h"
    );
    assert_eq!(
        fault(&format!(
            "{MINIMAL}[ca.profile.web]\neku = [\"client\", \"client\"]\n"
        )),
        "stint.toml: `eku` in [ca.profile.web] is empty or says a word twice"
    );
    assert_eq!(
        fault(&format!("{MINIMAL}[ca.profile.Web]\n")),
        "stint.toml: `Web` cannot name a table of [ca.profile]"
    );
    assert_eq!(
        fault(&format!("{MINIMAL}[telemetry]\nlog = \"loud\"\n")),
        "stint.toml: `log` in [telemetry] is not a filter: `loud`"
    );
}

#[test]
fn who_ends_tls_is_said_in_one_way() {
    let wrong = |line: &str, expected: &str| {
        let error = parse(&server(line)).unwrap_err().to_string();
        assert_eq!(error, format!("stint.toml: {expected}"));
    };
    wrong(
        "tls = { cert = \"a\", key = \"b\" }",
        "`tls` in [server] `key` is a literal secret",
    );
    wrong(
        "tls = { cert = \"a\" }",
        "`tls` in [server] needs both `cert` and `key`",
    );
    wrong(
        "tls = { cert = \"a\", key = { file = \"b\" }, ca = \"c\" }",
        "`tls` in [server] has an unknown member `ca`",
    );
    wrong(
        "tls = \"own\"",
        "`tls` in [server] does not know the word `own`",
    );
    wrong(
        "trusted_proxies = [\"10.0.0.0/8\"]",
        "`trusted_proxies` in [server] has no proxy to trust",
    );
    wrong(
        "tls = \"proxy\"\ntrusted_proxies = [\"10.0.0.1/8\"]",
        "`trusted_proxies` in [server] is not a network: `10.0.0.1/8`",
    );
    wrong(
        "tls = \"proxy\"\nproxy_client_cert = \"rfc9440\"",
        "`proxy_client_cert` in [server] has nobody to believe",
    );
    let literal = server("tls = { cert = \"a\", key = \"-----BEGIN PRIVATE KEY-----hunter2\" }");
    let report = parse(&literal).unwrap_err().report().to_string();
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn an_issuer_is_reported_with_all_its_faults() {
    let text = format!("{MINIMAL}[issuer.github]\npreset = 1\nonly = \"acme\"\nprofile = \"x\"\n");
    let error = parse(&text).unwrap_err();
    assert_eq!(error.count(), 3, "{}", error.report());
    let report = error.report().to_string();
    for line in [
        "stint.toml:9:10 `preset` in [issuer.github]",
        "stint.toml:10:8 `only`",
        "stint.toml:11:1 unknown",
    ] {
        assert!(report.contains(line), "{report}");
    }
}

#[test]
fn what_is_risky_is_a_warning() {
    let text = format!("{MINIMAL}reveal = \"full\"\n[ops]\nlisten = \"0.0.0.0:9000\"\n");
    assert_eq!(
        warnings(&text),
        r#"warning   stint.toml:8:10 `reveal` in [policy] shows whole policies to whoever is denied
    7 | dir = "policy"
    8 | reveal = "full"
      |          ^^^^^^ help: stintd help config policy
warning   stint.toml:10:10 `listen` in [ops] serves health and metrics to the network without login
    9 | [ops]
   10 | listen = "0.0.0.0:9000"
      |          ^^^^^^^^^^^^^^ help: stintd help config ops
warning   stint.toml `keys` has no `passphrase`: the key files are not sealed
          help: stintd help config
warning   stint.toml `issuer` has no table: nobody can bring evidence, so nobody is granted anything
          help: stintd help config
"#
    );
}

#[test]
fn what_is_wrong_with_an_issuer_is_shown_at_its_key() {
    check(
        &format!("{MINIMAL}[issuer.github]\npreset = \"github-actions\"\n"),
        r#"error     stint.toml:8:1 `only` in [issuer.github] is missing: many tenants share this issuer, so an immutable id must be bound (I01)
    7 | dir = "policy"
    8 | [issuer.github]
      | ^^^^^^^^^^^^^^^ such as only = { repository_owner_id = ["…"] }          help: stintd help config issuer
"#,
    );
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = parse(MINIMAL).unwrap().config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8640");
    assert_eq!(config.ledger.origin, "stint.acme.dev/ledger");
    assert_eq!(config.policy.dir, Path::new("/etc/stint/policy"));
    assert_eq!(
        config.store.url.path(),
        Some(Path::new("/var/lib/stint/stint.db"))
    );
    assert_eq!(config.ca.profiles.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(config.limits.asks_per_caller, Rate::per_second(100));
    let profiles = parse(&format!("{MINIMAL}[ca.profile.web]\n"))
        .unwrap()
        .config
        .ca
        .profiles;
    assert_eq!(profiles.into_keys().collect::<Vec<_>>(), ["default", "web"]);
}

#[test]
fn a_config_made_in_code_is_the_config_of_the_file() {
    let made = Config::new(
        Server::new(ServerUrl::parse("https://stint.acme.dev").unwrap()),
        Ca::new(TrustDomain::parse("acme.dev").unwrap()),
        Policy::new("/etc/stint/policy".into()),
    );
    assert_eq!(
        made.complete().settings(),
        parse(MINIMAL).unwrap().config.settings()
    );
}

#[test]
fn recorded_settings_tell_where_a_secret_lies_and_not_what_it_is() {
    let text = format!("{MINIMAL}[keys]\npassphrase = {{ credential = \"stint-keys\" }}\n");
    let settings = parse(&text).unwrap().config.settings();
    assert_eq!(settings["keys"]["passphrase"]["credential"], "stint-keys");
    assert_eq!(settings["ca"]["profile"]["default"]["max_ttl"], "1h");
    assert_eq!(settings["server"]["shutdown_grace"], "10s");
    fn plain(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Null => false,
            serde_json::Value::Number(number) => number.is_u64() || number.is_i64(),
            serde_json::Value::Bool(_) | serde_json::Value::String(_) => true,
            serde_json::Value::Array(items) => items.iter().all(plain),
            serde_json::Value::Object(keys) => keys.values().all(plain),
        }
    }
    assert!(plain(&settings));
}

#[test]
fn the_example_parses_and_shows_every_key() {
    let example = include_str!("../../../deploy/stint.toml");
    let loaded = parse(example).unwrap_or_else(|error| panic!("{}", error.report()));
    let warned: String = loaded
        .warnings
        .iter()
        .map(|warning| warning.report().to_string() + "\n")
        .collect();
    assert_eq!(warned, "");
    assert_eq!(loaded.config.server.url.as_str(), "https://stint.acme.dev");
    fn keys(doc: &declare::TableDoc, example: &str) {
        for key in doc.keys {
            let line = format!("{} = ", key.name);
            let shown = example
                .lines()
                .any(|text| text.trim_start_matches('#').starts_with(&line));
            assert!(
                shown || key.table.is_some(),
                "{} is not in the example",
                key.name
            );
            key.table.iter().for_each(|doc| keys(doc, example));
        }
    }
    keys(Config::TABLE.unwrap(), example);
}

#[test]
fn the_template_parses_with_its_comments_taken_away_too() {
    let folders = Folders {
        policy: Path::new("/etc/stint/policy"),
        state: Path::new("/srv/stint"),
        passphrase: None,
        store: None,
    };
    let url = ServerUrl::parse("https://stint.acme.dev").unwrap();
    let text = template(&url, &TrustDomain::parse("acme.dev").unwrap(), folders);
    let config = parse(&text)
        .unwrap_or_else(|error| panic!("{}\n{text}", error.report()))
        .config;
    assert_eq!(config.keys.dir, Path::new("/srv/stint/keys"));
    assert_eq!(
        config.store.url.path(),
        Some(Path::new("/srv/stint/stint.db"))
    );

    // Each default that is shown is one that is accepted, and is the default.
    let uncommented = |line: &str| {
        line.strip_prefix('#')
            .filter(|key| !key.starts_with(' '))
            .unwrap_or(line)
            .to_owned()
    };
    let shown: String = text
        .split(help::PEOPLE)
        .next()
        .unwrap()
        .lines()
        .map(|line| uncommented(line) + "\n")
        .collect();
    let shown: String = shown
        .lines()
        .filter(|line| !line.ends_with("= \"\""))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let again = parse(&shown)
        .unwrap_or_else(|error| panic!("{}\n{shown}", error.report()))
        .config;
    assert_eq!(again.settings(), config.settings());
}

#[test]
fn help_explains_every_table_and_key() {
    let all = help(None).unwrap();
    for table in [
        "[server]",
        "[issuer.NAME]",
        "(required)",
        "stintd help config TABLE",
    ] {
        assert!(all.contains(table), "{all}");
    }
    let server = help(Some("server")).unwrap();
    assert!(
        server.contains(
            "request_timeout   a duration such as \"10m\", default \"15s\", \"1s\" to \"5m\""
        ),
        "{server}"
    );
    assert!(
        server.contains("url   a URL such as \"https://stint.acme.dev\", required"),
        "{server}"
    );
    assert!(
        help(Some("ca.profile"))
            .unwrap()
            .contains("eku   a list, default [\"client\",\"server\"]")
    );
    assert_eq!(help(Some("console")), None);
}

#[test]
fn a_file_that_everybody_can_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stint.toml");
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    fs::write(&path, MINIMAL).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Config::load(&path).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains("chmod o-w")
    );
}
