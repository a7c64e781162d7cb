//! `stintd`: arguments in, a broker that serves, an exit code out.

mod operate;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use stint_broker::authenticate::entry::against;
use stint_broker::clock::{Clock as _, Stopwatch, SystemClock};
use stint_broker::config::{self, Config, ConfigError, ServerUrl, Telemetry, TrustDomain};
use stint_broker::http::listen::tls::Tls;
use stint_broker::serve::{self, Doors, Service};
use stint_broker::start::{self, Absent};
use stint_broker::{dev, doctor, http, init, store, telemetry};
use tokio::net::{TcpListener, UnixListener};

use operate::ConfigFile;

/// Stint: short-lived credentials for one unit of work, each one recorded before it is signed.
#[derive(Debug, Parser)]
#[command(name = "stintd", version, about, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Backup(operate::upkeep::Backup),
    /// Shut an identity out, let it in again, or retire a person's passkeys.
    #[command(subcommand)]
    Caller(operate::Caller),
    /// Check a config and its policies, without network or database.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Print the JSON Schema of stint.toml instead.
        #[arg(long)]
        schema: bool,
    },
    /// Run everything on localhost with fake issuers. Nothing is kept.
    Dev {
        /// The port on localhost.
        #[arg(long, default_value_t = 8640)]
        port: u16,
        /// The policy folder; made if it is not there.
        #[arg(long, default_value = "stint-dev/policy")]
        policy: PathBuf,
    },
    /// Explain a topic: `config` or `witness`, or one table of it; `openapi` is the API as OpenAPI 3.1.
    Help {
        /// `config`, `witness` or `openapi`.
        topic: Option<String>,
        /// A table of stint.toml, such as `server`.
        table: Option<String>,
    },
    /// Look at everything an operator would, and say what to do about it.
    Doctor {
        #[command(flatten)]
        file: ConfigFile,
        /// Read the whole ledger besides, from its first entry to its last.
        #[arg(long)]
        full: bool,
        /// How to print.
        #[arg(short, long, default_value = "text")]
        output: operate::Output,
    },
    /// Refuse the evidence of one issuer, or of all, until it is unfrozen.
    Freeze(operate::Freeze),
    /// Look at issuers: test one, or accept its new keys.
    #[command(subcommand)]
    Issuer(operate::Issuer),
    /// Make keys, CA, ledger, sample policies and a commented config in a new folder.
    Init {
        /// The folder.
        dir: PathBuf,
        /// How the broker will be reached: https://HOST. Never changes later.
        #[arg(long)]
        url: String,
        /// The SPIFFE trust domain of every identity. Absent: the host of --url. Never changes later.
        #[arg(long)]
        trust_domain: Option<String>,
        /// A file (mode 0600) whose first line seals the key files; `serve` reads it too.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        store: operate::migrate::StoreAt,
    },
    #[command(subcommand)]
    Keys(operate::upkeep::Keys),
    #[command(subcommand)]
    Ledger(operate::upkeep::Ledger),
    Migrate(operate::migrate::Migrate),
    /// Look at who is told of asks that wait.
    #[command(subcommand)]
    Notify(operate::Notify),
    Restore(operate::upkeep::Restore),
    /// Run the broker.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Take evidence again that was frozen.
    Unfreeze(operate::Freeze),
    Witness(operate::witness::Witness),
}

#[tokio::main]
async fn main() -> ExitCode {
    keep_out_of_dumps();
    let code = finish(Args::parse().command).await;
    telemetry::flush();
    code
}

async fn finish(command: Command) -> ExitCode {
    let ok = |()| ExitCode::SUCCESS;
    let done = match command {
        Command::Backup(args) => operate::upkeep::backup(args).await,
        Command::Caller(command) => operate::caller(command).await,
        Command::Check { schema: true, .. } => print(&config::schema()).map(ok),
        Command::Check { file, .. } => check(&file.config).map(ok),
        Command::Dev { port, policy } => run_dev(dev::Options { port, policy }).await.map(ok),
        Command::Doctor { file, full, output } => {
            let depth = match full {
                true => doctor::Depth::Full,
                false => doctor::Depth::Usual,
            };
            operate::doctor(&file.config, depth, output).await
        }
        Command::Freeze(what) => operate::freeze("/v1/freeze", what).await,
        Command::Help { topic, table } => help(topic.as_deref(), table.as_deref()).map(ok),
        Command::Init {
            dir,
            url,
            trust_domain,
            passphrase_file,
            store,
        } => {
            let secrets = (passphrase_file, store);
            run_init(&dir, &url, trust_domain.as_deref(), secrets)
                .await
                .map(ok)
        }
        Command::Keys(command) => operate::upkeep::keys(command).await,
        Command::Ledger(command) => operate::upkeep::ledger(command).await,
        Command::Restore(args) => operate::upkeep::restore(args).await,
        Command::Migrate(args) => operate::migrate::migrate(args).await,
        Command::Notify(command) => operate::notify(command).await,
        Command::Issuer(command) => operate::issuer(command).await,
        Command::Serve { file } => run_serve(&file.config).await.map(ok),
        Command::Unfreeze(what) => operate::freeze("/v1/unfreeze", what).await,
        Command::Witness(args) => operate::witness::witness(args).await,
    };
    match done {
        Ok(code) => code,
        // Everything that stops `stintd` is usage or configuration (UX.md §1.1).
        Err(error) => {
            match error.downcast_ref::<ConfigError>() {
                Some(error) => say(&error.report().to_string()),
                None => say(&format!("error     {error:#}")),
            }
            ExitCode::from(2)
        }
    }
}

async fn run_serve(path: &Path) -> anyhow::Result<()> {
    let watch = Stopwatch::start();
    let loaded = Config::load(path)?;
    telemetry::install(&loaded.config.telemetry)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = loaded.config;
    start::refuse_dev_issuers(&config)?;
    config
        .store
        .url
        .path()
        .map_or(Ok(()), store::place::check)?;
    let (url, listen) = (config.server.url.as_str().to_owned(), config.server.listen);
    let doors = Doors {
        api: bind(listen).await?,
        ops: Some(bind(config.ops.listen).await?),
        socket: bind_socket(&config.ops.socket)?,
        extra: axum::Router::new(),
    };
    let service = Service::start(config, Arc::new(SystemClock), Absent::Refuse, doors).await?;
    let stop = serve::signals(&service)?;
    tracing::info!(%url, %listen, millis = watch.elapsed().as_millis(), "ready");
    service.run(stop).await;
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be listened on"))
}

/// A socket left behind by a broker that was killed is in nobody's use. Nothing else is removed.
fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).as_ref().is_err_and(refused) {
        std::fs::remove_file(path)
            .with_context(|| format!("`{}` is in the way", path.display()))?;
    }
    UnixListener::bind(path).with_context(|| format!("`{}` cannot be listened on", path.display()))
}

async fn run_dev(options: dev::Options) -> anyhow::Result<()> {
    let watch = Stopwatch::start();
    telemetry::install(&Telemetry {
        log: "warn".to_owned(),
        ..Telemetry::default()
    })?;
    let policy = options.policy.display().to_string();
    let dev = dev::dev(&options).await?;
    let stop = serve::signals(&dev.service)?;
    let (url, folder) = (&dev.url, dev.folder.path().display());
    say(&format!(
        "ready     in {:.1} s: CA, ledger, policy, console, fake issuers. Nothing is kept; never expose this.\n\
         console   {url}   sign in as dana (approver), kim (developer), avery (auditor) or olu (operator)\n\
         policy    {policy:<23} save a file and it is live\n\
         next      in another terminal:\n          \
           export STINT_URL={url}\n          \
           stint dev-token --like github --repo acme/web --ref refs/heads/main |\n          \
             stint run deploy Environment::staging/web --token-file - -- env     # granted at once\n          \
           eval \"$(stint dev-token --like github --repo acme/web --ref refs/heads/main --env)\"\n          \
           stint run deploy Environment::prod/web -- ./deploy.sh               # waits for a human\n          \
           stint ledger export --socket {folder}/stintd.sock -o log.stint\n          \
           stint ledger verify log.stint",
        watch.elapsed().as_secs_f64(),
    ));
    dev.run(stop).await;
    Ok(())
}

async fn run_init(
    dir: &Path,
    url: &str,
    trust_domain: Option<&str>,
    (passphrase, store): (Option<PathBuf>, operate::migrate::StoreAt),
) -> anyhow::Result<()> {
    let url = ServerUrl::parse(url).map_err(|text| anyhow::anyhow!("--url {text}"))?;
    let host = url
        .authority()
        .split(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let domain = TrustDomain::parse(trust_domain.unwrap_or(&host))
        .map_err(|text| anyhow::anyhow!("--trust-domain {text}"))?;
    let passphrase = passphrase.map(std::path::absolute).transpose()?;
    let password = store
        .store_password_file
        .map(std::path::absolute)
        .transpose()?;
    if let Some(url) = &store.store {
        config::location(url, password.as_deref())?;
    }
    let given = init::Given {
        passphrase: passphrase.as_deref(),
        store: store.store.as_deref().map(|url| (url, password.as_deref())),
    };
    let made = init::init(dir, &url, &domain, given).await?;
    let config = made.config.display();
    say(&format!(
        "ready     {config}\n\
         root      sha256:{}\n\
         ledger    {}\n\
         next      add an [issuer.NAME] to {config}, then:\n          \
           stintd check -c {config}\n          \
           stintd serve -c {config}",
        made.fingerprint, made.vkey,
    ));
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let loaded = Config::load(path)?;
    for warning in &loaded.warnings {
        say(&warning.report().to_string());
    }
    start::refuse_dev_issuers(&loaded.config)?;
    let policies = stint_policy::PolicySet::load(&loaded.config.policy.dir)?;
    if policies.asks_people() && loaded.config.people.0.is_none() {
        say("warning   policies want approval, and without [people] nobody can sign in to give it");
    }
    let server = &loaded.config.server;
    if let Some(config::Tls::Own(files)) = &server.tls {
        for warning in Tls::check(files, server.url.host(), SystemClock.now())? {
            say(&warning);
        }
    }
    for warning in policies.warnings() {
        say(&warning.to_string());
    }
    let entries = || loaded.config.issuers.values();
    let held = against::policies(entries().map(|issuer| &issuer.entry), &policies);
    for finding in held.unparted.iter().chain(&held.unfilled) {
        say(&finding.to_string());
    }
    for (name, issuer) in &loaded.config.issuers {
        if let Some(old) = against::old_keys(&issuer.config, SystemClock.now()) {
            say(&format!(
                "warning   [issuer.{name}] {} {}",
                old.key, old.text
            ));
        }
    }
    if !held.faults.is_empty() {
        return Err(start::StartError::Issuers(held.faults).into());
    }
    anyhow::ensure!(
        held.unparted.is_empty(),
        "policies do not say whose ids they mean (P09)"
    );
    let known = loaded.config.issuers.len();
    let attestors = start::attestors(&loaded.config)?;
    start::roster(loaded.config.issuers, attestors)?;
    say(&format!(
        "ok        {}: {known} issuers, policy {}",
        path.display(),
        policies.hash()
    ));
    Ok(())
}

fn help(topic: Option<&str>, table: Option<&str>) -> anyhow::Result<()> {
    let text = match topic {
        Some("config") => config::help(table).context("stint.toml has no such table")?,
        Some("witness") => config::help_witness(table).context("witness.toml has no such table")?,
        Some("openapi") => http::openapi::text(),
        Some(other) => {
            anyhow::bail!(
                "there is no help on `{other}`; there is on `config`, `witness` and `openapi`"
            )
        }
        None => Args::command().render_long_help().to_string(),
    };
    print(&text)
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("stdout is closed")
}

/// Keys are in memory: no core file, no debugger of the same user (SECURITY.md §4, secrets).
fn keep_out_of_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        say(&format!("warning   memory may be dumped: {error}"));
    }
}

/// The one door of `stintd`'s talk: stderr. A closed one stops nothing.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
