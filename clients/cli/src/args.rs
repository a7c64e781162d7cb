//! The raw words of the command line: clap's derive, nothing checked that clap does not check.

mod people;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use stint_policy::Seconds;

pub(crate) use people::{Approve, AskOnly, Deny, Inbox, Login, Ls, Named, Shown, What};

/// Short-lived credentials for one piece of work.
#[derive(Debug, Parser)]
#[command(
    name = "stint",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Taken by every verb.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say which sources and files were chosen
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// The broker [env: STINT_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// SHA-256 of the trust domain's root [env: STINT_FINGERPRINT]
    #[arg(long, global = true, value_name = "sha256:HEX")]
    pub(crate) fingerprint: Option<String>,
    /// CA certificates for the broker's TLS, PEM [env: STINT_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How long one call may take, 30s if nothing is said; and for how long `wait`, `approve` and `deny` wait
    #[arg(long, global = true, value_name = "TIME", value_parser = Seconds::parse)]
    pub(crate) timeout: Option<Seconds>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command with a credential that ends with it
    Run(Run),
    /// One certificate, as files or PEM
    Cert(Cert),
    /// One JWT
    Token(TokenArgs),
    /// Ask people without running anything; `wait` or `run` comes back for the answer
    Request(AskOnly),
    /// Wait for people: 0 approved, 5 still open, 6 refused or over
    Wait(Named),
    /// What became of a request, or of any other id of yours
    Show(Shown),
    /// What waits for you, and whether you can decide it
    Inbox(Inbox),
    /// What was granted, in which tasks, to which callers: the console's lists, a page at a time
    Ls(Ls),
    /// Open the page on which a passkey says yes
    Approve(Approve),
    /// Open the page on which a passkey says no
    Deny(Deny),
    /// Sign in at a broker, for an hour
    Login(Login),
    /// Sign out again
    Logout,
    /// Dry run: would this be permitted? 0 yes, 5 after approval, 3 no
    Can(Can),
    /// Who the broker thinks you are, and what is wrong with your token
    Whoami(Whoami),
    /// A token of the dev broker's fake issuers
    DevToken(DevToken),
    /// Check, test and explain policies, offline
    #[command(subcommand)]
    Policy(Policy),
    /// Verify and export the audit ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// A completion script for your shell
    Completion {
        /// Which shell
        shell: Shell,
    },
    /// Help on a topic
    Help {
        /// Which topic; none: the usage
        topic: Option<Topic>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Topic {
    /// What each exit code means
    ExitCodes,
    /// Where evidence comes from
    Sources,
    /// Which variables are read
    Env,
}

/// The ask, the same for every verb: all resources must be permitted, none is dropped.
#[derive(Debug, clap::Args)]
pub(crate) struct AskArgs {
    /// What to do: deploy, or Action::"deploy"
    pub(crate) action: String,
    /// To what: Environment::prod/web, or Environment::"prod/web"
    #[arg(required = true, value_name = "RESOURCE")]
    pub(crate) resources: Vec<String>,
    /// An open task, where the evidence names none [env: STINT_TASK]
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// Your words for whoever approves or audits [env: STINT_REASON]
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Life wanted: 10m, 1h; the policy's default else
    #[arg(long, value_name = "TIME", value_parser = Seconds::parse)]
    pub(crate) ttl: Option<Seconds>,
    /// The action's input, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// A profile of the broker's config
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EvidenceArgs {
    /// Evidence from this file; `-`: the first line of stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A token of the person or agent this asks for
    #[arg(long, value_name = "FILE")]
    pub(crate) on_behalf_of_file: Option<PathBuf>,
    /// Prove no session key: a JWT is then good in anybody's hands
    #[arg(long)]
    pub(crate) bearer: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// How to print
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A certificate with a SPIFFE ID
    X509,
    /// An access token
    Jwt,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// What to get; a JWT where an audience is named, a certificate else
    #[arg(long, value_name = "KIND")]
    pub(crate) credential: Option<Kind>,
    /// For whom a JWT is
    #[arg(long, value_name = "AUD")]
    pub(crate) audience: Option<String>,
    /// How long to wait for people; as long as the request is open, if nothing is said
    #[arg(long, value_name = "TIME", value_parser = Seconds::parse)]
    pub(crate) wait: Option<Seconds>,
    /// Wait for nobody: exit 5 if people are asked
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// The command, as it is: no shell
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cert {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Files in this directory instead of PEM on stdout
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// A certificate request of your own; the key stays yours
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// For whom it is
    #[arg(long, value_name = "AUD")]
    pub(crate) audience: String,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Can {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// For what; a JWT where an audience is named, a certificate else
    #[arg(long, value_name = "KIND")]
    pub(crate) credential: Option<Kind>,
    /// For whom a JWT would be
    #[arg(long, value_name = "AUD")]
    pub(crate) audience: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Whoami {
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DevToken {
    /// Whose token it looks like
    #[arg(long, value_name = "ISSUER")]
    pub(crate) like: Platform,
    /// A repository or project the dev broker knows
    #[arg(long, value_name = "OWNER/NAME")]
    pub(crate) repo: Option<String>,
    /// refs/heads/main, …
    #[arg(long, value_name = "REF")]
    pub(crate) r#ref: Option<String>,
    /// Any other claim; a value that is JSON is taken as JSON
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub(crate) claims: Vec<String>,
    /// Print exports that make this shell look like that job
    #[arg(long)]
    pub(crate) env: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Platform {
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
    /// A pod's service account
    Kubernetes,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Load a policy directory as the broker would
    Check {
        /// The directory
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Warnings are failures
        #[arg(long)]
        deny_warnings: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Run the cases of tests/*.toml
    Test {
        /// The directory
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Decide an ask offline and say why, with all an owner may see
    Explain {
        /// Who asks: the `caller` object of any receipt, JSON
        #[arg(long, value_name = "FILE")]
        claims: PathBuf,
        /// The directory
        #[arg(long, default_value = ".", value_name = "DIR")]
        dir: PathBuf,
        /// What to do
        action: String,
        /// To what
        #[arg(required = true, value_name = "RESOURCE")]
        resources: Vec<String>,
        /// For what kind of credential
        #[arg(long, value_name = "KIND", default_value = "x509")]
        credential: Kind,
        /// Life wanted
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = Seconds::parse)]
        ttl: Seconds,
        #[command(flatten)]
        format: FormatArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Verify a bundle, offline and trusting nobody: 0 verified, 8 failed, 9 cannot tell
    Verify(Verify),
    /// Fetch a range over the operator's socket: a bundle, or rows
    Export(Export),
    /// Fetch one entry with its proof, as a bundle of one
    Prove(Prove),
    /// Draw entries that neither side chose: 0, 8 failed, 9 cannot tell
    Sample(Sample),
    /// Follow the log as it grows, each line checked
    Tail(Tail),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    /// Where to write it; `-`: stdout. Else as the broker names it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The first entry, or a time: 17, 2026-07-01, 2026-07-01T08:00:00Z
    #[arg(long, value_name = "SEQ|TIME")]
    pub(crate) from: Option<String>,
    /// One past the last entry, or the time before which the last one was made
    #[arg(long, value_name = "SEQ|TIME")]
    pub(crate) to: Option<String>,
    /// Kinds of entries whose bodies go along: granted,voted; `none` for no body at all. Else all
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub(crate) kinds: Vec<String>,
    /// Sizes of checkpoints that you keep: the bundle then proves that it extends them
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    pub(crate) since: Vec<u64>,
    /// Identities to disclose by name: who stands behind a pseudonym
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub(crate) open: Vec<String>,
    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "bundle")]
    pub(crate) format: ExportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One file that verifies offline
    Bundle,
    /// `{seq, leaf, header, body?}` a line
    Jsonl,
    /// A table of headers
    Csv,
    /// OCSF events, one a line
    Ocsf,
    /// A folder of C2SP tiles and entry bundles of the whole log: `--output DIR`
    Tiles,
}

impl ExportFormat {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Ocsf => "ocsf",
            Self::Tiles => "tiles",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Prove {
    /// Its seq, its id or the unique beginning of one, a grant's serial or `jti`
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    /// Where to write it; `-`: stdout. Else as the broker names it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SocketArgs {
    /// The broker's operator socket
    #[arg(long, value_name = "PATH", default_value = "/run/stint/stintd.sock")]
    pub(crate) socket: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// The first entry
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) from: u64,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    /// Kinds of entries whose bodies come along: granted,voted; that they are read is an entry
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub(crate) bodies: Vec<String>,
    /// The ledger key to trust, as `GET /v1/trust` names it
    #[arg(long, value_name = "VKEY")]
    pub(crate) key: Option<String>,
}

/// Whom the auditor trusts, beside what is remembered.
#[derive(Debug, clap::Args)]
pub(crate) struct Trusted {
    /// The ledger key to trust, as `GET /v1/trust` names it
    #[arg(long, value_name = "VKEY")]
    pub(crate) key: Option<String>,
    /// Your own trust file (C2SP tlog-policy): log keys, and the witnesses that must have cosigned
    #[arg(long, value_name = "POLICY")]
    pub(crate) trust: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sample {
    /// NAME.stint, a folder with a bundle's files, or the URL of one
    pub(crate) bundle: String,
    /// Of which kind of entry
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: String,
    /// How many
    #[arg(long, value_name = "N")]
    pub(crate) n: u64,
    /// Your word, chosen when the bundle was made already
    #[arg(long, value_name = "WORD")]
    pub(crate) nonce: String,
    #[command(flatten)]
    pub(crate) trusted: Trusted,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// NAME.stint, a folder with a bundle's files, or the URL of one
    pub(crate) bundle: String,
    #[command(flatten)]
    pub(crate) trusted: Trusted,
    /// A checkpoint you saw before; the log must extend it
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,
    /// Remember the key and the checkpoint, if all is well
    #[arg(long)]
    pub(crate) remember: bool,
    /// How old the newest entry may be: 24h
    #[arg(long, value_name = "TIME", value_parser = Seconds::parse)]
    pub(crate) max_age: Option<Seconds>,
    /// A certificate or JWT that must be in it
    #[arg(long, value_name = "FILE")]
    pub(crate) credential: Option<PathBuf>,
    /// Every verdict is required
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Args, Command};

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_after_two_dashes_is_the_command() {
        let args = [
            "stint",
            "run",
            "deploy",
            "Environment::prod/web",
            "Environment::prod/api",
            "--ttl",
            "5m",
            "--",
            "sh",
            "-c",
            "x",
        ];
        let Command::Run(run) = Args::try_parse_from(args).unwrap().command else {
            panic!("run")
        };
        assert_eq!(run.ask.resources.len(), 2);
        assert_eq!(run.command, ["sh", "-c", "x"]);
        assert!(Args::try_parse_from(["stint", "run", "deploy", "E::a"]).is_err());
    }

    #[test]
    fn minus_o_is_the_format_and_for_an_export_the_file() {
        let verbs: [&[&str]; 5] = [
            &["stint", "whoami", "-o", "json"],
            &["stint", "can", "deploy", "E::a", "-o", "json"],
            &["stint", "ledger", "verify", "x.stint", "-o", "json"],
            &["stint", "ledger", "export", "-o", "x.stint"],
            &["stint", "ledger", "prove", "gr_0", "-o", "x.stint"],
        ];
        for args in verbs {
            Args::try_parse_from(args).unwrap();
        }
    }
}
