//! `stint help` and `stint completion`: from the same definitions the program runs on.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::{Args, Topic};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::{ENV_HELP, sources_help};

/// Prints a topic, or the usage.
///
/// # Errors
/// If stdout takes no more.
pub(crate) fn help(topic: Option<Topic>, output: &Output) -> Result<Exit, Failure> {
    match topic {
        Some(Topic::Env) => output.data(columns(ENV_HELP))?,
        Some(Topic::ExitCodes) => output.data(columns(Exit::HELP))?,
        Some(Topic::Sources) => output.data(columns(&sources_help()))?,
        None => output.data(Args::command().render_long_help().to_string())?,
    }
    Ok(Exit::Ok)
}

/// Prints a completion script.
///
/// # Errors
/// If stdout takes no more.
pub(crate) fn completion(shell: Shell, output: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "stint", &mut script);
    output.data(script)?;
    Ok(Exit::Ok)
}

/// Lines of `name TAB text` as two columns.
fn columns(text: &str) -> String {
    let rows: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, text)| format!("{name:<width$}  {text}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Exit, columns};

    #[test]
    fn every_exit_code_has_its_line() {
        let text = columns(Exit::HELP);
        assert!(text.starts_with("0    done\n"), "{text}");
        assert!(text.contains("127  `run`: no such command\n"), "{text}");
    }
}
