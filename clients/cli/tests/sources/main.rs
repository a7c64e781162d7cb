//! Where evidence comes from (UX.md §3), as a job meets it: the `stint` command, a real broker, and platforms played by
//! small programs and servers. Their tokens are the dev broker's: what a platform's claims mean is tested elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

mod component;
mod desk;
mod half;
mod metadata;
mod spiffe;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use desk::{Desk, Said};
use metadata::Metadata;

/// Runs `true` with a certificate, and says where the evidence came from.
fn granted(desk: &Desk, env: &[(&str, &str)], expected: &str) -> Said {
    let said = desk.run(env);
    assert_eq!(said.code, 0, "{env:?}: {}", said.err);
    assert_eq!(said.line("evidence"), expected, "{}", said.err);
    assert!(said.line("granted").starts_with("gr_"), "{}", said.err);
    assert!(!said.err.contains("eyJ"), "a token was said: {}", said.err);
    said
}

#[test]
fn takes_what_is_given_by_hand() {
    let desk = Desk::new();
    let path = desk.write("token", &desk.token("github"));
    let from = format!("file {path}");
    granted(&desk, &[("STINT_ID_TOKEN_FILE", &path)], &from);
    let token = desk.token("github");
    granted(&desk, &[("STINT_ID_TOKEN", &token)], "STINT_ID_TOKEN");

    // The flag before either, and every variable that is not the first is not even read.
    let path = desk.write("token", &desk.token("github"));
    let said = desk.verb(
        &[
            "-v",
            "can",
            "deploy",
            "Environment::staging/web",
            "--token-file",
            &path,
        ],
        &[("STINT_ID_TOKEN_FILE", "/none"), ("STINT_ID_TOKEN", "?")],
    );
    assert_eq!((said.code, said.line("evidence")), (0, from.as_str()));
}

#[test]
fn asks_github_with_our_audience() {
    let desk = Desk::new();
    let token = desk.token("github");
    let github = Metadata::start(200, &format!(r#"{{"value":"{token}"}}"#));
    let url = format!("http://{}/token?x=1", github.address);
    let env = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret"),
    ];
    granted(&desk, &env, "GitHub Actions, asking 127.0.0.1");
    let asked = github.heard();
    assert!(asked.starts_with(&format!("GET /token?x=1&audience={} ", desk.encoded())));
    assert!(asked.contains("authorization: Bearer runner-secret\r\n"));
}

#[test]
fn takes_gitlabs_token() {
    let desk = Desk::new();
    let token = desk.token("gitlab");
    let env = [("GITLAB_CI", "true"), ("STINT_ID_TOKEN", token.as_str())];
    let said = desk.verb(&["whoami"], &env);
    assert_eq!(
        (said.code, said.line("evidence")),
        (0, "GitLab CI, STINT_ID_TOKEN")
    );
    assert!(said.out.contains("gitlab.project_id 20"), "{}", said.out);
}

#[test]
fn asks_the_agent_of_buildkite() {
    let desk = Desk::new();
    let agent = desk.program("buildkite-agent", &desk.prints(&desk.token("github")));
    let from = format!("Buildkite, {agent} oidc request-token");
    granted(&desk, &[("BUILDKITE", "true")], &from);
    let claims = "--claim organization_id --claim pipeline_id";
    assert_eq!(
        desk.args(),
        format!("oidc request-token --audience {} {claims}", desk.url)
    );
}

#[test]
fn asks_the_program_of_circleci() {
    let desk = Desk::new();
    let env = [("CIRCLECI", "true")];
    let program = desk.program("circleci", &desk.prints(&desk.token("github")));
    granted(&desk, &env, &format!("CircleCI, {program} run oidc get"));
    assert_eq!(
        desk.args(),
        format!("run oidc get --claims {{\"aud\":\"{}\"}}", desk.url)
    );
}

#[test]
fn takes_the_token_of_a_terraform_run() {
    let desk = Desk::new();
    let token = desk.token("github");
    let env = [
        ("TFC_RUN_ID", "run-1"),
        ("TFC_WORKLOAD_IDENTITY_TOKEN", token.as_str()),
    ];
    granted(&desk, &env, "Terraform Cloud, TFC_WORKLOAD_IDENTITY_TOKEN");
    let ours = desk.token("github");
    let env = [
        env.as_slice(),
        &[("TFC_WORKLOAD_IDENTITY_TOKEN_STINT", &ours)],
    ]
    .concat();
    granted(
        &desk,
        &env,
        "Terraform Cloud, TFC_WORKLOAD_IDENTITY_TOKEN_STINT",
    );
}

#[test]
fn asks_googles_metadata_server() {
    let desk = Desk::new();
    let google = Metadata::start(200, &desk.token("github"));
    let env = [("GCE_METADATA_HOST", google.address.as_str())];
    granted(&desk, &env, "Google, the metadata server at 127.0.0.1");
    let asked = google.heard();
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let line = format!("GET {path}?audience={}&format=full ", desk.encoded());
    assert!(asked.starts_with(&line), "{asked}");
    assert!(asked.contains("metadata-flavor: Google\r\n"), "{asked}");
}

#[test]
fn asks_azures_identity_endpoints() {
    let desk = Desk::new();
    let answer = |token: &str| format!(r#"{{"access_token":"{token}","expires_in":"86399"}}"#);
    let service = Metadata::start(200, &answer(&desk.token("github")));
    let url = format!("http://{}/msi/token", service.address);
    let env = [
        ("IDENTITY_ENDPOINT", url.as_str()),
        ("IDENTITY_HEADER", "h-secret"),
        ("AZURE_CLIENT_ID", "c-1"),
    ];
    granted(&desk, &env, "Azure, the managed identity at 127.0.0.1");
    let asked = service.heard();
    let query = format!(
        "api-version=2019-08-01&resource={}&client_id=c-1",
        desk.encoded()
    );
    assert!(
        asked.starts_with(&format!("GET /msi/token?{query} ")),
        "{asked}"
    );
    assert!(asked.contains("x-identity-header: h-secret\r\n"), "{asked}");

    let machine = Metadata::start(200, &answer(&desk.token("github")));
    let url = format!("http://{}/", machine.address);
    let env = [
        ("STINT_TOKEN_SOURCE", "azure"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url),
    ];
    granted(&desk, &env, "Azure, the managed identity at 127.0.0.1");
    let asked = machine.heard();
    let query = format!("api-version=2018-02-01&resource={}", desk.encoded());
    let line = format!("GET /metadata/identity/oauth2/token?{query} ");
    assert!(asked.starts_with(&line), "{asked}");
    assert!(asked.contains("metadata: true\r\n"), "{asked}");
}

#[test]
fn asks_the_command_line_of_aws() {
    let desk = Desk::new();
    let program = desk.program("aws", &desk.prints(&desk.token("github")));
    let from = format!("AWS, {program} sts get-web-identity-token");
    granted(&desk, &[("AWS_LAMBDA_FUNCTION_NAME", "f")], &from);
    let rest =
        "--signing-algorithm ES384 --duration-seconds 300 --query WebIdentityToken --output text";
    assert_eq!(
        desk.args(),
        format!("sts get-web-identity-token --audience {} {rest}", desk.url)
    );
    // Credentials alone do not make a desk a job.
    let said = desk.run(&[("AWS_PROFILE", "dev"), ("AWS_ACCESS_KEY_ID", "A")]);
    assert_eq!(said.code, 4);
    assert!(said.line("error").starts_with("no evidence found"));
}

/// GitLab gives a job one token: the job's next command proves the same key, and nobody else does.
#[test]
fn a_token_that_comes_again_keeps_its_key() {
    let desk = Desk::new();
    let token = desk.token("gitlab");
    let env = [("GITLAB_CI", "true"), ("STINT_ID_TOKEN", token.as_str())];
    let ask = || desk.verb(&["can", "deploy", "Environment::staging/web"], &env);
    // The sample policies give GitLab nothing; spending the token is what matters here.
    let spend = |env: &[(&str, &str)]| desk.run(env).code;
    assert_eq!(ask().code, 3);
    assert_eq!((spend(&env), spend(&env)), (3, 3));

    let keys = desk.keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mode = fs::metadata(&keys[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let elsewhere = desk.elsewhere();
    let stranger = [env.as_slice(), &[("XDG_RUNTIME_DIR", elsewhere.as_str())]].concat();
    let said = desk.run(&stranger);
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.line("error").contains(" (err_"), "{}", said.err);
    assert!(said.line("look").contains("used before"), "{}", said.err);
}

/// A metadata server may hand out the token it has: the key goes with the token, not with the command.
#[test]
fn a_repeated_answer_keeps_its_key_too() {
    let desk = Desk::new();
    let google = Metadata::start(200, &desk.token("gitlab"));
    let env = [("GCE_METADATA_HOST", google.address.as_str())];
    assert_eq!((desk.run(&env).code, desk.run(&env).code), (3, 3));
    assert_eq!(desk.keys().len(), 1);
    // Where every call brings a new one, no key touches a file.
    let other = Desk::new();
    other.program("buildkite-agent", &other.prints(&other.token("github")));
    assert_eq!(other.run(&[("BUILDKITE", "true")]).code, 0);
    assert_eq!(other.keys(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn can_and_whoami_say_which_source() {
    let desk = Desk::new();
    let token = desk.token("github");
    let env = [("STINT_ID_TOKEN", token.as_str())];
    for args in [
        &["whoami"][..],
        &["can", "deploy", "Environment::staging/web"],
    ] {
        let said = desk.verb(args, &env);
        assert_eq!(said.err, "evidence  STINT_ID_TOKEN\n");
    }
}
