//! `stint ls`: the console's lists, as far as the one who is signed in sees them.

use serde::Serialize;
use stint_client::Person;
use stint_wire::{CallerSeen, GrantSeen, TaskSeen};

use super::inbox::columns;
use crate::args::{Format, Ls, What};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::person;
use crate::session;
use crate::settings::Settings;
use crate::words;

/// Prints one page, a row a line, and how to go on.
///
/// # Errors
/// Exit 2 for a filter that is not known, 4 if nobody is signed in.
pub(crate) fn ls(args: &Ls, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let client = settings.client()?;
    let person = person::signed_in(&client)?;
    let told = Told { args, output };
    session::block_on(async {
        match args.what {
            What::Callers => callers(&person, &told).await,
            What::Grants => grants(&person, &told).await,
            What::Tasks => tasks(&person, &told).await,
        }
    })
}

/// What was asked, and where it is printed.
struct Told<'a> {
    args: &'a Ls,
    output: &'a Output,
}

async fn grants(person: &Person<'_>, told: &Told<'_>) -> Result<Exit, Failure> {
    let list = person.grants(&told.args.filters).await?;
    let row = |it: &GrantSeen| {
        [
            it.grant.clone(),
            it.action.clone().unwrap_or_default(),
            it.credential.clone(),
            it.caller.clone(),
            words::moment_of(&it.expires_at),
        ]
    };
    let rows: Vec<_> = list.grants.iter().map(row).collect();
    told.page("stint.grants/v1", &list, (&rows, list.next.as_deref()))
}

async fn tasks(person: &Person<'_>, told: &Told<'_>) -> Result<Exit, Failure> {
    let list = person.tasks(&told.args.filters).await?;
    let row = |it: &TaskSeen| {
        [
            it.task.clone(),
            it.name.clone(),
            words::moment_of(&it.opened_at),
            format!("{} granted", it.grants),
            format!("{} denied", it.denials),
        ]
    };
    let rows: Vec<_> = list.tasks.iter().map(row).collect();
    told.page("stint.tasks/v1", &list, (&rows, list.next.as_deref()))
}

async fn callers(person: &Person<'_>, told: &Told<'_>) -> Result<Exit, Failure> {
    let list = person.callers(&told.args.filters).await?;
    let row = |it: &CallerSeen| {
        let granted = it.granted_at.as_deref().map(words::moment_of);
        [
            it.caller.clone(),
            it.owner.clone().unwrap_or_else(|| "no owner".to_owned()),
            it.issuer.clone(),
            granted.map_or_else(|| "never granted".to_owned(), |at| format!("granted {at}")),
        ]
    };
    let rows: Vec<_> = list.callers.iter().map(row).collect();
    told.page("stint.callers/v1", &list, (&rows, list.next.as_deref()))
}

impl Told<'_> {
    fn page<const N: usize>(
        &self,
        schema: &str,
        list: &impl Serialize,
        (rows, next): (&[[String; N]], Option<&str>),
    ) -> Result<Exit, Failure> {
        if self.args.format.format == Some(Format::Json) {
            self.output.json(schema, list)?;
            return Ok(Exit::Ok);
        }
        if rows.is_empty() {
            self.output
                .talk("ls", "there is nothing of this that you may see");
        }
        self.output.data(columns(rows))?;
        if let Some(next) = next {
            let line = format!("stint ls {} … after={next}", self.args.what.as_str());
            self.output.talk("next", line);
        }
        Ok(Exit::Ok)
    }
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            What::Callers => "callers",
            What::Grants => "grants",
            What::Tasks => "tasks",
        }
    }
}
