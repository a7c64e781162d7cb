//! `signature`, `witnesses` and `fresh`: who signed the checkpoint, who saw it, and when.

use super::Options;
use super::report::{Check, Name, Verdict, moment};
use super::walk::Walked;
use crate::note::{Note, NoteError, VerifierKey};
use crate::trust::{Evaluation, Witness};

/// How far ahead of the auditor's clock another may be, milliseconds (LEDGER.md §11).
const MAX_AHEAD: u64 = 5 * 60 * 1_000;

/// Cosignatures, as the auditor's own trust file sees them.
type Witnessed<'a> = Result<Evaluation<'a>, NoteError>;

/// A key of the log that the auditor pinned, or that one of those handed over to, signed the checkpoint.
pub(super) fn signature(note: &Note, log: &str, keys: &[VerifierKey]) -> Verdict {
    let mut check = Check::default();
    match note.verify(keys) {
        Err(error) => check.fail(None, error.to_string()),
        Ok(_) if keys.is_empty() => {
            check.doubt(None, format!("no pinned key of {log}: give one with --key"));
        }
        Ok(signers) if signers.is_empty() => {
            check.doubt(None, format!("not signed by the pinned key of {log}"));
        }
        Ok(_) => {}
    }
    check.verdict(
        Name::Signature,
        format!("signed by the pinned key of {log}"),
    )
}

/// The quorum of the auditor's trust file.
pub(super) fn witnesses(witnessed: Option<&Witnessed<'_>>, options: &Options) -> Verdict {
    let mut check = Check::default();
    let mut text = String::new();
    match witnessed {
        None => {
            let text = "no trust file says who the witnesses are: give one with --trust";
            return Verdict::open(Name::Witnesses, options.unasked(), text);
        }
        Some(Err(error)) => check.fail(None, error.to_string()),
        Some(Ok(found)) if found.met => text = cosigned(found),
        Some(Ok(found)) => {
            let text = format!(
                "the quorum is not met: {}, and not {}",
                cosigned(found),
                names(&found.missing)
            );
            check.doubt(None, text);
        }
    }
    check.verdict(Name::Witnesses, text)
}

fn cosigned(found: &Evaluation<'_>) -> String {
    let of = found.by.len() + found.missing.len();
    let mut text = format!("{} of {of} witnesses cosigned", found.by.len());
    if !found.by.is_empty() {
        text.push_str(": ");
        text.push_str(&names(&found.by));
    }
    if !found.beside.is_empty() {
        text.push_str("; beside the quorum: ");
        text.push_str(&names(&found.beside));
    }
    text
}

fn names(witnesses: &[&Witness]) -> String {
    let names: Vec<_> = witnesses.iter().map(|one| one.name.as_str()).collect();
    names.join(", ")
}

/// The newest cosignature, else the last entry, is not older than asked for.
pub(super) fn fresh(
    witnessed: Option<&Witnessed<'_>>,
    walked: &Walked<'_>,
    options: &Options,
) -> Verdict {
    let mut check = Check::default();
    let Some(max_age) = options.max_age else {
        return Verdict::open(Name::Fresh, options.unasked(), "no greatest age was given");
    };
    let newest = witnessed.and_then(|it| it.as_ref().ok()?.newest);
    let cosigned = newest.map(|seconds| seconds.saturating_mul(1_000));
    let Some(last) = cosigned.or(walked.last_ts) else {
        let text = "nothing in the bundle tells how old it is".to_owned();
        check.doubt(None, text);
        return check.verdict(Name::Fresh, String::new());
    };
    let what = match cosigned {
        Some(_) => "the newest cosignature",
        None => "the last entry",
    };
    let when = moment(last);
    if last > options.now.saturating_add(MAX_AHEAD) {
        let text = format!("{what} is of {when}, which is still to come");
        match cosigned {
            Some(_) => check.fail(None, text),
            None => check.doubt(None, text),
        }
    } else if options.now.saturating_sub(last) > max_age {
        let text = format!("{what} is of {when}, older than asked for");
        check.doubt(None, text);
    }
    let text = match cosigned {
        Some(_) => format!("{what} is of {when}"),
        None => format!("{what} is of {when}; no witness vouches for the time"),
    };
    check.verdict(Name::Fresh, text)
}
