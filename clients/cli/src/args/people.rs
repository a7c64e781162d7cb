//! The raw words of whatever people are asked, and of those who answer.

use clap::ValueEnum;
use stint_policy::Seconds;

use super::{AskArgs, EvidenceArgs, FormatArgs, Kind};

#[derive(Debug, clap::Args)]
pub(crate) struct AskOnly {
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
pub(crate) struct Named {
    /// `req_…`
    pub(crate) request: String,
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Shown {
    /// `req_…`, or an id of an entry that is yours: `gr_…`, `dec_…`
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inbox {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// A list of the console
    pub(crate) what: What,
    /// Filters, as the console's URL has them: caller=spiffe://…, standing=live, find=no-owner, after=…
    #[arg(value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) filters: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// What is listed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// Software and agents that asked
    Callers,
    /// Credentials that were granted
    Grants,
    /// Units of work
    Tasks,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = pair.ok_or("a filter is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// `req_…`
    pub(crate) request: String,
    /// Less time than was asked for
    #[arg(long, value_name = "TIME", value_parser = Seconds::parse)]
    pub(crate) ttl: Option<Seconds>,
    /// Your words for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Print the page's address and open nothing
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Deny {
    /// `req_…`
    pub(crate) request: String,
    /// Why, for whoever asked and for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Print the page's address and open nothing
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// The broker; as --url
    pub(crate) broker: Option<String>,
    /// Print the page's address and open nothing
    #[arg(long)]
    pub(crate) no_browser: bool,
}
