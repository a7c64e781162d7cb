//! `stint run`: evidence, ask, files, command; then out of the way (UX.md §2).

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use stint_wire::Credential;

use crate::args;
use crate::exit::Exit;
use crate::hold::Patience;
use crate::output::{Failure, Output};
use crate::session::{self, Obtained};
use crate::settings::{self, Settings};
use crate::supervise::Supervisor;

/// Runs the command and ends as it ended.
///
/// # Errors
/// Up to the command's start a code of UX.md §1.1; 125, 126 or 127 if it does not start.
pub(crate) fn run(
    args: args::Run,
    settings: &Settings,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let kind = session::kind(args.credential, args.audience.as_ref())?;
    let ask = session::ask(&args.ask, settings, kind, args.audience.as_ref())?;
    let base = settings::base()?;
    if !base.in_memory() {
        output.talk(
            "warning",
            format!(
                "{} is not in memory: keys touch the disk",
                base.path().display()
            ),
        );
    }
    let obtained = {
        let patience = match (args.no_wait, args.wait) {
            (true, _) => Patience::None,
            (false, Some(wait)) => Patience::For(Duration::from_secs(wait.as_u32().into())),
            (false, None) => Patience::WhileOpen,
        };
        session::obtain(ask, &args.ask.evidence, (settings, output), patience)?
    };

    let failed = |error: std::io::Error| {
        Failure::new(Exit::RunFailed, format!("cannot prepare the run: {error}"))
    };
    // From here on a signal waits for the command, so nothing is left behind.
    let supervisor = Supervisor::new().map_err(failed)?;
    let mut workspace = base.workspace().map_err(failed)?;
    let files = obtained.files();
    workspace
        .write(
            &files
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect::<Vec<_>>(),
        )
        .map_err(failed)?;
    for leftover in workspace.leftovers() {
        output.detail("warning", leftover);
    }
    output.detail("files", workspace.dir().display());

    let mut argv = args.command.into_iter();
    let program = argv.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(argv);
    for (name, value) in environment(&obtained, &workspace.dir()) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ended = supervisor.run(command);
    drop(workspace);
    let ended = ended.map_err(|error| {
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
                Exit::NotExecutable
            }
            // ENOEXEC, which has no kind of its own: no format this system executes.
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                Exit::NotExecutable
            }
            _ => Exit::RunFailed,
        };
        Failure::new(exit, format!("cannot run {}: {error}", program.display()))
    })?;
    Ok(ended.leave())
}

/// The documented variables, and no others (UX.md §2 item 6). `None` takes away what a run around this one set for the
/// other kind of credential.
fn environment(obtained: &Obtained, dir: &Path) -> Vec<(&'static str, Option<String>)> {
    let granted = &obtained.granted;
    let file = |name: &str| Some(dir.join(name).display().to_string());
    let (cert, key, jwt) = match granted.credential {
        Credential::Jwt { .. } => (None, None, file("jwt")),
        Credential::X509 { .. } => (file("cert.pem"), file("key.pem"), None),
    };
    vec![
        ("STINT_GRANT", Some(granted.grant.clone())),
        ("STINT_TASK", Some(granted.task.clone())),
        ("STINT_DIR", Some(dir.display().to_string())),
        ("STINT_EXPIRES_AT", Some(granted.expires_at.clone())),
        ("STINT_BUNDLE_FILE", file("bundle.pem")),
        ("STINT_CERT_FILE", cert),
        ("STINT_KEY_FILE", key),
        ("STINT_JWT_FILE", jwt),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::environment;
    use crate::session::Obtained;

    #[test]
    fn a_run_within_a_run_sees_no_files_of_the_other_kind() {
        let unset = |credential| {
            let granted = json!({
                "outcome": "permit", "grant": "gr_1", "task": "task_1", "decision": "dec_1", "request": null,
                "credential": credential, "not_before": "", "expires_at": "", "renew_after": "",
                "approval_ends_at": null, "trust_bundle": "", "policy_version": "", "ledger": {"seq": 1, "receipt": ""},
            });
            let granted = serde_json::from_value(granted).unwrap();
            let obtained = Obtained { granted, key: None };
            environment(&obtained, Path::new("/run"))
                .into_iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            unset(json!({"kind": "jwt", "token": "a.b.c", "audience": "a", "jti": "j"})),
            ["STINT_CERT_FILE", "STINT_KEY_FILE"]
        );
        assert_eq!(
            unset(
                json!({"kind": "x509", "certificate": "", "chain": [], "serial": "", "spiffe_id": ""})
            ),
            ["STINT_JWT_FILE"]
        );
    }
}
