//! `stint ledger`: verify a bundle and draw a sample of it, offline; fetch one, prove an entry and follow the log over
//! the operator's socket.

mod export;
mod sample;
mod socket;
mod tail;
mod tiles;
mod verify;

use crate::args::Ledger;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::Settings;

/// Runs the verb.
///
/// # Errors
/// Exit 2 for what cannot be read or written, 7 for a broker that does not answer.
pub(crate) fn ledger(verb: Ledger, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Ledger::Export(args) => session::block_on(export::export(args, settings, output)),
        Ledger::Prove(args) => session::block_on(export::prove(args, settings, output)),
        Ledger::Sample(args) => sample::sample(&args, settings, output),
        Ledger::Tail(args) => session::block_on(tail::tail(&args, settings, output)),
        Ledger::Verify(args) => verify::verify(&args, settings, output),
    }
}
