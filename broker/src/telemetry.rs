//! Where events go: stderr, as text on a terminal and as JSON elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogFormat, Telemetry};

/// Sends the events of this process to stderr. Called once, by main.
///
/// # Errors
/// When `log` is no filter.
pub fn install(telemetry: &Telemetry) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(&telemetry.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let json = match telemetry.log_format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.compact().with_target(false).init();
    }
    Ok(())
}
