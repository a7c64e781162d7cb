//! `stint run`: evidence, ask, files, command; then out of the way (UX.md §2).

use std::io::ErrorKind;
use std::process::{Command, ExitCode};

use stint_wire::Credential;

use crate::args;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::session::{self, Obtained};
use crate::settings::{self, Settings};
use crate::supervise::Supervisor;
use crate::workspace::Workspace;

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
    let obtained = session::obtain(ask, &args.ask.evidence, settings, output)?;

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
    output.detail("files", workspace.dir().display());

    let mut argv = args.command.into_iter();
    let program = argv.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(argv).envs(environment(&obtained, &workspace));
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

/// The documented variables, and no others (UX.md §2 item 6).
fn environment(obtained: &Obtained, workspace: &Workspace) -> Vec<(&'static str, String)> {
    let granted = &obtained.granted;
    let dir = workspace.dir();
    let file = |name: &str| dir.join(name).display().to_string();
    let mut variables = vec![
        ("STINT_GRANT", granted.grant.clone()),
        ("STINT_TASK", granted.task.clone()),
        ("STINT_DIR", dir.display().to_string()),
        ("STINT_EXPIRES_AT", granted.expires_at.clone()),
        ("STINT_BUNDLE_FILE", file("bundle.pem")),
    ];
    match granted.credential {
        Credential::Jwt { .. } => variables.push(("STINT_JWT_FILE", file("jwt"))),
        Credential::X509 { .. } => {
            variables.extend([
                ("STINT_CERT_FILE", file("cert.pem")),
                ("STINT_KEY_FILE", file("key.pem")),
            ]);
        }
    }
    variables
}
