//! A platform that is only half set up: what the job's author reads. Exit 4, and the very lines to add.

use crate::desk::Desk;
use crate::metadata::Metadata;

/// Each with what its error must hold, the broker's URL filled in for `URL`.
#[test]
fn prints_what_to_add() {
    let desk = Desk::new();
    for (env, platform, lines) in [
        (
            [("GITHUB_ACTIONS", "true")].as_slice(),
            "GitHub Actions",
            ["permissions:", "  id-token: write"].as_slice(),
        ),
        (
            &[("GITLAB_CI", "true")],
            "GitLab CI",
            &["id_tokens:", "  STINT_ID_TOKEN:", "    aud: URL"],
        ),
        (
            &[("STINT_TOKEN_SOURCE", "kubernetes")],
            "Kubernetes",
            &[
                "    - serviceAccountToken: { path: token, audience: \"URL\", expirationSeconds: 600 }",
                "- { name: stint, mountPath: /var/run/secrets/stint, readOnly: true }",
            ],
        ),
        (
            &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
            "Kubernetes",
            &["volumeMounts:"],
        ),
        (
            &[("BUILDKITE", "true")],
            "Buildkite",
            &["    mount-buildkite-agent: true"],
        ),
        (
            &[("CIRCLECI", "true")],
            "CircleCI",
            &["# or have circleci on PATH where stint runs"],
        ),
        // This one is for the organisation, and may open its clouds: a broker does not get to see it.
        (
            &[("CIRCLECI", "true"), ("CIRCLE_OIDC_TOKEN_V2", "a.b.c")],
            "CircleCI",
            &["# or have circleci on PATH where stint runs"],
        ),
        (
            &[("TFC_RUN_ID", "run-1")],
            "Terraform Cloud",
            &["TFC_WORKLOAD_IDENTITY_AUDIENCE=URL"],
        ),
        (
            &[("STINT_TOKEN_SOURCE", "spiffe")],
            "SPIFFE Workload API",
            &["export SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/sockets/agent.sock"],
        ),
        (
            &[("STINT_TOKEN_SOURCE", "aws"), ("PATH", "/none")],
            "AWS",
            &["export STINT_ID_TOKEN_FILE=$PWD/token"],
        ),
    ] {
        let said = desk.run(env);
        assert_eq!(said.code, 4, "{}", said.err);
        let expected = format!("{platform} is here, but gives this job no token");
        assert_eq!(said.line("error"), expected);
        for line in lines {
            let line = line.replace("URL", &desk.url);
            let shown = said.err.lines().filter_map(|shown| shown.get(10..));
            assert!(
                shown.into_iter().any(|shown| shown == line),
                "{line}\n{}",
                said.err
            );
        }
    }
}

/// The URL of the flag is the one that is filled in.
#[test]
fn fills_in_the_broker_that_is_meant() {
    let desk = Desk::new();
    let args = ["--url", "https://stint.acme.dev/", "whoami"];
    let said = desk.verb(&args, &[("GITLAB_CI", "true")]);
    assert!(
        said.err.contains("    aud: https://stint.acme.dev\n"),
        "{}",
        said.err
    );
}

#[test]
fn an_unknown_name_gets_the_known_ones() {
    let said = Desk::new().run(&[("STINT_TOKEN_SOURCE", "jenkins")]);
    assert_eq!(said.code, 4);
    let error = said.line("error");
    assert!(
        error.starts_with("STINT_TOKEN_SOURCE is `jenkins`; it can be github-actions, gitlab-ci")
    );
    assert!(error.ends_with("google, azure or aws"), "{error}");
}

/// A job that lacks its token does not go on under the name of the machine below it.
#[test]
fn does_not_fall_back_to_the_machine() {
    let desk = Desk::new();
    let google = Metadata::start(200, &desk.token("github"));
    let machine = ("GCE_METADATA_HOST", google.address.as_str());
    assert_eq!(desk.run(&[("GITLAB_CI", "true"), machine]).code, 4);
    assert_eq!(desk.run(&[machine]).code, 0);
}

#[test]
fn says_why_a_program_gave_nothing() {
    let desk = Desk::new();
    for (script, expected) in [
        (
            "echo first >&2; echo 'fatal: no such audience' >&2; exit 1",
            "Buildkite gave no token: fatal: no such audience",
        ),
        (
            "echo eyJhbGciOiJSUzI1NiJ9.secret >&2; exit 1",
            "Buildkite gave no token: it failed and does not say why",
        ),
        (
            "exit 3",
            "Buildkite gave no token: it failed and does not say why",
        ),
        ("true", "the answer of PROGRAM holds no token"),
        ("echo two words", "the answer of PROGRAM holds no token"),
        (
            "yes eyJ | head -c 200000",
            "the answer of PROGRAM holds no token",
        ),
    ] {
        let program = desk.program("buildkite-agent", script);
        let said = desk.run(&[("BUILDKITE", "true")]);
        assert_eq!(said.code, 4, "{script}");
        assert_eq!(
            said.line("error"),
            expected.replace("PROGRAM", &program),
            "{script}"
        );
        assert!(!said.err.contains("secret"), "{}", said.err);
    }
}

#[test]
fn says_why_a_server_gave_nothing() {
    let desk = Desk::new();
    let server = Metadata::start(404, "eyJ.not.found");
    let at = |name: &str| Metadata::start(200, name).address;
    let check = |env: &[(&str, &str)], expected: &str| {
        let said = desk.run(env);
        assert_eq!(said.code, 4, "{}", said.err);
        assert_eq!(said.line("error"), expected);
        assert!(!said.err.contains("eyJ"), "{}", said.err);
    };
    check(
        &[("GCE_METADATA_HOST", &server.address)],
        "Google gave no token: HTTP 404",
    );
    check(
        &[("GCE_METADATA_HOST", &at("no token"))],
        "the metadata server's answer holds no token",
    );
    check(
        &[("GCE_METADATA_HOST", "127.0.0.1:1")],
        "Google gave no token: it cannot be reached",
    );
    check(
        &[
            ("STINT_TOKEN_SOURCE", "azure"),
            (
                "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                &format!("http://{}", at("{}")),
            ),
        ],
        "Azure gave no token: its answer cannot be read",
    );
    check(
        &[
            (
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                &format!("http://{}/", server.address),
            ),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "eyJ.runner"),
        ],
        "GitHub Actions gave no token: HTTP 404",
    );
}
