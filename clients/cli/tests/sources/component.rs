//! The GitLab component (clients/gitlab-component), as GitLab renders it and a runner executes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::desk::{Desk, stint};

/// The template with these inputs: GitLab puts text for text, and refuses inputs that are missing or unknown.
struct Rendered {
    job: String,
}

impl Rendered {
    fn with(inputs: &[(&str, &str)]) -> Rendered {
        let (spec, job) = template();
        let known = known(&spec);
        let mut job = job;
        for (name, _) in inputs {
            assert!(known.contains_key(*name), "no input {name}");
        }
        for (name, default) in &known {
            let given = inputs.iter().find(|(given, _)| given == name);
            let value = given.map(|(_, value)| (*value).to_owned());
            let value = value
                .or(default.clone())
                .unwrap_or_else(|| panic!("{name} is missing"));
            job = job.replace(&format!("$[[ inputs.{name} ]]"), &value);
        }
        assert!(!job.contains("$[["), "{job}");
        Rendered { job }
    }

    /// The lines below `key`, less their indent.
    fn below(&self, key: &str) -> Vec<&str> {
        let mut lines = self.job.lines();
        let head = lines.find(|line| line.trim_start() == key);
        let indent = head
            .unwrap_or_else(|| panic!("no {key}"))
            .find(key)
            .unwrap();
        let deeper = |line: &&str| line.trim().is_empty() || line.find(|c| c != ' ') > Some(indent);
        let block: Vec<_> = lines.take_while(deeper).collect();
        let next = block.iter().filter_map(|line| line.find(|c| c != ' '));
        let next = next.min().unwrap_or(0);
        block
            .into_iter()
            .map(|line| line.get(next..).unwrap_or_default())
            .collect()
    }

    /// The job's variables: `NAME:`, `  value: |-`, `    TEXT`, `  expand: false`.
    fn variables(&self) -> BTreeMap<String, String> {
        let lines = self.below("variables:");
        let variable = |lines: &[&str]| {
            let &[name, "  value: |-", text, "  expand: false"] = lines else {
                panic!("{lines:?}");
            };
            (
                name.trim_end_matches(':').to_owned(),
                text.trim().to_owned(),
            )
        };
        lines.chunks(4).map(variable).collect()
    }

    fn script(&self) -> String {
        self.below("- |")
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// What a runner does: variables and the job's token, then the script in a shell that stops at a failure.
    fn run(&self, desk: &Desk, token: &str) -> Output {
        assert_eq!(
            self.below("STINT_ID_TOKEN:"),
            [format!("aud: {}", desk.url)]
        );
        let programs = Path::new(&stint()).parent().unwrap().display().to_string();
        Command::new("sh")
            .args(["-e", "-c", &self.script()])
            .env_clear()
            .env("PATH", format!("{programs}:/usr/bin:/bin"))
            .env("XDG_RUNTIME_DIR", desk.memory())
            .envs([("GITLAB_CI", "true"), ("STINT_ID_TOKEN", token)])
            .envs(self.variables())
            .current_dir(desk.path("bin"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn template() -> (String, String) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../gitlab-component/templates/stint.yml"
    );
    let text = fs::read_to_string(path).unwrap();
    let (spec, job) = text.split_once("\n---\n").unwrap();
    (spec.to_owned(), job.to_owned())
}

/// Every input of the `spec`, with its default if it has one.
fn known(spec: &str) -> BTreeMap<String, Option<String>> {
    let mut inputs = BTreeMap::new();
    let mut name = String::new();
    for line in spec.lines() {
        match line
            .strip_prefix("    ")
            .map(|rest| (rest.starts_with(' '), rest.trim()))
        {
            Some((false, rest)) => {
                rest.trim_end_matches(':').clone_into(&mut name);
                inputs.insert(name.clone(), None);
            }
            Some((true, rest)) => {
                if let Some(value) = rest.strip_prefix("default: ") {
                    inputs.insert(name.clone(), Some(value.trim_matches('"').to_owned()));
                }
            }
            None => {}
        }
    }
    inputs
}

const DEPLOYS: &str = r#"@id("gitlab-deploys") @owner("Group::\"release\"") @max_ttl("30m") @credential("x509,jwt")
permit (principal is Stint::Workload, action == Action::"deploy", resource in Environment::"staging")
when { context has gitlab && context.gitlab.project_id == "20" };
"#;

fn inputs<'a>(desk: &'a Desk, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("url", desk.url.as_str()),
        ("image", "registry.acme.dev/deploy"),
        ("action", "deploy"),
    ];
    [usual.as_slice(), more].concat()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_job_runs_its_command_with_a_certificate() {
    let desk = Desk::with_policy("gitlab.cedar", DEPLOYS);
    let job = Rendered::with(&inputs(
        &desk,
        &[
            ("resources", "Environment::staging/web"),
            ("ttl", "5m"),
            ("reason", "it's $HOME: \"v2\" # 3"),
            (
                "command",
                "head -n 1 \"$STINT_CERT_FILE\"; echo \"it's $STINT_REASON\"; ls \"$STINT_DIR\"",
            ),
        ],
    ));
    let output = job.run(&desk, &desk.token("gitlab"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(
        out.starts_with("-----BEGIN CERTIFICATE-----\nit's it's $HOME: \"v2\" # 3\n"),
        "{out}"
    );
    assert!(
        out.ends_with("bundle.pem\ncert.pem\nexpires_at\nkey.pem\n"),
        "{out}"
    );
    assert!(
        err.contains("granted   gr_") && err.contains("(in 5 min)"),
        "{err}"
    );
    assert!(!err.contains("eyJ"), "{err}");
}

#[test]
fn a_job_runs_its_command_with_a_token() {
    let desk = Desk::with_policy("gitlab.cedar", DEPLOYS);
    let job = Rendered::with(&inputs(
        &desk,
        &[
            ("resources", "Environment::staging Environment::staging/web"),
            ("audience", "https://registry.acme.dev"),
            ("command", "cut -c 1-3 \"$STINT_JWT_FILE\"; exit 7"),
        ],
    ));
    let output = job.run(&desk, &desk.token("gitlab"));
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "eyJ\n");
}

#[test]
fn a_job_that_is_denied_runs_nothing() {
    let desk = Desk::with_policy("gitlab.cedar", DEPLOYS);
    let job = |resources| {
        let more = [("resources", resources), ("command", "touch ran")];
        Rendered::with(&inputs(&desk, &more)).run(&desk, &desk.token("gitlab"))
    };
    for (resources, code) in [
        ("Environment::prod/web", 3),
        ("Environment::staging/web Environment::prod/web", 3),
        ("*", 2),
        ("$(touch ran)", 2),
    ] {
        let output = job(resources);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{resources}: {}",
            text(&output.stderr)
        );
        assert!(!desk.path("bin/ran").exists(), "{resources}");
    }
}

/// The token a job does not declare is missed in words that name it.
/// What is put into a text can be more of it.
#[test]
fn an_input_is_one_line() {
    let (spec, _) = template();
    let refused = spec.matches(r"      regex: '^[^\r\n\x{85}\x{2028}\x{2029}]*$'");
    assert_eq!(refused.count(), known(&spec).len());
}

#[test]
fn a_job_without_the_token_reads_what_to_add() {
    let desk = Desk::with_policy("gitlab.cedar", DEPLOYS);
    let more = [
        ("resources", "Environment::staging/web"),
        ("command", "true"),
    ];
    let output = Rendered::with(&inputs(&desk, &more)).run(&desk, "");
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("id_tokens:"),
        "{}",
        text(&output.stderr)
    );
}
