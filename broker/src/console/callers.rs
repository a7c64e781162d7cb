//! `/callers` and `/callers/{id}`: who asks, whose it is, and what of its permissions it uses.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use stint_policy::{SpiffeId, Timestamp};

use super::asked::Asked;
use super::layout::{Shell, Trouble};
use super::said;
use super::sheet::{Body, Cell, Empty, Filter, List, Part, Sheet, facts};
use super::sight::{Reads, Sight};
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store::lists::{CallerLine, EntryFilter, LastSeen, Of};

/// A caller with what is known of it.
pub(super) struct Known {
    pub(super) line: CallerLine,
    pub(super) seen: LastSeen,
    pub(super) owner: Option<String>,
}

/// `GET /callers`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let asked = Asked::read(query.as_deref());
    let now = app.broker.clock.now();
    let sight = Sight::of(&app, &visitor).await?;
    let (known, next) = page(&app, &sight, &asked, now).await?;
    let shell = Shell::new(&app, Some(&visitor), "Callers")
        .at("/callers")
        .same(
            asked.command("callers"),
            format!("GET {}", asked.url("/v1/callers")),
        );
    let lead = "Software and agents that asked, by the names their platforms vouch for.";
    let mut sheet = Sheet::new(shell, "Callers", lead).turns("/callers", &asked, next.as_deref());
    for field in fields(&asked) {
        sheet = sheet.filter(field);
    }
    let list = List {
        heads: vec![
            "Caller",
            "Owner",
            "Kind",
            "Issuer",
            "First seen",
            "Last seen",
            "Use",
        ],
        rows: known.iter().map(|it| row(it, now)).collect(),
        empty: match sight.is_whole() {
            true => Empty {
                title: "No caller fits",
                text: "A caller appears with its first ask.".to_owned(),
                command: "stint whoami".to_owned(),
            },
            false => Empty {
                title: "No caller of your groups",
                text: "You see software that a group of yours owns; whose it is, the policies’ entities.json says."
                    .to_owned(),
                command: String::new(),
            },
        },
    };
    sheet
        .part(Part::new("list", "By name", Body::List(list)).live("callers"))
        .show()
}

/// A page of what the reader sees, and where the next begins.
pub(super) async fn page(
    app: &App,
    sight: &Sight<'_>,
    asked: &Asked,
    now: Timestamp,
) -> Result<(Vec<Known>, Option<String>), Trouble> {
    let issuer = asked.some("issuer");
    let found = match sight.is_whole() {
        true => {
            let from = (issuer.as_deref(), asked.after_text());
            app.broker.store.list_callers(from, LOOK).await?
        }
        false => app.broker.store.callers_of(&sight.owned()).await?,
    };
    let full = i64::try_from(found.len()).unwrap_or(LOOK) >= LOOK;
    let end = found.last().map(|line| line.id.clone());
    let mut known = know(app, found).await?;
    known.retain(|it| finds(asked.get("find"), it, now));
    known.retain(|it| {
        issuer
            .as_ref()
            .is_none_or(|issuer| *issuer == it.line.issuer)
    });
    Ok((known, end.filter(|_| full && sight.is_whole())))
}

fn fields(asked: &Asked) -> [Filter; 2] {
    let finds = [
        ("", "all"),
        ("no-owner", "without an owner"),
        ("unused-30", "unused for 30 days"),
        ("unused-90", "unused for 90 days"),
    ];
    [
        Filter::text("issuer", "Issuer", asked.get("issuer"), "github"),
        Filter::choice("find", "Find", asked.get("find"), &finds),
    ]
}

fn finds(word: &str, it: &Known, now: Timestamp) -> bool {
    match word {
        "no-owner" => it.owner.is_none(),
        "unused-30" => unused_days(it, now) >= 30,
        "unused-90" => unused_days(it, now) >= 90,
        _ => true,
    }
}

/// Days since a caller was granted something, or since it is known.
fn unused_days(it: &Known, now: Timestamp) -> i64 {
    let since = it.seen.granted.unwrap_or(it.line.first);
    now.as_millis().saturating_sub(since) / DAY_MS
}

fn row(it: &Known, now: Timestamp) -> Vec<Vec<Cell>> {
    vec![
        vec![Cell::Main(
            said::caller_href(&it.line.id),
            it.line.id.clone(),
        )],
        vec![owner(it)],
        vec![Cell::text(&it.line.kind)],
        vec![Cell::text(&it.line.issuer)],
        vec![Cell::at(it.line.first, now)],
        vec![Cell::maybe_at(it.seen.any(), now, "a moment ago")],
        vec![used(it, now)],
    ]
}

/// Whose it is: nobody is a finding.
fn owner(it: &Known) -> Cell {
    match &it.owner {
        Some(owner) => Cell::text(owner),
        None => Cell::Badge("warn", "no owner".to_owned()),
    }
}

fn used(it: &Known, now: Timestamp) -> Cell {
    match unused_days(it, now) {
        90.. => Cell::Badge("warn", "unused 90 d".to_owned()),
        30.. => Cell::Badge("off", "unused 30 d".to_owned()),
        _ if it.seen.granted.is_none() => Cell::Badge("note", "never granted".to_owned()),
        _ => Cell::Badge("good", "in use".to_owned()),
    }
}

async fn know(app: &App, lines: Vec<CallerLine>) -> Result<Vec<Known>, Trouble> {
    let ledger = &app.broker.ledger;
    let named = lines
        .iter()
        .map(|line| ledger.subject(&line.id).pseudonym.to_string());
    let named: Vec<String> = named.collect();
    let seen = app.broker.store.last_seen(&named).await?;
    let policy = app.broker.policies.in_force();
    let known = lines.into_iter().zip(seen).map(|(line, seen)| {
        let id = SpiffeId::parse(&line.id).ok();
        Known {
            owner: id.and_then(|id| policy.owner_of(&id)),
            line,
            seen,
        }
    });
    Ok(known.collect())
}

/// `GET /callers/{id}`: the SPIFFE ID without its scheme.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let id = format!("spiffe://{id}");
    let sight = Sight::of(&app, &visitor).await?;
    if !sight.caller(&id) {
        return Err(Trouble::not_found());
    }
    let found = app
        .broker
        .store
        .callers_of(std::slice::from_ref(&id))
        .await?;
    let it = know(&app, found)
        .await?
        .pop()
        .ok_or_else(Trouble::not_found)?;
    let subject = app.broker.ledger.subject(&id).pseudonym.to_string();
    let used = app.broker.store.used(&subject).await?;
    let of = Of::Callers(vec![subject.clone()]);
    let grants = app
        .broker
        .store
        .list_grants(&of, (0, u64::MAX), "", SHORT)
        .await?;
    let filter = EntryFilter {
        kind: Some("denied".to_owned()),
        subjects: Some(vec![subject.clone()]),
        task: None,
    };
    let denied = app
        .broker
        .store
        .list_entries(&filter, u64::MAX, SHORT)
        .await?;
    let shell = Shell::new(&app, Some(&visitor), "Caller")
        .at("/callers")
        .same(
            format!("stint ls grants caller={id}"),
            format!(
                "GET {}",
                Asked::read(Some(&format!("caller={id}"))).url("/v1/grants")
            ),
        );
    let none = |title, text: &str| Empty {
        title,
        text: text.to_owned(),
        command: String::new(),
    };
    let nothing = none(
        "Nothing was granted",
        "What it asked was refused, or waits.",
    );
    let grants = said::grants(&grants, now, nothing);
    let nothing = none("Nothing was refused", "Every ask was granted, or waits.");
    let denied = said::entries(&denied, now, Reads::of(&visitor), nothing);
    let permits = Part::new(
        "use",
        "Permitted against used",
        Body::List(permitted(&app, &it, &used, now)),
    );
    let all = Asked::read(Some(&format!("caller={id}"))).url("/grants");
    Sheet::new(shell, id, "")
        .of("Caller")
        .part(standing(&app, &it, &subject, now))
        .part(permits.note("Actions that some policy permits to its kind, and what it was granted of its newest 10,000."))
        .part(Part::new("grants", "Newest grants", Body::List(grants)).live("grants"))
        .part(Part::new("denials", "Newest denials", Body::List(denied)).live("denials"))
        .part(Part::new(
            "more",
            "All of it",
            Body::Facts(facts([("Grants", vec![Cell::link(all, "every grant of this caller")])])),
        ))
        .show()
}

fn standing(app: &App, it: &Known, subject: &str, now: Timestamp) -> Part {
    let mut finding = vec![owner(it)];
    if it.owner.is_none() {
        finding.push(Cell::soft(
            "Name one in entities.json: attribute owner of this workload. Without, nobody reviews what it may do.",
        ));
    }
    let disabled = app.broker.ledger.frozen().disabled_by(&it.line.id);
    let state = match disabled.first() {
        None => vec![Cell::Badge("ok", "may ask".to_owned())],
        Some(seq) => vec![
            Cell::Badge("bad", "disabled".to_owned()),
            Cell::link(format!("/ledger/{seq}"), format!("by entry {seq}")),
        ],
    };
    let rows = facts([
        ("Caller", vec![Cell::id(&it.line.id)]),
        ("State", state),
        ("Owner", finding),
        ("Kind", vec![Cell::text(&it.line.kind)]),
        ("Vouched for by", vec![Cell::text(&it.line.issuer)]),
        ("First seen", vec![Cell::at(it.line.first, now)]),
        (
            "Last granted",
            vec![Cell::maybe_at(it.seen.granted, now, "never")],
        ),
        (
            "Last denied",
            vec![Cell::maybe_at(it.seen.denied, now, "never")],
        ),
        (
            "Last put on hold",
            vec![Cell::maybe_at(it.seen.requested, now, "never")],
        ),
        ("Use", vec![used(it, now)]),
        ("In the ledger", vec![Cell::id(subject)]),
    ]);
    Part::new("standing", "Standing", Body::Facts(rows)).live("callers")
}

/// What policy lets such callers ask, beside what this one used.
fn permitted(app: &App, it: &Known, used: &[crate::store::lists::Used], now: Timestamp) -> List {
    let policy = app.broker.policies.in_force();
    let offers = policy.catalogue();
    let offers = offers
        .iter()
        .filter(|offer| offer.callers.contains(&it.line.kind) && !offer.permits.is_empty());
    let row = |offer: &stint_policy::Offer| {
        let of_it = used
            .iter()
            .find(|used| said::is_action(&offer.action, &used.action));
        let permits = offer
            .permits
            .iter()
            .map(|permit| Cell::link(format!("/policy#policy-{}", permit.policy), &permit.policy));
        vec![
            vec![Cell::code(&offer.action)],
            permits.collect(),
            vec![match of_it {
                Some(used) => Cell::text(used.grants.to_string()),
                None => Cell::Badge("off", "unused".to_owned()),
            }],
            vec![Cell::maybe_at(of_it.map(|used| used.last), now, "")],
        ]
    };
    List {
        heads: vec!["Action", "Permitted by", "Granted", "Last"],
        rows: offers.map(row).collect(),
        empty: Empty {
            title: "No policy permits anything to such callers",
            text: "Each of its asks is refused.".to_owned(),
            command: "stint policy check".to_owned(),
        },
    }
}

const DAY_MS: i64 = 86_400_000;
/// Callers that are looked at for one page.
const LOOK: i64 = 200;
/// Rows of the lists on one caller's page.
const SHORT: i64 = 20;
