//! Runs a command the way `stint run` does, around files that are ready: `supervise BASE NAME=CONTENT… -- CMD…`.
//! No broker, no credential. The tests of the supervisor drive it as a process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use stint_cli::supervise::Supervisor;
use stint_cli::workspace::Base;

fn main() -> std::io::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let base = PathBuf::from(args.next().unwrap_or_default());
    let files: Vec<String> = args
        .by_ref()
        .take_while(|arg| arg != "--")
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let argv: Vec<OsString> = args.collect();

    let supervisor = Supervisor::new()?;
    let mut workspace = Base::choose(&[base])?.workspace()?;
    workspace.write(
        &files
            .iter()
            .filter_map(|file| file.split_once('='))
            .collect::<Vec<_>>(),
    )?;
    let (program, rest) = argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(rest).env("STINT_DIR", workspace.dir());
    let ended = supervisor.run(command);
    drop(workspace);
    Ok(ended?.leave())
}
