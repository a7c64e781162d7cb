//! The raw words of whatever people are asked, and of those who answer.

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
