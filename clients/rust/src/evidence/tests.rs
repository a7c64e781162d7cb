//! The search as a table: what is in the environment, and what it finds or misses.

use std::collections::BTreeMap;

use super::platform::Env;
use super::{Source, SourceError, kubernetes};

fn detect(env: &[(&str, &str)]) -> Result<Source, SourceError> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    Source::detect(|name| env.get(name).map(|&value| value.to_owned()))
}

fn found(env: &[(&str, &str)]) -> String {
    detect(env).unwrap().describe()
}

fn refused(env: &[(&str, &str)]) -> String {
    detect(env).unwrap_err().to_string()
}

const GITHUB: [(&str, &str); 2] = [
    ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://gh/x?a=1"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
];

#[test]
fn takes_the_first_that_is_there() {
    let and = |more: &[(&'static str, &'static str)]| [GITHUB.as_slice(), more].concat();
    assert_eq!(found(&GITHUB), "GitHub Actions, asking gh");
    assert_eq!(
        found(&and(&[("STINT_ID_TOKEN", "a.b.c")])),
        "STINT_ID_TOKEN"
    );
    assert_eq!(
        found(&[("STINT_ID_TOKEN_FILE", "/t"), ("STINT_ID_TOKEN", "a.b.c")]),
        "file /t"
    );
    assert_eq!(
        found(&and(&[("STINT_ID_TOKEN", "")])),
        "GitHub Actions, asking gh"
    );
    assert_eq!(
        found(&and(&[
            ("K_SERVICE", "s"),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        ])),
        "GitHub Actions, asking gh"
    );
}

#[test]
fn a_name_beats_what_would_be_found() {
    let named = |name| [GITHUB.as_slice(), &[("STINT_TOKEN_SOURCE", name)]].concat();
    assert_eq!(
        found(&named("google")),
        "Google, the metadata server at 169.254.169.254"
    );
    assert_eq!(
        found(&named("azure")),
        "Azure, the managed identity at 169.254.169.254"
    );
    assert!(refused(&named("spiffe")).contains("SPIFFE_ENDPOINT_SOCKET=unix:"));
    assert_eq!(
        refused(&named("jenkins")),
        "STINT_TOKEN_SOURCE is `jenkins`; it can be github-actions, gitlab-ci, kubernetes, buildkite, circleci, \
         terraform-cloud, spiffe, google, azure or aws"
    );
}

#[test]
fn finds_each_platform_by_its_own_variables() {
    for (env, expected) in [
        (
            [
                ("TFC_RUN_ID", "run-1"),
                ("TFC_WORKLOAD_IDENTITY_TOKEN", "a.b.c"),
            ]
            .as_slice(),
            "Terraform Cloud, TFC_WORKLOAD_IDENTITY_TOKEN",
        ),
        (
            &[
                ("TFC_WORKLOAD_IDENTITY_TOKEN", "x.y.z"),
                ("TFC_WORKLOAD_IDENTITY_TOKEN_STINT", "a.b.c"),
            ],
            "Terraform Cloud, TFC_WORKLOAD_IDENTITY_TOKEN_STINT",
        ),
        (
            &[("GITLAB_CI", "true"), ("STINT_ID_TOKEN", "a.b.c")],
            "GitLab CI, STINT_ID_TOKEN",
        ),
        (
            &[("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock")],
            "SPIFFE Workload API, /run/agent.sock",
        ),
        (
            &[("SPIFFE_ENDPOINT_SOCKET", "unix:/run/agent.sock")],
            "SPIFFE Workload API, /run/agent.sock",
        ),
        (
            &[("K_SERVICE", "shop")],
            "Google, the metadata server at 169.254.169.254",
        ),
        (
            &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"),
                ("IDENTITY_HEADER", "s"),
            ],
            "Azure, the managed identity at 127.0.0.1",
        ),
    ] {
        assert_eq!(found(env), expected, "{env:?}");
    }
}

#[test]
fn says_what_a_half_set_up_job_lacks() {
    let url = ("STINT_URL", "https://s/");
    for (env, expected) in [
        ([url, ("GITHUB_ACTIONS", "true")], "id-token: write"),
        ([url, ("GITLAB_CI", "true")], "aud: https://s"),
        ([url, ("BUILDKITE", "true")], "mount-buildkite-agent: true"),
        (
            [url, ("CIRCLECI", "true")],
            r#"--claims '{"aud":"https://s"}'"#,
        ),
        (
            [url, ("TFC_RUN_ID", "run-1")],
            "TFC_WORKLOAD_IDENTITY_AUDIENCE=https://s",
        ),
        (
            [url, ("AWS_LAMBDA_FUNCTION_NAME", "f")],
            "get-web-identity-token --audience https://s",
        ),
        (
            [url, ("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
            "audience: \"https://s\"",
        ),
    ] {
        let error = detect(&env).unwrap_err();
        assert!(matches!(error, SourceError::HalfSetUp { .. }), "{env:?}");
        let text = error.to_string();
        assert!(text.lines().any(|line| line.contains(expected)), "{text}");
    }
    assert!(matches!(detect(&[]), Err(SourceError::None)));
}

/// A job without its token does not go on under the name of the machine below it.
#[test]
fn half_set_up_ends_the_search() {
    let machine = [
        ("GCE_METADATA_HOST", "127.0.0.1:1"),
        ("SPIFFE_ENDPOINT_SOCKET", "unix:///s"),
    ];
    for job in [
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "BUILDKITE",
        "CIRCLECI",
        "TFC_RUN_ID",
    ] {
        let env = [machine.as_slice(), &[(job, "true")]].concat();
        assert!(
            matches!(detect(&env), Err(SourceError::HalfSetUp { .. })),
            "{job}"
        );
    }
}

#[test]
fn sends_a_secret_to_no_plain_host_far_away() {
    let github = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://gh.example/x"),
        GITHUB[1],
    ];
    assert!(refused(&github).contains("neither https"));
    for bad in [
        "http://azure.example/x",
        "http://8.8.8.8/x",
        "ftp://127.0.0.1/",
    ] {
        let azure = [("IDENTITY_ENDPOINT", bad), ("IDENTITY_HEADER", "s")];
        assert!(refused(&azure).contains("neither https"), "{bad}");
    }
    for bad in ["metadata.example", "8.8.8.8", "127.0.0.1@evil.example"] {
        let google = [("GCE_METADATA_HOST", bad)];
        assert!(refused(&google).contains("no metadata server"), "{bad}");
    }
    let spiffe = [("SPIFFE_ENDPOINT_SOCKET", "tcp://10.0.0.1:8081")];
    assert!(refused(&spiffe).contains("not unix:"));
}

#[test]
fn a_token_is_visible_ascii_with_nothing_around_it() {
    let once = |text: &str| Source::once(text, "here");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let token = runtime.block_on(once(" a.b.c\r\n").unwrap().token("any"));
    assert_eq!(token.unwrap().expose(), "a.b.c");
    for bad in ["", "  ", "a b", "a\nb", "é"] {
        assert!(
            matches!(once(bad), Err(SourceError::NotAToken(_))),
            "{bad:?}"
        );
    }
    assert!(once(&"a".repeat(16 * 1024 + 1)).is_err());
}

#[test]
fn what_a_platform_repeats_is_told() {
    let repeats = |env: &[(&str, &str)]| detect(env).unwrap().repeats();
    assert!(!repeats(&GITHUB));
    assert!(repeats(&[("STINT_ID_TOKEN", "a.b.c")]));
    assert!(repeats(&[("STINT_ID_TOKEN_FILE", "/t")]));
    assert!(repeats(&[("K_SERVICE", "s")]));
}

#[test]
fn a_pods_token_is_read_anew() {
    let folder = std::env::temp_dir().join(format!("stint-evidence-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("token");
    let none = |_: &str| None;
    assert!(kubernetes::at(&path, &Env::new(&none)).is_err());
    std::fs::write(&path, "a.b.c\n").unwrap();
    let source = kubernetes::at(&path, &Env::new(&none)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let token = || runtime.block_on(source.token("any")).unwrap().into_inner();
    assert_eq!(token(), "a.b.c");
    std::fs::write(&path, "d.e.f\n").unwrap();
    assert_eq!(token(), "d.e.f");
    assert!(source.describe().starts_with("Kubernetes, "));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_program_is_looked_for_on_absolute_paths() {
    let here = env!("CARGO_MANIFEST_DIR");
    let find = |path: &str| {
        let env = |name: &str| (name == "PATH").then(|| path.to_owned());
        Env::new(&env).program("Cargo.toml")
    };
    assert_eq!(
        find(&format!("/none:{here}")),
        Some(format!("{here}/Cargo.toml").into())
    );
    for relative in [".", "", "::", "/none"] {
        assert_eq!(find(relative), None, "{relative}");
    }
}
