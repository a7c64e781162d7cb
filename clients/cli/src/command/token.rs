//! `stint token`: one JWT on stdout.

use stint_wire::Credential;

use crate::args::{Format, Kind, TokenArgs};
use crate::exit::Exit;
use crate::hold::Patience;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::Settings;

/// Prints the token and nothing else.
///
/// # Errors
/// As the ask.
pub(crate) fn token(
    args: &TokenArgs,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let ask = session::ask(&args.ask, settings, Kind::Jwt, Some(&args.audience))?;
    let obtained = session::obtain(ask, &args.ask.evidence, (settings, output), Patience::None)?;
    match (&obtained.granted.credential, args.format.format) {
        (_, Some(Format::Json)) => output.data(obtained.json()?)?,
        (Credential::Jwt { token, .. }, _) => output.data(format!("{}\n", token.expose()))?,
        (Credential::X509 { .. }, _) => {
            return Err(Failure::new(
                Exit::Bug,
                "the broker answered with a certificate",
            ));
        }
    }
    Ok(Exit::Ok)
}
