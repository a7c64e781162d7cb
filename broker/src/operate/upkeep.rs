//! `stintd backup`, `restore`, `keys` and `ledger`: what operators do to the ledger as a whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use stint_audit::kind::Basis;
use stint_broker::clock::{Clock as _, SystemClock};
use stint_broker::config::{self, Config};
use stint_broker::doctor::{self, Unreached};
use stint_broker::ledger::Turned;
use stint_broker::ledger::erase::{self, Grounds, Wanted};
use stint_broker::ledger::prune;
use stint_broker::store::Location;
use stint_broker::upkeep::hand::Hand;
use stint_broker::upkeep::recover::{self, Recovered};
use stint_broker::upkeep::replace::Replaced;
use stint_broker::upkeep::restore::{self, Accepted};
use stint_broker::upkeep::{backup, replace, rotate};

use super::{ConfigFile, UNREACHABLE, USAGE};
use crate::say;

/// Copy the ledger and all its rows into a new folder, hash the copy again, and put a signed head beside it.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder; made if it is not there. Keys and config are not in it.
    dir: PathBuf,
    /// No broker runs: open the ledger here.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// Put a backup where the database is to be, unless more was signed than it holds. The broker is stopped.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder of the backup. Absent: the database is there already, as `--accept-loss` is to take it.
    #[arg(required_unless_present = "accept_loss")]
    dir: Option<PathBuf>,
    /// Entries are lost: close the log as it is, and begin a new epoch that says so.
    #[arg(long, requires_all = ["operator", "reason"])]
    accept_loss: bool,
    /// Who answers for it: two people, each named once.
    #[arg(long, value_name = "NAME", requires = "accept_loss")]
    operator: Vec<String>,
    /// What happened; it goes into the ledger.
    #[arg(long, value_name = "TEXT", requires = "accept_loss")]
    reason: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// Look at the keys, or let one take over from another. The broker is stopped.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Print which keys sign the ledger.
    Ls {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Make a key that signs beside the one in use, from the next start on.
    Rotate {
        /// Whose.
        what: Whose,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Make others at once, with no overlap: after a theft, or a loss whose credentials may not be waited out. Every replica
    /// is stopped.
    Replace {
        /// What.
        what: Anew,
        /// Why; it goes into the ledger with your user id.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Let the older of two keys sign no more: 30 days after the newer one came.
    Retire {
        /// Whose.
        what: Whose,
        /// At once: verifiers that did not take the new key over will have to be told.
        #[arg(long, requires = "reason")]
        now: bool,
        /// Why it cannot wait; it goes into the ledger.
        #[arg(long, value_name = "TEXT", requires = "now")]
        reason: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Whose key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Whose {
    /// The ledger's.
    Ledger,
}

/// What is made anew.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Anew {
    /// The root, the issuing CA, and the key that tokens are signed with.
    Ca,
}

/// Erase bodies of the ledger, or end its epoch.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Delete the bodies of entries. Headers and all proofs stay; an entry says what went.
    Erase(Erase),
    /// Archive the entries below a place, and delete them here. What still binds stays, and every proof from there on.
    Prune(Prune),
    /// Put entries that were lost on record again, from where they were kept: bundles, receipts, JSON lines of a sink. The
    /// broker is stopped.
    Recover {
        /// Files of any of these sorts; lines of one sink may be in several.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// End this log in order and begin the next, with new keys and new pseudonyms. The broker is stopped.
    Epoch {
        /// Why; it goes into the ledger with your user id.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// What to erase.
#[derive(Debug, Args)]
#[group(id = "whose", required = true, multiple = true, args = ["seq", "grant", "subject"])]
pub(crate) struct Erase {
    /// An entry, or a range of them: 18044, or 18044-18101 with both ends.
    #[arg(long, value_name = "SEQ", value_parser = range)]
    seq: Vec<[u64; 2]>,
    /// A grant, and whatever became of it.
    #[arg(long, value_name = "ID")]
    grant: Vec<String>,
    /// Whatever is about an identity, by it, or was asked on its behalf.
    #[arg(long, value_name = "SPIFFE-ID")]
    subject: Vec<String>,
    /// On what grounds.
    #[arg(long)]
    basis: Grounded,
    /// The number it was asked for under. No name: it stays.
    #[arg(long, value_name = "TEXT")]
    ticket: Option<String>,
    /// No broker runs: open the ledger here.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// What to prune.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The first entry that stays: a multiple of 65536.
    #[arg(long, value_name = "SEQ")]
    below: u64,
    /// Where the entries below go: a bundle, a new file. The broker writes it, verifies it, and only then deletes.
    #[arg(long, value_name = "FILE")]
    archive: PathBuf,
    /// The database as its owner, who may delete entries: with a PostgreSQL server, where who serves may not.
    #[command(flatten)]
    store: super::migrate::StoreAt,
    /// No broker runs: open the ledger here.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// On what grounds bodies go.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Grounded {
    /// A person asked.
    Request,
    /// They were kept long enough.
    Retention,
    /// A court or an authority said so.
    Order,
}

impl From<Grounded> for Basis {
    fn from(it: Grounded) -> Self {
        match it {
            Grounded::Order => Self::Order,
            Grounded::Request => Self::Request,
            Grounded::Retention => Self::Retention,
        }
    }
}

/// `stintd backup`.
pub(crate) async fn backup(args: Backup) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.file.config)?.config;
    let dir = std::path::absolute(&args.dir)?;
    let (size, root) = if args.offline {
        let made = Box::pin(backup::offline(
            &config,
            Arc::new(SystemClock),
            &dir,
            &mut progress,
        ))
        .await?;
        (made.size, made.root.to_string())
    } else {
        match told(&config.ops.socket, "/v1/backup", &json!({ "dir": dir })).await? {
            Ok(made) => (number(&made, "size"), text(&made, "root").to_owned()),
            Err(code) => return Ok(code),
        }
    };
    let shown = dir.display();
    say(&format!(
        "ok        {shown}: {size} entries, root {root}; every entry of the copy was hashed again\n\
         next      back up the key folder {} and the config by themselves, and not to the same place",
        config.keys.dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// `stintd restore`.
pub(crate) async fn restore(args: Restore) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.file.config)?.config;
    let accepted = args
        .accept_loss
        .then(|| accepted(args.operator, args.reason))
        .transpose()?;
    let now = now();
    let dir = args.dir.as_deref();
    let done = Box::pin(restore::restore(
        &config,
        dir,
        accepted.as_ref(),
        now,
        &mut progress,
    ))
    .await?;
    say(&format!(
        "ok        {}: {} entries, each hashed again",
        done.place, done.size
    ));
    match done.next {
        None => say("next      stintd serve"),
        Some(next) => {
            say(&format!(
                "lost      {} entries that were signed are not there",
                done.lost
            ));
            began(&next);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn accepted(operators: Vec<String>, reason: Option<String>) -> anyhow::Result<Accepted> {
    let word = |name: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
    };
    let operators: Result<[String; 2], _> = operators.try_into();
    let operators = operators
        .ok()
        .filter(|names| names.iter().all(word) && names[0] != names[1]);
    let operators = operators
        .context("--operator names two different people, letters, digits and ._-@ each")?;
    let reason = reason.filter(|reason| is_line(reason)).context(LINE)?;
    Ok(Accepted { operators, reason })
}

/// `stintd keys …`.
pub(crate) async fn keys(command: Keys) -> anyhow::Result<ExitCode> {
    let clock = Arc::new(SystemClock);
    let actor = actor();
    match command {
        Keys::Ls { file } => {
            let config = Config::load(&file.config)?.config;
            for key in Box::pin(rotate::list(&config)).await? {
                let since = match key.added {
                    Some((seq, _)) => format!("entry {seq} added it"),
                    None => "no entry adds it: `stintd keys rotate ledger` again".to_owned(),
                };
                let place = if key.newest {
                    "signs"
                } else {
                    "signs beside it"
                };
                crate::print(&format!("{}\t{}\t{place}; {since}", key.file, key.vkey))?;
            }
        }
        Keys::Rotate {
            what: Whose::Ledger,
            file,
        } => {
            let config = Config::load(&file.config)?.config;
            let made = Box::pin(rotate::rotate(&config, clock, &actor)).await?;
            say(&format!(
                "ok        {} signs beside the key in use from the next start on; entry {} says so\n\
                 key       {}\n\
                 handover  {}: give it to whoever pinned the old key; every bundle carries it\n\
                 next      copy the key file to every replica, start them, and in 30 days: stintd keys retire ledger",
                made.file,
                made.seq,
                made.vkey,
                made.handover.display()
            ));
        }
        Keys::Replace {
            what: Anew::Ca,
            reason,
            file,
        } => {
            anyhow::ensure!(is_line(&reason), LINE);
            let config = Config::load(&file.config)?.config;
            let made = replace::replace(&config, clock, &actor, &reason);
            replaced(&Box::pin(made).await?);
        }
        Keys::Retire {
            what: Whose::Ledger,
            reason,
            file,
            ..
        } => {
            anyhow::ensure!(reason.as_deref().is_none_or(is_line), LINE);
            let config = Config::load(&file.config)?.config;
            let gone = Box::pin(rotate::retire(&config, clock, &actor, reason.as_deref())).await?;
            say(&format!(
                "ok        {} signs no more; entry {} says so\n\
                 next      destroy {} on every replica: nothing needs it any more",
                gone.vkey,
                gone.seq,
                gone.file.display()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn replaced(made: &Replaced) {
    let recorded = match (made.entries.first(), made.entries.last()) {
        (Some(first), Some(last)) => format!("entries {first}-{last} say so"),
        _ => "a run before this one recorded it".to_owned(),
    };
    let root = made.fingerprint.as_deref();
    say(&format!(
        "ok        another CA and another key for tokens sign from the next start on; {recorded}\n\
         root      {}\n\
         away      {}: destroy them, and every copy; a root key that you kept elsewhere too, and keep `root.key` there\n\
         next      put this folder in the place of the one on every replica, and start them; then, to everybody who\n          \
         verifies: the new root (`GET /v1/trust/bundle`) instead of the old one, and to clients its fingerprint;\n          \
         and back this folder up anew",
        root.unwrap_or("in place since a run before this one"),
        made.retired.join(" "),
    ));
}

/// `stintd ledger …`.
pub(crate) async fn ledger(command: Ledger) -> anyhow::Result<ExitCode> {
    match command {
        Ledger::Erase(args) => erase(args).await,
        Ledger::Prune(args) => Box::pin(prune_it(args)).await,
        Ledger::Recover { files, file } => {
            let config = Config::load(&file.config)?.config;
            let done = recover::recover(&config, Arc::new(SystemClock), &files);
            came_back(&Box::pin(done).await?);
            Ok(ExitCode::SUCCESS)
        }
        Ledger::Epoch { reason, file } => {
            anyhow::ensure!(is_line(&reason), LINE);
            let config = Config::load(&file.config)?.config;
            let next = Box::pin(restore::end_epoch(&config, actor(), reason, now())).await?;
            began(&next);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn erase(args: Erase) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.file.config)?.config;
    let basis = Basis::from(args.basis);
    let (seq, n) = if args.offline {
        anyhow::ensure!(
            args.ticket
                .as_deref()
                .is_none_or(|it| is_line(it) && it.len() <= 100),
            LINE
        );
        let wanted = Wanted {
            seqs: args.seq,
            grants: args.grant,
            subjects: args.subject,
        };
        let grounds = Grounds {
            actor: actor(),
            basis,
            ticket: args.ticket,
        };
        let hand = Box::pin(Hand::open(&config, Arc::new(SystemClock))).await?;
        let gone = erase::erase(&hand.ledger, &hand.store, &wanted, &grounds, now()).await;
        erase::scrub(&hand.store).await;
        hand.close().await;
        let gone = gone?;
        (gone.seq, gone.n)
    } else {
        let ask = json!({
            "seqs": args.seq, "grants": args.grant, "subjects": args.subject,
            "basis": basis.as_str(), "ticket": args.ticket,
        });
        let ask = without_null(ask);
        match told(&config.ops.socket, "/v1/ledger/erase", &ask).await? {
            Ok(gone) => (number(&gone, "seq"), number(&gone, "n")),
            Err(code) => return Ok(code),
        }
    };
    say(&format!(
        "ok        {n} bodies are gone; entry {seq} says so\n\
         next      backups, sinks and bundles from before still have them: they are beyond reach here"
    ));
    Ok(ExitCode::SUCCESS)
}

async fn prune_it(args: Prune) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.file.config)?.config;
    let archive = std::path::absolute(&args.archive)?;
    let owner = match (config.store.location()?, &args.store.store) {
        (Location::File(_), None) => None,
        (Location::File(_), Some(_)) => {
            anyhow::bail!("--store is for a PostgreSQL server, and [store] is a file")
        }
        (Location::Server(_), None) => anyhow::bail!(
            "who serves a server may not delete entries: name it as its owner, --store URL"
        ),
        (Location::Server(_), Some(url)) => {
            match config::location(url, args.store.store_password_file.as_deref())? {
                Location::Server(server) => Some(server),
                Location::File(_) => {
                    anyhow::bail!("--store names a PostgreSQL server, as [store] does")
                }
            }
        }
    };
    let (log, seq, below, kept) = if args.offline {
        anyhow::ensure!(
            config.ledger.witnesses.is_none(),
            "only a running broker asks its witnesses, who must have seen what goes: the same without --offline"
        );
        let actor = actor();
        let hand = Box::pin(Hand::open(&config, Arc::new(SystemClock))).await?;
        let wanted = prune::Wanted {
            below: args.below,
            archive: &archive,
            actor: &actor,
            sinks: config.sinks.keys().map(String::as_str).collect(),
            files: Vec::new(),
        };
        let pruned = Box::pin(prune::prune(&hand.ledger, &hand.store, wanted, now())).await;
        hand.close().await;
        let pruned = pruned?;
        (pruned.log, pruned.seq, pruned.below, pruned.kept)
    } else {
        let ask = json!({ "below": args.below, "archive": archive });
        match told(&config.ops.socket, "/v1/ledger/prune", &ask).await? {
            Ok(it) => (
                text(&it, "log").to_owned(),
                number(&it, "seq"),
                number(&it, "below"),
                number(&it, "kept"),
            ),
            Err(code) => return Ok(code),
        }
    };
    if let Some(owner) = owner {
        prune::sweep(&owner, &log).await?;
    }
    say(&format!(
        "ok        entries below {below} are in {}; entry {seq} says so, with its hash\n\
         kept      {kept} of them stay, because they bind\n\
         next      keep the archive as long as somebody may ask: stint ledger verify {}",
        archive.display(),
        archive.display(),
    ));
    Ok(ExitCode::SUCCESS)
}

fn came_back(done: &Recovered) {
    say(&format!(
        "ok        {} entries of {} are on record again, {} with their bodies; {} were before",
        done.entries, done.log, done.bodies, done.before
    ));
    if !done.kinds.is_empty() {
        let kinds = done.kinds.iter().map(|(kind, n)| format!("{n} {kind}"));
        let kinds: Vec<_> = kinds.collect();
        say(&format!(
            "kinds     {}; they bind nobody: freeze again what was frozen",
            kinds.join(", ")
        ));
    }
    if done.unproven > 0 {
        say(&format!(
            "left out  {} events that lead to no signed head: bring the lines between, or behind them",
            done.unproven
        ));
    }
    say(&format!(
        "missing   {} entries are known to have been, and are still nowhere",
        done.missing
    ));
}

fn began(next: &Turned) {
    let carried = match next.carried {
        Some(it) => format!(
            "begins; {} open requests are void, {} freezes and disabled identities go on",
            it.void, it.frozen
        ),
        None => "had begun already, in a run that was cut off".to_owned(),
    };
    say(&format!(
        "epoch     {} {carried}\n\
         key       {}\n\
         next      tell auditors the new key; copy the new key files to every replica; then: stintd serve",
        next.log, next.vkey,
    ));
}

/// What the broker on the socket answers, or the exit code after saying why it does not.
async fn told(socket: &Path, path: &str, ask: &Value) -> anyhow::Result<Result<Value, ExitCode>> {
    match doctor::ask_patiently(socket, path, ask).await {
        Ok((200, answer)) => Ok(Ok(answer)),
        Ok((_, answer)) => {
            say(&format!("error     {}", text(&answer, "detail")));
            Ok(Err(ExitCode::from(USAGE)))
        }
        Err(error @ Unreached { .. }) => {
            say(&format!(
                "error     {error}\nnext      where no broker runs: the same with --offline"
            ));
            Ok(Err(ExitCode::from(UNREACHABLE)))
        }
    }
}

fn progress(table: &str, rows: u64) {
    say(&format!("copied    {rows} rows of {table}"));
}

/// Who types this, as bodies name them.
fn actor() -> String {
    format!("local:{}", rustix::process::getuid().as_raw())
}

fn now() -> u64 {
    u64::try_from(SystemClock.now().as_millis()).unwrap_or(0)
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 500 && !text.chars().any(char::is_control)
}

fn range(text: &str) -> Result<[u64; 2], String> {
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_no| "an entry's number, or FIRST-LAST".to_owned())
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    match last.checked_add(1) {
        Some(end) if first <= last => Ok([first, end]),
        _ => Err("FIRST is not after LAST".to_owned()),
    }
}

fn without_null(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

const LINE: &str = "a reason or ticket is one line, of at most 500 characters (100 for a ticket)";
