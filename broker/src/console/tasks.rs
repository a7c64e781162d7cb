//! `/tasks` and `/tasks/{id}`: one unit of work, and all that was asked in it.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use stint_policy::Timestamp;

use super::asked::Asked;
use super::layout::{Shell, Trouble};
use super::requests;
use super::said;
use super::sheet::{Body, Cell, Empty, List, Part, Sheet, facts};
use super::sight::{Reads, Sight};
use crate::http::session::SignedIn;
use crate::serve::App;
use crate::store::lists::{After, EntryFilter, Of, RequestFilter, TaskLine};

/// `GET /tasks`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let asked = Asked::read(query.as_deref());
    let now = app.broker.clock.now();
    let sight = Sight::of(&app, &visitor).await?;
    let (rows, next) = page(&app, &sight, &asked).await?;
    let shell = Shell::new(&app, Some(&visitor), "Tasks").at("/tasks").same(
        asked.command("tasks"),
        format!("GET {}", asked.url("/v1/tasks")),
    );
    let sheet = Sheet::new(
        shell,
        "Tasks",
        "Units of work: a run of a pipeline, a run of an agent.",
    )
    .turns("/tasks", &asked, next.as_deref());
    let list = List {
        heads: vec![
            "Task",
            "Name",
            "Started by",
            "First ask",
            "Granted",
            "Denied",
        ],
        rows: rows.iter().map(|it| row(it, now)).collect(),
        empty: Empty {
            title: "No task of yours",
            text: "A task appears with its first ask. You see those that you started.".to_owned(),
            command: "stint run deploy Environment::staging/web -- env".to_owned(),
        },
    };
    sheet
        .part(Part::new("list", "Newest first", Body::List(list)).live("grants"))
        .show()
}

/// A page of what the reader sees, and where the next begins.
pub(super) async fn page(
    app: &App,
    sight: &Sight<'_>,
    asked: &Asked,
) -> Result<(Vec<TaskLine>, Option<String>), Trouble> {
    let found = app.broker.store.list_tasks(&asked.after(), PAGE).await?;
    let is_last = i64::try_from(found.len()).unwrap_or(PAGE) < PAGE;
    let end = found.last().map(|it| format!("{}.{}", it.opened, it.id));
    let rows = found.into_iter().filter(|it| sight.started(it)).collect();
    Ok((rows, end.filter(|_| !is_last)))
}

fn row(it: &TaskLine, now: Timestamp) -> Vec<Vec<Cell>> {
    vec![
        vec![Cell::Main(format!("/tasks/{}", it.id), it.id.clone())],
        vec![Cell::code(&it.name)],
        vec![started_by(it)],
        vec![Cell::at(it.opened, now)],
        vec![Cell::text(it.grants.to_string())],
        vec![Cell::text(it.denials.to_string())],
    ]
}

fn started_by(it: &TaskLine) -> Cell {
    match &it.initiator {
        Some(account) => Cell::code(account),
        None => Cell::soft("the evidence does not say"),
    }
}

/// `GET /tasks/{id}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn(visitor): SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let now = app.broker.clock.now();
    let store = &app.broker.store;
    let task = store.task_line(&id).await?.ok_or_else(Trouble::not_found)?;
    let sight = Sight::of(&app, &visitor).await?;
    let whole = (0, u64::MAX);
    let grants = store
        .list_grants(&Of::Task(id.clone()), whole, "", PAGE)
        .await?;
    let filter = RequestFilter {
        task: Some(id.clone()),
        ..RequestFilter::default()
    };
    let (requests, _) = requests::page(&app, &sight, &filter, After::newest(), 100).await?;
    let is_theirs = sight.started(&task)
        || grants.iter().any(|grant| sight.caller(&grant.caller))
        || !requests.is_empty();
    if !is_theirs {
        return Err(Trouble::not_found());
    }
    let filter = EntryFilter {
        kind: Some("denied".to_owned()),
        subjects: None,
        task: Some(id.clone()),
    };
    let denied = store.list_entries(&filter, u64::MAX, PAGE).await?;
    let shell = Shell::new(&app, Some(&visitor), "Task").at("/tasks").same(
        format!("stint ls grants task={id}"),
        format!("GET /v1/grants?task={id}"),
    );
    let over = task.deadline.is_some_and(|end| end <= now.as_millis());
    let rows = facts([
        ("Task", vec![Cell::id(&task.id)]),
        ("Name", vec![Cell::code(&task.name)]),
        (
            "Standing",
            vec![match over {
                true => Cell::Badge("off", "over".to_owned()),
                false => Cell::Badge("good", "open".to_owned()),
            }],
        ),
        ("Opened by", vec![Cell::text(&task.source)]),
        ("Started by", vec![started_by(&task)]),
        ("First ask", vec![Cell::at(task.opened, now)]),
        (
            "Ends",
            vec![Cell::maybe_at(
                task.deadline,
                now,
                "with the last token of its job",
            )],
        ),
        ("Granted", vec![Cell::text(task.grants.to_string())]),
        ("Denied", vec![Cell::text(task.denials.to_string())]),
    ]);
    let none = |title, text: &str| Empty {
        title,
        text: text.to_owned(),
        command: String::new(),
    };
    let grants = said::grants(
        &grants,
        now,
        none(
            "Nothing was granted in it",
            "What was asked was refused, or waits.",
        ),
    );
    let requests = said::requests(
        &requests,
        now,
        none(
            "Nobody had to be asked",
            "No ask of this task waited for people.",
        ),
    );
    let denied = said::entries(
        &denied,
        now,
        Reads::of(&visitor),
        none(
            "Nothing was refused",
            "Every ask of this task was granted, or waits.",
        ),
    );
    Sheet::new(shell, task.name.clone(), "")
        .of("Task")
        .part(Part::new("standing", "Standing", Body::Facts(rows)).live("grants requests"))
        .part(Part::new("grants", "Grants", Body::List(grants)).live("grants"))
        .part(Part::new("requests", "Requests", Body::List(requests)).live("requests"))
        .part(Part::new("denials", "Denials", Body::List(denied)).live("denials"))
        .show()
}

/// Rows of a page.
const PAGE: i64 = 200;
