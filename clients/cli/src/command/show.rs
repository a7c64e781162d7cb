//! `stint show`: what became of a request, or the entry of any other id that is ours.

use super::wait;
use crate::args::{Format, Shown};
use crate::exit::Exit;
use crate::hold;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::Settings;

/// Prints a request, or the receipt of an entry with its header.
///
/// # Errors
/// As the call: what is somebody else's is not found.
pub(crate) fn show(args: &Shown, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    if !args.id.starts_with("req_") {
        let client = settings.client()?;
        let session = session::open(&client, settings, &args.evidence, output)?;
        let receipt = session::block_on(async { Ok(session.receipt(&args.id).await?) })?;
        output.data(receipt)?;
        return Ok(Exit::Ok);
    }
    let view = wait::look(&args.id, &args.evidence, settings)?;
    if args.format.format == Some(Format::Json) {
        output.json("stint.request/v1", &view)?;
    } else {
        output.answer(&hold::request_lines(&view))?;
    }
    Ok(Exit::Ok)
}
