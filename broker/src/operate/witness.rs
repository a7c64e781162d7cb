//! `stintd witness`: run a witness, make one, look at what it refused.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use stint_broker::clock::SystemClock;
use stint_broker::config::WitnessConfig;
use stint_broker::http::listen::phase;
use stint_broker::witness::{self, Evidence, Service, init};
use stint_broker::{store, telemetry};
use tokio::net::TcpListener;

use crate::say;

/// Run a C2SP witness of transparency logs: it cosigns checkpoints that extend what it saw.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Witness {
    #[command(flatten)]
    file: File,
    /// Check the config and the key instead, and print the witness's verifier key.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct File {
    /// The config.
    #[arg(short, long, default_value = "/etc/stint/witness.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what was refused although its log signed it: two notes each, for anybody to verify.
    Evidence {
        #[command(flatten)]
        file: File,
    },
    /// Make a key, an empty database and a commented config in a new folder.
    Init {
        /// The folder.
        dir: PathBuf,
        /// The witness's name in its cosignatures, such as witness.acme.dev/w1. Never changes later.
        #[arg(long)]
        name: String,
        /// A file (mode 0600) whose first line seals the key file; the witness reads it too.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
    },
}

/// Does what was asked.
pub(crate) async fn witness(args: Witness) -> anyhow::Result<ExitCode> {
    match args.command {
        None if args.check => check(&args.file.config)?,
        None => run(&args.file.config).await?,
        Some(Command::Evidence { file }) => evidence(&file.config).await?,
        Some(Command::Init {
            dir,
            name,
            passphrase_file,
        }) => make(&dir, &name, passphrase_file).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(path: &Path) -> anyhow::Result<()> {
    let (config, warnings) = WitnessConfig::load(path)?;
    telemetry::install(&config.telemetry)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let listen = config.listen;
    let socket = TcpListener::bind(listen)
        .await
        .with_context(|| format!("{listen} cannot be listened on"))?;
    let listen = socket.local_addr()?;
    let (name, logs) = (config.name.clone(), config.logs.len());
    let service = Service::start(config, Arc::new(SystemClock), socket).await?;
    let phase = phase::on_signals()?;
    tracing::info!(name, logs, %listen, "ready");
    service.run(phase).await?;
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let (config, warnings) = WitnessConfig::load(path)?;
    for warning in &warnings {
        say(&warning.report().to_string());
    }
    store::place::check(&config.db)?;
    let (vkey, warnings) = witness::check(&config, &SystemClock)?;
    for warning in &warnings {
        say(warning);
    }
    say(&format!(
        "ok        {}: {} logs",
        path.display(),
        config.logs.len()
    ));
    writeln!(std::io::stdout(), "{vkey}").context("stdout is closed")
}

async fn make(dir: &Path, name: &str, passphrase: Option<PathBuf>) -> anyhow::Result<()> {
    let passphrase = passphrase.map(std::path::absolute).transpose()?;
    let made = init::init(dir, name, passphrase.as_deref()).await?;
    let config = made.config.display();
    say(&format!(
        "ready     {config}\n\
         witness   {}\n\
         next      add a [log.NAME] to {config}, then:\n          \
           stintd witness -c {config} --check\n          \
           stintd witness -c {config}",
        made.vkey,
    ));
    Ok(())
}

async fn evidence(path: &Path) -> anyhow::Result<()> {
    let (config, _) = WitnessConfig::load(path)?;
    let found = witness::evidence(&config).await?;
    let mut out = std::io::stdout();
    for one in &found {
        write!(out, "{}", shown(one)).context("stdout is closed")?;
    }
    say(&format!("{} kept", found.len()));
    Ok(())
}

fn shown(one: &Evidence) -> String {
    let time = i64::try_from(one.time).unwrap_or(i64::MAX);
    let time = time::OffsetDateTime::from_unix_timestamp(time);
    let time = time.map_or_else(|_| one.time.to_string(), |time| time.to_string());
    let held = if one.held.is_empty() {
        "nothing\n"
    } else {
        &one.held
    };
    format!(
        "## {} {} at size {}, {time}\n# held\n{held}# refused\n{}\n",
        one.kind.word(),
        one.origin,
        one.refused.size,
        one.note,
    )
}
