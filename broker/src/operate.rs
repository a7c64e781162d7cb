//! The commands of operators: `freeze`, `unfreeze`, `caller`, `issuer test`, `issuer accept`, `notify test`, `doctor`.

pub(crate) mod migrate;
pub(crate) mod upkeep;
pub(crate) mod witness;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stint_broker::authenticate::crypto;
use stint_broker::clock::{Clock as _, SystemClock};
use stint_broker::config::{Config, KeyFile, Secret};
use stint_broker::doctor::{self, Finding, Unreached, Verdict};

/// The config of a broker.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The broker's config.
    #[arg(
        short,
        long,
        env = "STINT_CONFIG",
        default_value = "/etc/stint/stint.toml"
    )]
    pub(crate) config: PathBuf,
}

/// Which broker: that of a config, which says where its socket is.
#[derive(Debug, Args)]
pub(crate) struct Running {
    #[command(flatten)]
    file: ConfigFile,
    /// Its socket, without looking into a config.
    #[arg(long)]
    socket: Option<PathBuf>,
}

impl Running {
    /// Where it answers.
    fn socket(&self) -> anyhow::Result<PathBuf> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(Config::load(&self.file.config)?.config.ops.socket),
        }
    }
}

/// What to freeze.
#[derive(Debug, Args)]
pub(crate) struct Freeze {
    /// Everything.
    #[arg(long, required_unless_present = "issuer", conflicts_with = "issuer")]
    all: bool,
    /// The evidence of one issuer: NAME of [issuer.NAME].
    #[arg(long)]
    issuer: Option<String>,
    /// Why; it goes into the ledger with your user id.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    running: Running,
}

/// What to do about an identity, of a workload or of a person.
#[derive(Debug, Subcommand)]
pub(crate) enum Caller {
    /// Shut an identity out: nothing is granted to it, its sessions end, its yes counts no more.
    Disable(Whom),
    /// Let an identity in again.
    Enable(Whom),
    /// Retire all passkeys of a person, who cannot vote for a day then.
    ResetPasskeys(Whom),
}

/// An identity, and why.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// The SPIFFE ID, as entries and the console show it.
    #[arg(value_name = "SPIFFE-ID")]
    id: String,
    /// Why; it goes into the ledger with your user id.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    running: Running,
}

/// What to do with an issuer.
#[derive(Debug, Subcommand)]
pub(crate) enum Issuer {
    /// Let new keys count again, after a key set changed too often.
    Accept {
        /// NAME of [issuer.NAME].
        name: String,
        /// Why; it goes into the ledger with your user id.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        running: Running,
    },
    /// Reach an issuer, and judge a token of it check by check.
    Test {
        /// NAME of [issuer.NAME].
        name: String,
        #[command(flatten)]
        file: ConfigFile,
        /// A file with a token, which only you can read; `-` is stdin. It is never shown or kept.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
}

/// What to do with a receiver of notices.
#[derive(Debug, Subcommand)]
pub(crate) enum Notify {
    /// Send a test to it now.
    Test {
        /// NAME of [notify.NAME].
        name: String,
        #[command(flatten)]
        running: Running,
    },
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// One finding an object.
    Json,
    /// For people.
    #[default]
    Text,
}

/// `stintd freeze`, `stintd unfreeze`: `path` is the route.
pub(crate) async fn freeze(path: &str, what: Freeze) -> anyhow::Result<ExitCode> {
    let body = match &what.issuer {
        Some(issuer) => json!({ "issuer": issuer, "reason": what.reason }),
        None => json!({ "all": true, "reason": what.reason }),
    };
    command(&what.running, path, &body).await
}

/// `stintd caller …`.
pub(crate) async fn caller(command_: Caller) -> anyhow::Result<ExitCode> {
    let (path, whom) = match command_ {
        Caller::Disable(whom) => ("/v1/callers/disable", whom),
        Caller::Enable(whom) => ("/v1/callers/enable", whom),
        Caller::ResetPasskeys(whom) => ("/v1/callers/reset-passkeys", whom),
    };
    let body = json!({ "id": whom.id, "reason": whom.reason });
    command(&whom.running, path, &body).await
}

/// `stintd issuer …`.
pub(crate) async fn issuer(command_: Issuer) -> anyhow::Result<ExitCode> {
    match command_ {
        Issuer::Accept {
            name,
            reason,
            running,
        } => {
            let body = json!({ "issuer": name, "reason": reason });
            command(&running, "/v1/issuers/accept", &body).await
        }
        Issuer::Test {
            name,
            file,
            token_file,
        } => test(&file.config, &name, token_file).await,
    }
}

/// `stintd notify test`: 7 if the receiver did not take it.
pub(crate) async fn notify(command: Notify) -> anyhow::Result<ExitCode> {
    let Notify::Test { name, running } = command;
    let body = json!({ "name": name });
    let (status, answer) =
        match doctor::ask_patiently(&running.socket()?, "/v1/notify/test", &body).await {
            Ok(answered) => answered,
            Err(error @ Unreached { .. }) => {
                crate::say(&format!("error     {error}"));
                return Ok(ExitCode::from(UNREACHABLE));
            }
        };
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    match (status, answer.get("sent").and_then(Value::as_bool)) {
        (200, Some(true)) => {
            crate::say(&format!(
                "ok        the receiver of [notify.{name}] took a test"
            ));
            Ok(ExitCode::SUCCESS)
        }
        (200, _) => {
            crate::say(&format!(
                "error     [notify.{name}] did not take a test: {}",
                text("why")
            ));
            Ok(ExitCode::from(UNREACHABLE))
        }
        _ => {
            crate::say(&format!("error     {}", text("detail")));
            Ok(ExitCode::from(USAGE))
        }
    }
}

/// `stintd doctor`: 2 if something failed.
pub(crate) async fn doctor(
    config: &Path,
    depth: doctor::Depth,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let findings = doctor::doctor(config, SystemClock.now(), depth).await?;
    show(&findings, output)?;
    Ok(match doctor::worst(&findings) {
        Verdict::Ok | Verdict::Warning => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(USAGE),
    })
}

/// 7 if the issuer has no keys for us, 4 if the token is refused.
async fn test(path: &Path, name: &str, token_file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?.config;
    let known: Vec<_> = config.issuers.keys().map(String::as_str).collect();
    let issuer = config.issuers.get(name).with_context(|| {
        format!(
            "there is no [issuer.{name}]; there are: {}",
            known.join(", ")
        )
    })?;
    let token = token_file.map(token).transpose()?;
    crypto::install()?;
    let tested = doctor::test(issuer, token.as_ref(), SystemClock.now()).await;
    show(&tested.issuer, Output::Text)?;
    show(&tested.token, Output::Text)?;
    let failed = |findings: &[Finding]| doctor::worst(findings) == Verdict::Failed;
    Ok(match (failed(&tested.issuer), failed(&tested.token)) {
        (true, _) => ExitCode::from(UNREACHABLE),
        (false, true) => ExitCode::from(UNAUTHENTICATED),
        (false, false) => ExitCode::SUCCESS,
    })
}

fn token(path: PathBuf) -> anyhow::Result<Secret<String>> {
    if path.as_os_str() == "-" {
        let text = std::io::read_to_string(std::io::stdin()).context("stdin cannot be read")?;
        return Ok(Secret::new(text.trim().to_owned()));
    }
    let bytes = KeyFile::new(path).read()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "bytes to text; both are wiped when they are dropped"
    )]
    let text = std::str::from_utf8(bytes.expose()).context("the token is no text")?;
    Ok(Secret::new(text.trim().to_owned()))
}

async fn command(running: &Running, path: &str, body: &Value) -> anyhow::Result<ExitCode> {
    let (status, answer) = match doctor::ask(&running.socket()?, path, Some(body)).await {
        Ok(answered) => answered,
        Err(error @ Unreached { .. }) => {
            crate::say(&format!("error     {error}"));
            return Ok(ExitCode::from(UNREACHABLE));
        }
    };
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    match (status, answer.get("seq").and_then(Value::as_u64)) {
        (200, Some(seq)) => crate::say(&format!("ok        done; entry {seq} says so")),
        (200, None) => crate::say("ok        it was so already"),
        _ => {
            crate::say(&format!("error     {}", text("detail")));
            return Ok(ExitCode::from(USAGE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Findings are what these commands are for: they go to stdout.
fn show(findings: &[Finding], output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Text => {
            for finding in findings {
                writeln!(out, "{finding}").context("stdout is closed")?;
            }
        }
        Output::Json => {
            let json = serde_json::to_string_pretty(findings)?;
            writeln!(out, "{json}").context("stdout is closed")?;
        }
    }
    Ok(())
}

// UX.md §1.1.
const USAGE: u8 = 2;
const UNAUTHENTICATED: u8 = 4;
const UNREACHABLE: u8 = 7;
