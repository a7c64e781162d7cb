//! The votes under a grant: who said what, and the entries by which a browser checks each of them itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use stint_audit::What;
use stint_policy::Timestamp;

use super::body::{self, Opened};
use super::grant;
use super::layout::Trouble;
use super::parts::{Moment, length};
use super::sheet::{Body, Part, Widget};
use crate::http::session::SignedIn;
use crate::ledger::Whose;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::VoteRow;

/// The votes of one grant.
pub(crate) struct Ballots {
    pub(crate) cast: Vec<Cast>,
    /// Where a browser finds the entries, if this reader may open them.
    pub(crate) entries: Option<String>,
}

/// One vote, as the broker tells it.
pub(crate) struct Cast {
    pub(crate) id: String,
    pub(crate) icon: &'static str,
    pub(crate) says: String,
    pub(crate) note: Option<String>,
    pub(crate) at: Moment,
}

/// Who approved grant `id`; nothing, where nobody was asked.
pub(super) async fn part(
    app: &App,
    visitor: &Visitor,
    (id, request, votes): (&str, Option<&str>, &[VoteRow]),
    now: Timestamp,
) -> Result<Option<Part>, Trouble> {
    let Some(request) = request else {
        return Ok(None);
    };
    let mut cast = Vec::with_capacity(votes.len());
    for vote in votes {
        let person = app.broker.store.person(&vote.person).await?;
        let name = person.map_or_else(|| vote.person.clone(), |person| person.name);
        let (icon, says) = match vote.yes {
            true => {
                let lasts = length(i64::from(vote.lasts));
                ("good", format!("{name} approved it, for {lasts}"))
            }
            false => ("bad", format!("{name} refused it")),
        };
        cast.push(Cast {
            id: vote.id.clone(),
            icon,
            says,
            note: vote.note.clone(),
            at: Moment::of(vote.at, now),
        });
    }
    let entries = visitor.reads_all().then(|| format!("/grants/{id}/votes"));
    let body = Body::Widget(Widget::Votes(Ballots { cast, entries }));
    let part = Part::new("votes", "Who approved", body);
    Ok(Some(part.note(format!(
        "Of request {request}. Each vote is signed by a passkey over what its page showed."
    ))))
}

/// `GET /grants/{id}/votes`: what a grant's votes rest on: the request, the passkeys, the votes and the grant, each entry
/// with its proof and its body. That they are read are entries too, so it is for those who read everything.
pub(super) async fn entries(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    if !visitor.reads_all() {
        return Err(Trouble::not_found());
    }
    let grant = grant::seen(&app, &visitor, &id).await?;
    let granted = body::open(&app, &visitor, grant.seq).await?;
    let request = match &granted.header.what {
        What::Granted(it) => it.request.clone(),
        _ => None,
    };
    let request = request.ok_or_else(Trouble::not_found)?;
    let mut opened = BTreeMap::from([(grant.seq, granted)]);
    let votes = app.broker.store.votes(&request).await?;
    for id in std::iter::once(&request).chain(votes.iter().map(|vote| &vote.id)) {
        let found = app.broker.ledger.find(id, Whose::Any).await?;
        let seq = found.ok_or_else(Trouble::not_found)?.header.seq;
        opened.insert(seq, body::open(&app, &visitor, seq).await?);
    }
    let key = |it: &Opened| u64::try_from(it.number(&["key_seq"])?).ok();
    let keys: Vec<u64> = opened.values().filter_map(key).collect();
    for seq in keys {
        opened.insert(seq, body::open(&app, &visitor, seq).await?);
    }
    let mut told = Vec::with_capacity(opened.len());
    for (seq, entry) in opened {
        let proof = app.broker.ledger.prove(seq).await?.proof.to_string();
        let body = entry
            .raw
            .map(|raw| String::from_utf8_lossy(&raw).into_owned());
        told.push(json!({ "proof": proof, "body": body }));
    }
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    Ok((headers, json!({ "entries": told }).to_string()).into_response())
}
