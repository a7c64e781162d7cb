//! `stint`, for everyone who asks: pipelines, agents, people and auditors.

use std::process::ExitCode;

fn main() -> ExitCode {
    stint_cli::main()
}
