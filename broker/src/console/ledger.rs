//! `/ledger` and `/ledger/{seq}`: the log as a list, and each entry with the bytes, hashes and path that prove it.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use stint_audit::kind::KINDS;
use stint_audit::tree::leaf_hash;
use stint_policy::Timestamp;

use super::asked::Asked;
use super::body;
use super::layout::{Shell, Trouble};
use super::said;
use super::sheet::{Body, Cell, Empty, Filter, Part, Sheet, Widget, facts};
use super::sight::Reads;
use crate::export::Place;
use crate::http::session::SignedIn;
use crate::ledger::{ProvenEntry, Whose};
use crate::people::Visitor;
use crate::serve::App;
use crate::store::lists::EntryFilter;

/// The log is for those who read everything: to others it is not there.
fn reader(visitor: &Visitor) -> Result<(), Trouble> {
    match visitor.reads_all() {
        true => Ok(()),
        false => Err(Trouble::not_found()),
    }
}

/// `GET /ledger`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    reader(&visitor)?;
    let asked = Asked::read(query.as_deref());
    let now = app.broker.clock.now();
    let place = asked.get("at");
    let mut before = asked.after_number().unwrap_or(u64::MAX);
    if !place.is_empty() && !asked.is_later() {
        match jump(&app, place).await? {
            Jump::Before(seq) => before = seq,
            Jump::Entry(seq) => return Ok(Redirect::to(&format!("/ledger/{seq}")).into_response()),
            Jump::Nowhere => before = 0,
        }
    }
    let filter = EntryFilter {
        kind: asked
            .some("kind")
            .filter(|kind| KINDS.contains(&kind.as_str())),
        ..EntryFilter::default()
    };
    let rows = app.broker.store.list_entries(&filter, before, PAGE).await?;
    let full = i64::try_from(rows.len()).unwrap_or(PAGE) >= PAGE;
    let shell = Shell::new(&app, Some(&visitor), "Ledger")
        .at("/ledger")
        .same(
            "stint ledger export -o log.stint",
            "GET /v1/ledger/checkpoint",
        );
    let lead = "Every decision, vote and change, one entry each, none ever rewritten.";
    let mut sheet = Sheet::new(shell, "Ledger", lead);
    let mut kinds = vec![("", "any")];
    kinds.extend(KINDS.iter().map(|kind| (*kind, *kind)));
    sheet = sheet
        .filter(Filter::text(
            "at",
            "Jump to",
            place,
            "17, 2026-07-01T08:00:00Z, gr_…",
        ))
        .filter(Filter::choice("kind", "Kind", asked.get("kind"), &kinds));
    sheet.first = (asked.is_later() || !place.is_empty()).then(|| "/ledger".to_owned());
    let last = rows.last().map(|row| row.seq.to_string()).filter(|_| full);
    sheet.next = last.map(|seq| asked.next("/ledger", &seq));
    let empty = Empty {
        title: "No entry fits",
        text: "There is no entry of this kind, or none at this place. An id is found in full, or by its first six characters."
            .to_owned(),
        command: String::new(),
    };
    let list = said::entries(&rows, now, Reads::Whole, empty);
    let bundle = Part::new("bundle", "Verify a bundle", Body::Widget(Widget::Bundle));
    let bundle = bundle
        .note("The same verifier as in verify.html, in this browser: nothing is sent anywhere.");
    sheet
        .part(Part::new("list", "Newest first", Body::List(list)).live("ledger"))
        .part(head(&app, now).live("ledger"))
        .part(bundle)
        .script("ledger.js")
        .show()
}

/// Where a reader wants to be.
enum Jump {
    Before(u64),
    Entry(u64),
    Nowhere,
}

async fn jump(app: &App, place: &str) -> Result<Jump, Trouble> {
    let ledger = &app.broker.ledger;
    match place.parse::<Place>() {
        Ok(Place::Seq(seq)) => Ok(Jump::Before(seq.saturating_add(1))),
        Ok(time @ Place::Time(_)) => {
            let seq = app.broker.seq_of(time).await;
            seq.map(|seq| Jump::Before(seq.saturating_add(1)))
                .map_err(|_error| Trouble::unread())
        }
        Err(_) => {
            let graphic = place
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            let named = graphic
                && place
                    .split_once('_')
                    .is_some_and(|(_, rest)| rest.len() >= 6);
            let mut found = match named {
                true => ledger.find(place, Whose::Any).await?,
                false => None,
            };
            if found.is_none() && graphic {
                found = ledger.find_credential(place).await?;
            }
            Ok(found.map_or(Jump::Nowhere, |found| Jump::Entry(found.header.seq)))
        }
    }
}

/// The newest head, and who has seen it.
pub(super) fn head(app: &App, now: Timestamp) -> Part {
    let ledger = &app.broker.ledger;
    let shown = ledger.shown(now);
    let seen = ledger.seen();
    let cosigned = match (seen.witnesses.is_empty(), seen.is_fresh(now)) {
        (true, _) => Cell::Badge("off", "no witness is asked".to_owned()),
        (false, true) => Cell::Badge("good", format!("{} cosignatures", seen.cosigs.0)),
        (false, false) => Cell::Badge("warn", "no quorum lately".to_owned()),
    };
    let mut rows = facts([
        ("Log", vec![Cell::id(ledger.origin())]),
        ("Entries", vec![Cell::text(shown.size.to_string())]),
        ("Key", vec![Cell::id(ledger.vkey())]),
        ("Witnesses", vec![cosigned]),
    ]);
    for (name, trouble) in &seen.witnesses {
        let cell = match trouble {
            None => Cell::Badge("good", "answers".to_owned()),
            Some(why) => Cell::Badge("warn", why.clone()),
        };
        rows.push((format!("Witness {name}"), vec![cell]));
    }
    rows.push((
        "Checkpoint".to_owned(),
        vec![Cell::code(shown.checkpoint.trim_end())],
    ));
    Part::new("head", "Checkpoint and witnesses", Body::Facts(rows))
}

/// `GET /ledger/{seq}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(seq): Path<String>,
) -> Result<Response, Trouble> {
    reader(&visitor)?;
    let now = app.broker.clock.now();
    let found = proven(&app, &seq).await?;
    let header = &found.header;
    let bytes = found.proof.extra.clone().unwrap_or_default();
    let shell = Shell::new(&app, Some(&visitor), &format!("Entry {seq}"))
        .at("/ledger")
        .same(
            format!("stint ledger prove {seq} -o entry-{seq}.stint"),
            format!("GET /ledger/{seq}/proof"),
        );
    let digest = |digest: &Option<stint_audit::Digest>| match digest {
        Some(digest) => vec![Cell::id(digest.to_string())],
        None => Vec::new(),
    };
    let mut id = vec![Cell::id(&header.id)];
    if let Some(href) = said::page_of(header.what.kind(), &header.id) {
        id.push(Cell::link(href, "its page"));
    }
    let rows = facts([
        ("Kind", vec![said::kind(header.what.kind())]),
        ("Id", id),
        (
            "When",
            vec![Cell::at(i64::try_from(header.ts).unwrap_or(0), now)],
        ),
        ("About", digest(&header.subj)),
        ("By", digest(&header.by)),
        ("For", digest(&header.behalf)),
        ("Policy", digest(&header.pol)),
        ("Body, SHA-256", vec![Cell::id(header.body.to_string())]),
        ("Leaf hash", vec![Cell::id(leaf_hash(&bytes).to_string())]),
        (
            "Body",
            vec![Cell::link(
                format!("/ledger/{seq}/body"),
                "read it (that you read it is an entry)",
            )],
        ),
    ]);
    let path = found.proof.path.iter().map(ToString::to_string);
    let path: Vec<String> = path.collect();
    let size = app.broker.ledger.published().size;
    let mut sheet = Sheet::new(shell, format!("Entry {seq}"), "");
    sheet.links = around(header.seq, size);
    sheet
        .of("Ledger")
        .part(Part::new("verify", "Verify here", Body::Widget(Widget::Entry(header.seq))))
        .part(Part::new("header", "What it says", Body::Facts(rows)))
        .part(Part::new("bytes", "Raw header", Body::Raw(String::from_utf8_lossy(&bytes).into_owned()))
            .note("The exact bytes that are hashed. What they say names nobody: people and callers are pseudonyms."))
        .part(Part::new("path", "Inclusion path", Body::Source("path".to_owned(), path))
            .note("Sibling hashes from the leaf to the root, RFC 6962."))
        .part(Part::new("checkpoint", "Checkpoint", Body::Raw(found.proof.checkpoint.clone())))
        .script("ledger.js")
        .show()
}

fn around(seq: u64, size: u64) -> Vec<(String, String)> {
    let link = |seq: u64| (format!("/ledger/{seq}"), format!("Entry {seq}"));
    let before = seq.checked_sub(1).map(link);
    let after = Some(seq.saturating_add(1))
        .filter(|next| *next < size)
        .map(link);
    before.into_iter().chain(after).collect()
}

/// `GET /ledger/{seq}/proof`
pub(super) async fn prove(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(seq): Path<String>,
) -> Result<Response, Trouble> {
    reader(&visitor)?;
    let found = proven(&app, &seq).await?;
    let found = app.broker.ledger.receipt(found.header.seq).await?;
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    Ok((headers, found.proof.to_string()).into_response())
}

/// `GET /ledger/{seq}/body`
pub(super) async fn open(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(seq): Path<String>,
) -> Result<Response, Trouble> {
    reader(&visitor)?;
    let found = proven(&app, &seq).await?;
    let opened = body::open(&app, &visitor, found.header.seq).await?;
    let shell = Shell::new(&app, Some(&visitor), &format!("Body of entry {seq}"))
        .at("/ledger")
        .same(
            format!(
                "stint ledger export --from {seq} --to {} --format jsonl",
                found.header.seq.saturating_add(1)
            ),
            format!("GET /ledger/{seq}/body"),
        );
    let raw = match &opened.raw {
        Some(raw) => String::from_utf8_lossy(raw).into_owned(),
        None => "It was erased; an entry of the kind `erased` says by whom.".to_owned(),
    };
    let laid_out = serde_json::to_string_pretty(&opened.body).unwrap_or_default();
    let header = String::from_utf8_lossy(&opened.bytes).into_owned();
    Sheet::new(
        shell,
        format!("Body of entry {seq}"),
        "That you read it was recorded before this page was made.",
    )
    .of("Ledger")
    .part(Part::new("laid-out", "Laid out", Body::Raw(laid_out)))
    .part(
        Part::new("raw", "Exact bytes", Body::Raw(raw))
            .note("Their SHA-256 is the body of the header below."),
    )
    .part(Part::new("header", "Header", Body::Raw(header)))
    .show()
}

async fn proven(app: &App, seq: &str) -> Result<ProvenEntry, Trouble> {
    let number = seq.parse::<u64>().ok().filter(|it| it.to_string() == seq);
    let size = app.broker.ledger.published().size;
    let number = number
        .filter(|seq| *seq < size)
        .ok_or_else(Trouble::not_found)?;
    Ok(app.broker.ledger.prove(number).await?)
}

/// Rows of a page.
const PAGE: i64 = 100;
