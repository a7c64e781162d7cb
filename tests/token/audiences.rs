//! `[audience.NAME]` and `[jwt] rs256` that do not load: each with its reason.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use stint_broker::config::Config;
use stint_tests::broker::URL;
use stint_tests::files::write_secret;
use stint_tests::issuer::Issuers;
use tempfile::TempDir;

const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_secret(&folder.path().join("rs256.key"), RSA);
    folder
}

fn load(folder: &Path, tables: &str) -> Result<Config, String> {
    let text = format!(
        "[server]\nurl = \"{URL}\"\n[ca]\ntrust_domain = \"acme.dev\"\n[policy]\ndir = \"policy\"\n{}{tables}",
        Issuers::new(URL).config()
    );
    let loaded = Config::parse("stint.toml", &text, folder);
    loaded
        .map(|loaded| loaded.config)
        .map_err(|error| format!("{error:?}\n{error}"))
}

/// Whatever stands in `[audience.a]` beside a key for RS256.
fn audience(lines: &str) -> Result<Config, String> {
    let tables = format!("[jwt]\nrs256 = {{ file = \"rs256.key\" }}\n[audience.a]\n{lines}\n");
    load(folder().path(), &tables)
}

fn refused(lines: &str, because: &str) {
    let error = audience(lines).map(drop).expect_err(lines);
    assert!(error.contains(because), "{lines}\n{error}");
}

#[test]
fn good_ones_load() {
    for lines in [
        "aud = \"https://a.example\"",
        "aud = \"a\"\nflavour = \"jwt-svid\"",
        "aud = \"a\"\nflavour = \"jwt-svid\"\nalg = \"RS256\"",
        "aud = \"a\"\nflavour = \"federation\"",
        "aud = \"a\"\nflavour = \"federation\"\nsub_template = \"{path:h}\"\nsub_max = 32",
        "aud = \"a\"\nflavour = \"federation\"\nsub_template = \"{claim.repository_owner_id}:{claim.repository_id}\"\nsub_max = 511",
        "aud = \"a\"\nflavour = \"federation\"\nsub_template = \"{claim.run_id}@{path}\"",
        "aud = \"a\"\nflavour = \"federation\"\n[audience.a.claims]\nteam = \"web\"\nlevel = 3",
    ] {
        assert!(audience(lines).is_ok(), "{lines}");
    }
}

#[test]
fn a_template_that_could_name_two_callers_alike_does_not_load() {
    let template = |text: &str, because: &str| {
        let lines = format!("aud = \"a\"\nflavour = \"federation\"\nsub_template = \"{text}\"");
        refused(&lines, because);
    };
    template("everybody", "every caller the same");
    template("{claim.repository_owner_id}", "`repository_id`");
    template(
        "{claim.run_id}:{claim.repository_owner_id}:x",
        "`repository_id`",
    );
    template("{claim.repository_owner_id}{claim.repository_id}", "apart");
    template("{claim.repository_owner_id}-{claim.repository_id}", "apart");
    // Not immutable, or no claim at all.
    template("{claim.repository}", "no issuer has");
    template("{claim.ref}@{path}", "no issuer has");
    template("{claim.sub}", "no issuer has");
    template("{name}", "does not know");
    template("{path", "visible ASCII");
}

#[test]
fn claims_of_two_issuers_name_no_one() {
    let other = Issuers::new(URL).config();
    let (github, _) = other.split_once("[issuer.gitlab]").unwrap();
    let twin = github
        .replace("[issuer.github]", "[issuer.ghes]")
        .replace("/dev/github\"", "/dev/ghes\"");
    let tables = |template: &str| {
        format!(
            "{twin}[jwt]\nrs256 = {{ file = \"rs256.key\" }}\n[audience.a]\naud = \"a\"\nflavour = \"federation\"\n\
             sub_template = \"{template}\"\n"
        )
    };
    let folder = folder();
    let claims = "{claim.repository_owner_id}:{claim.repository_id}";
    let error = load(folder.path(), &tables(claims)).map(drop).unwrap_err();
    assert!(
        error.contains("[issuer.ghes]") && error.contains("[issuer.github]"),
        "{error}"
    );
    assert!(load(folder.path(), &tables(&format!("{claims}@{{path}}"))).is_ok());
}

#[test]
fn a_template_that_could_overflow_does_not_load() {
    let federation = "aud = \"a\"\nflavour = \"federation\"\n";
    refused(
        &format!("{federation}sub_template = \"{{path}}\"\nsub_max = 127"),
        "`sub_max` is 127",
    );
    refused(
        &format!("{federation}sub_template = \"x{{path:h}}\"\nsub_max = 32"),
        "33 bytes",
    );
    refused(&format!("{federation}sub_max = 3000"), "out of bounds");
}

#[test]
fn what_the_standards_fix_is_fixed() {
    refused("flavour = \"federation\"", "missing key `aud`");
    refused("aud = \"\"", "is no audience");
    refused("aud = \"a b\"", "is no audience");
    refused("aud = \"a\"\nflavour = \"saml\"", "does not know the word");
    refused("aud = \"a\"\nalg = \"HS256\"", "does not know the word");
    refused("aud = \"a\"\nalg = \"EdDSA\"", "no such key");
    refused(
        "aud = \"a\"\nflavour = \"jwt-svid\"\nsub_template = \"{path}\"",
        "only a federation token",
    );
    refused(
        "aud = \"a\"\nclaims = { team = \"web\" }",
        "only a federation token",
    );
    refused(
        "aud = \"a\"\nflavour = \"federation\"\nclaims = { sub = \"root\" }",
        "`sub`",
    );
    refused(
        "aud = \"a\"\nflavour = \"federation\"\nclaims = { x = 1.5 }",
        "what a claim cannot",
    );
    refused(
        "aud = \"a\"\nflavour = \"federation\"\nclaims = { x = 2027-03-01 }",
        "what a claim cannot",
    );
    refused(
        "aud = \"a\"\nflavour = \"federation\"\nclaims = \"x\"",
        "not a table of claims",
    );
    refused("aud = \"a\"\nmax_ttl = \"10s\"", "out of bounds");
    refused("aud = \"a\"\n[audience.b]\naud = \"a\"", "[audience.a] too");
    let folder = folder();
    let eddsa = "[jwt]\nalg = \"EdDSA\"\n[audience.a]\naud = \"a\"\nflavour = \"jwt-svid\"\n";
    let error = load(folder.path(), eddsa).map(drop).unwrap_err();
    assert!(error.contains("ES256 or RS256"), "{error}");
    let none = "[audience.a]\naud = \"a\"\nflavour = \"federation\"\n";
    let error = load(folder.path(), none).map(drop).unwrap_err();
    assert!(error.contains("set `rs256`"), "{error}");
}

#[test]
fn an_operators_key_is_guarded_as_secrets_are() {
    let refused = |spoil: &dyn Fn(&Path), because: &str| {
        let folder = folder();
        spoil(&folder.path().join("rs256.key"));
        let tables = "[jwt]\nrs256 = { file = \"rs256.key\" }\n";
        let error = load(folder.path(), tables).map(drop).expect_err(because);
        assert!(error.contains(because), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    };
    refused(
        &|key| std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap(),
        "mode 0644",
    );
    refused(&|key| std::fs::remove_file(key).unwrap(), "cannot be");
    refused(
        &|key| {
            let target = key.with_extension("real");
            std::fs::rename(key, &target).unwrap();
            symlink(&target, key).unwrap();
        },
        "symbolic link",
    );
    refused(&|key| write_secret(key, b"nonsense"), "no RSA key");
    refused(
        &|key| {
            write_secret(
                key,
                b"-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
            )
        },
        "PKCS#8",
    );
    refused(
        &|key| {
            let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            write_secret(key, p256.serialized_der());
        },
        "no RSA key",
    );
    let literal = load(folder().path(), "[jwt]\nrs256 = \"MIIEvg\"\n")
        .map(drop)
        .unwrap_err();
    assert!(literal.contains("is not a key"), "{literal}");
}
