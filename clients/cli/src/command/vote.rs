//! `stint approve` and `stint deny`: the vote is a passkey's, on the page this opens. Here it is waited for, and said what
//! became of it.

use std::time::Duration;

use reqwest::Url;
use stint_wire::{RequestState, RequestView};

use crate::args::{Approve, Deny};
use crate::exit::Exit;
use crate::hold::{self, Patience, Told, Waited};
use crate::output::{Failure, Output};
use crate::settings::Settings;
use crate::{browser, person, session};

/// Opens the page on which to say yes.
///
/// # Errors
/// Exit 4 if nobody is signed in, 5 if nobody has decided it in time, 6 if it ended otherwise.
pub(crate) fn approve(
    args: &Approve,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut words = vec![("vote", "yes".to_owned())];
    words.extend(args.ttl.map(|ttl| ("lasts_s", ttl.as_u32().to_string())));
    words.extend(args.note.clone().map(|note| ("note", note)));
    let view = decided(&args.request, (&words, args.no_browser), settings, output)?;
    match view.state {
        RequestState::Approved => Ok(Exit::Ok),
        RequestState::Pending => Err(hold::open(&view)),
        RequestState::Cancelled | RequestState::Denied | RequestState::Expired => {
            Err(hold::ended(&view))
        }
    }
}

/// Opens the page on which to say no.
///
/// # Errors
/// The same, the other way round.
pub(crate) fn deny(args: &Deny, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let words = [("vote", "no".to_owned()), ("note", args.reason.clone())];
    let view = decided(&args.request, (&words, args.no_browser), settings, output)?;
    match view.state {
        RequestState::Denied => Ok(Exit::Ok),
        RequestState::Pending => Err(hold::open(&view)),
        RequestState::Approved | RequestState::Cancelled | RequestState::Expired => {
            Err(hold::ended(&view))
        }
    }
}

/// Waits for the page's outcome: this person's vote, or a decision without it.
fn decided(
    request: &str,
    (words, no_browser): (&[(&str, String)], bool),
    settings: &Settings,
    output: &Output,
) -> Result<RequestView, Failure> {
    let client = settings.client()?;
    let person = person::signed_in(&client)?;
    let view = session::block_on(async { Ok(person.look(request, Duration::ZERO).await?) })?;
    output.answer(&hold::request_lines(&view))?;
    if let Some(why) = &view.cannot_because {
        let text = format!("you cannot decide {request}: {why}");
        return Err(Failure::new(Exit::Denied, text));
    }
    if view.state != RequestState::Pending {
        return Ok(view);
    }
    // What was typed here is on the page to be looked at; a link changes nothing by itself.
    let page = Url::parse_with_params(&view.approve_url, words);
    let page = page.map_or_else(|_no_url| view.approve_url.clone(), String::from);
    browser::show(&page, output);
    if !no_browser {
        browser::open(&page);
    }
    let votes = view.votes.len();
    let mut told = Told::seen(&view);
    let mut last = view;
    let patience = settings.patience.map_or(Patience::WhileOpen, Patience::For);
    let heard = |view: &RequestView| {
        for (word, text) in told.news(view) {
            output.talk(word, text);
        }
        last = view.clone();
    };
    let waited = session::block_on(hold::waited(person.wait(request, heard), patience))?;
    let view = match waited {
        Waited::Settled(view) => *view,
        Waited::Over => last,
        Waited::Interrupted | Waited::Terminated => {
            return Err(Failure {
                exit: Exit::Interrupted,
                lines: Vec::new(),
            });
        }
    };
    for vote in view.votes.iter().skip(votes) {
        let said = if vote.yes { "approved" } else { "denied" };
        let text = format!("by {} with a passkey; ledger entry {}", vote.by, vote.vote);
        output.talk(said, text);
    }
    Ok(view)
}
