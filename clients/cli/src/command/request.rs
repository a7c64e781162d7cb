//! `stint request`: people are asked, and nothing is run or minted. The same ask comes back for the answer.

use stint_client::Outcome;
use stint_wire::Outcome as Decided;

use crate::args::{AskOnly, Format};
use crate::exit::Exit;
use crate::hold;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::Settings;

/// Opens the request, or finds it. What needs nobody's word is only said: a credential without a command is `cert`'s.
///
/// # Errors
/// As the calls; exit 3 if it is denied.
pub(crate) fn request(
    args: &AskOnly,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let kind = session::kind(args.credential, args.audience.as_ref())?;
    let mut ask = session::ask(&args.ask, settings, kind, args.audience.as_ref())?;
    // The key is not part of what is asked for: whoever comes back brings one of his own.
    session::give_key(&mut ask)?;
    let client = settings.client()?;
    let session = session::open(&client, settings, &args.ask.evidence, output)?;
    let outcome = session::block_on(async {
        // Asked first what it would be, so that nothing is minted that nobody holds the key of.
        match session.can(&ask).await?.outcome {
            Decided::Permit => Ok(None),
            Decided::Deny | Decided::Hold => Ok(Some(session.grant(&ask).await?)),
        }
    })?;
    match outcome {
        Some(Outcome::Held(pending)) => {
            let held = pending.held();
            if args.format.format == Some(Format::Json) {
                output.json("stint.request/v1", held)?;
            } else {
                let mut lines = hold::opening(held);
                lines.push(("next", format!("stint wait {}", held.request)));
                output.answer(&lines)?;
            }
        }
        None | Some(Outcome::Granted(_)) => {
            let text = "this ask needs nobody's word: it would be granted now".to_owned();
            output.answer(&[("permit", text)])?;
        }
    }
    Ok(Exit::Ok)
}
