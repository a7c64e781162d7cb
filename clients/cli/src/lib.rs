//! The command line of Stint (UX.md §1 to §3, §9).
//!
//! Raw words ([`args`]) become checked settings ([`settings`], the only reader of the environment); one function per
//! verb (`command/`) does the work; one door ([`output`]) lets text out: stdout is data, stderr is talk. A failure
//! knows its exit code ([`exit`]) and the next step. `run` is [`supervise`] over files in a [`workspace`].

mod args;
mod browser;
mod bundle;
mod clock;
mod command;
mod draft;
mod exit;
mod hold;
mod output;
mod person;
mod pins;
mod replay;
mod session;
mod settings;
mod words;

pub mod supervise;
pub mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::exit::Exit;
use crate::output::Output;

/// Reads the arguments, runs the verb, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return if error.print().is_ok() {
                exit.into()
            } else {
                Exit::Bug.into()
            };
        }
    };
    let output = Output::new(&args.global);
    command::dispatch(args, &output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit.into()
    })
}
