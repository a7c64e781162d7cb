//! `stint can`: what an ask would become. Nothing happens, nothing is recorded.

use serde_json::json;
use stint_wire::{DecisionReceipt, Outcome};

use crate::args::{Can, Format};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::Settings;
use crate::words;

/// Prints the decision receipt; the outcome is the exit code.
///
/// # Errors
/// As the call.
pub(crate) fn can(args: &Can, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let kind = session::kind(args.credential, args.audience.as_ref())?;
    let mut ask = session::ask(&args.ask, settings, kind, args.audience.as_ref())?;
    session::give_key(&mut ask)?;
    let client = settings.client()?;
    let source = settings.source(&args.ask.evidence)?;
    output.talk("evidence", source.describe());
    let session = session::open_on(&client, source, &args.ask.evidence)?;
    let dry_run = session::block_on(async { Ok(session.can(&ask).await?) })?;
    if args.format.format == Some(Format::Json) {
        let json = json!({"schema": "stint.decision/v1", "outcome": dry_run.outcome, "decision_receipt": dry_run.decision_receipt});
        output.data(format!("{json}\n"))?;
    } else {
        let receipt = dry_run.receipt().unwrap_or_default();
        let mut lines = vec![headline(dry_run.outcome, &receipt)];
        lines.extend(words::receipt_lines(&receipt));
        output.answer(&lines)?;
    }
    Ok(match dry_run.outcome {
        Outcome::Deny => Exit::Denied,
        Outcome::Hold => Exit::Pending,
        Outcome::Permit => Exit::Ok,
    })
}

fn headline(outcome: Outcome, receipt: &DecisionReceipt) -> (&'static str, String) {
    match (outcome, receipt.why.as_deref()) {
        (Outcome::Deny, Some(why)) => ("denied", format!("this ask would be denied now ({why})")),
        (Outcome::Deny, None) => ("denied", "this ask would be denied now".to_owned()),
        (Outcome::Hold, _) => ("hold", "this ask would wait for people".to_owned()),
        (Outcome::Permit, _) => ("permit", "this ask would be granted now".to_owned()),
    }
}
