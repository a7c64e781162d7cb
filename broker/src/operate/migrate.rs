//! `stintd migrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use stint_broker::clock::{Clock as _, SystemClock};
use stint_broker::config::{self, Config};
use stint_broker::store::Location;
use stint_broker::upkeep::migrate::{self, Plan};
use stint_broker::upkeep::relocate;

use super::ConfigFile;
use crate::say;

/// Bring the schema of the database up to date. Every header of the ledger is hashed before and after.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    store: StoreAt,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Move the SQLite file of the config to this empty PostgreSQL database, in one transaction. The broker is stopped.
    #[arg(long, value_name = "URL", conflicts_with = "store")]
    to: Option<String>,
    /// A file (mode 0600) with the password that --to takes.
    #[arg(long, value_name = "FILE", requires = "to")]
    password_file: Option<PathBuf>,
    /// Take back a move that was cut off, if nothing of it arrived.
    #[arg(long, requires = "to", conflicts_with = "dry_run")]
    cancel: bool,
}

/// A database named on the command line.
#[derive(Debug, Args)]
pub(crate) struct StoreAt {
    /// The database, in place of [store] of a config: as its owner, who may change the schema.
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// A file (mode 0600) with the password that --store takes.
    #[arg(long, value_name = "FILE", requires = "store")]
    pub(crate) store_password_file: Option<PathBuf>,
}

/// `stintd migrate`.
pub(crate) async fn migrate(args: Migrate) -> anyhow::Result<ExitCode> {
    if let Some(to) = &args.to {
        return Box::pin(relocate(&args, to)).await;
    }
    let location = match &args.store.store {
        Some(url) => config::location(url, args.store.store_password_file.as_deref())?,
        None => Config::load(&args.file.config)?.config.store.location()?,
    };
    if args.dry_run {
        let plan = migrate::plan(&location).await?;
        show(&plan, "would apply");
        return Ok(ExitCode::SUCCESS);
    }
    let (plan, logs) = migrate::migrate(&location).await?;
    show(&plan, "applied");
    for log in logs {
        say(&format!(
            "ledger    {}: {} entries, root {}, before and after",
            log.log, log.size, log.root
        ));
    }
    if matches!(location, Location::Server(_)) && !plan.steps.is_empty() {
        say(
            "next      as its owner: psql -f postgres.sql (docs/postgres.md), so that the role that serves may use it",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// `stintd migrate --to`.
async fn relocate(args: &Migrate, to: &str) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.file.config)?.config;
    let Location::Server(server) = config::location(to, args.password_file.as_deref())? else {
        anyhow::bail!("--to names a PostgreSQL database: postgres://USER@HOST/DATABASE");
    };
    if args.cancel {
        relocate::cancel(&config, &server).await?;
        say("ok        the file may be served again; nothing was on the server");
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = |table: &str, rows: u64| say(&format!("copied    {rows} rows of {table}"));
    let (moved, done) = if args.dry_run {
        (relocate::rehearse(&config, &server).await?, "would move")
    } else {
        let now = SystemClock.now().as_millis();
        (
            relocate::relocate(&config, &server, now, &mut progress).await?,
            "moved",
        )
    };
    say(&format!(
        "{done:<9} {}: {} entries, {} bodies ({} erased before) to {}\n\
         root      {}, hashed from the entries on both sides",
        moved.log, moved.size, moved.bodies, moved.erased, moved.to, moved.root,
    ));
    if !args.dry_run {
        say(&format!(
            "next      in {}: [store] url = \"{to}\" (and password), then as the owner: psql -f postgres.sql\n          \
             the old file is marked and is not served again",
            args.file.config.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(plan: &Plan, done: &str) {
    for (number, name) in &plan.steps {
        say(&format!("{done:<11} {number:04} {name}"));
    }
    let Plan {
        place,
        found,
        wanted,
        ..
    } = plan;
    say(&match plan.steps.as_slice() {
        [] => format!("ok        {place}: schema {found}, nothing to do"),
        [..] => format!("ok        {place}: schema {found} to {wanted}"),
    });
}
