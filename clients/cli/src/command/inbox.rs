//! `stint inbox`: what waits for people, and whether this one can decide it.

use serde_json::json;
use stint_wire::RequestView;

use crate::args::{Format, Inbox};
use crate::exit::Exit;
use crate::hold::plain_action;
use crate::output::{Failure, Output};
use crate::person;
use crate::session;
use crate::settings::Settings;
use crate::words;

/// Prints one request a line, the one that ends first in front.
///
/// # Errors
/// Exit 4 if nobody is signed in.
pub(crate) fn inbox(args: &Inbox, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let client = settings.client()?;
    let person = person::signed_in(&client)?;
    let list = session::block_on(async { Ok(person.inbox().await?) })?;
    if args.format.format == Some(Format::Json) {
        let json = json!({"schema": "stint.requests/v1", "requests": list.requests});
        output.data(format!("{json}\n"))?;
        return Ok(Exit::Ok);
    }
    if list.requests.is_empty() {
        output.talk("inbox", "nothing waits for you");
        return Ok(Exit::Ok);
    }
    let rows: Vec<[String; 6]> = list.requests.iter().map(row).collect();
    output.data(columns(&rows))?;
    Ok(Exit::Ok)
}

fn row(view: &RequestView) -> [String; 6] {
    let can = match (view.can_decide, &view.cannot_because) {
        (_, Some(why)) => format!("cannot: {why}"),
        (Some(true), None) => "can decide".to_owned(),
        (_, None) => String::new(),
    };
    [
        view.request.clone(),
        plain_action(&view.action).to_owned(),
        view.resources.join(", "),
        view.caller.clone(),
        format!("{} left", words::left(&view.expires_at)),
        can,
    ]
}

/// Columns with two spaces between.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter()
        .map(line)
        .map(|line| crate::output::plain(&line))
        .collect()
}
