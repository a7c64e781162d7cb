//! `stintd doctor` and `stintd issuer test`: what an operator would look at, looked at (UX.md §10).
//!
//! Nothing here changes anything. A running broker is asked over its socket; without one its files are looked at. Each
//! finding says what to do about it.

mod files;
mod issuers;
mod running;
mod server;
mod store;
mod whole;

use std::fmt;
use std::path::Path;

use serde::Serialize;
use stint_policy::{PolicySet, Timestamp};

use crate::config::{Config, ConfigError, Loaded, Tls};
use crate::http::listen::tls;
use crate::telemetry::lines::legible;

pub use issuers::{Tested, test};
pub use running::{Unreached, ask, ask_patiently};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub check: String,
    /// What was found.
    pub detail: String,
    /// What to do about it; often a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How far it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is read at once.
    Usual,
    /// The whole ledger besides, which takes as long as it is large.
    Full,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work, or will not hold what is promised.
    Failed,
}

impl Finding {
    fn ok(check: &str, detail: impl Into<String>) -> Finding {
        Finding {
            verdict: Verdict::Ok,
            check: check.to_owned(),
            detail: detail.into(),
            fix: None,
        }
    }

    fn warning(check: &str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            verdict: Verdict::Warning,
            fix: Some(fix.into()),
            ..Finding::ok(check, detail)
        }
    }

    fn failed(check: &str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            verdict: Verdict::Failed,
            ..Finding::warning(check, detail, fix)
        }
    }
}

/// For a terminal. A finding may quote what an issuer's documents or a token say, so each part is one line of text.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        };
        let (check, detail) = (legible(&self.check), legible(&self.detail));
        write!(f, "{state:<9} {check:<10} {detail}")?;
        match &self.fix {
            Some(fix) => write!(f, "\nnext      {}", legible(fix)),
            None => Ok(()),
        }
    }
}

/// Looks at everything that the config at `path` describes. `now`: this machine's clock.
///
/// # Errors
/// A config that cannot be read: its report says it all.
pub async fn doctor(
    path: &Path,
    now: Timestamp,
    depth: Depth,
) -> Result<Vec<Finding>, ConfigError> {
    let Loaded { config, warnings } = Config::load(path)?;
    let mut findings = Vec::new();
    for warning in warnings {
        let text = warning.to_string();
        findings.push(Finding::warning(
            "config",
            text,
            format!("look at it in {}", path.display()),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("config", path.display().to_string()));
    }
    findings.push(policies(&config));
    findings.extend(files::modes(&config));
    findings.extend(files::ends(&config, now));
    findings.extend(tls(&config, now));
    findings.push(files::descriptors(&config));
    findings.extend(store::look(&config, now).await);
    if depth == Depth::Full {
        findings.push(whole::look(&config).await);
    }
    let issuers = issuers::all(config.issuers, now).await;
    findings.extend(issuers);
    Ok(findings)
}

fn policies(config: &Config) -> Finding {
    let dir = config.policy.dir.display();
    match PolicySet::load(&config.policy.dir) {
        Ok(set) => match set.warnings() {
            [] => Finding::ok("policy", set.hash().to_string()),
            [first, more @ ..] => {
                let text = format!("{first} (and {} more)", more.len());
                Finding::warning("policy", text, format!("stint policy check {dir}"))
            }
        },
        Err(error) => Finding::failed(
            "policy",
            error.to_string(),
            format!("stint policy check {dir}"),
        ),
    }
}

/// Whether what the listener shows is for the name of `server.url`, and how long.
fn tls(config: &Config, now: Timestamp) -> Vec<Finding> {
    let url = config.server.url.as_str();
    let host = config.server.url.authority().split(':').next();
    let files = match &config.server.tls {
        Some(Tls::Own(files)) => files,
        Some(Tls::Proxy) => {
            let text = format!("a proxy ends it, and must hold a certificate for {url}");
            return vec![Finding::ok("tls", text)];
        }
        None => return vec![Finding::ok("tls", "none: loopback alone is listened on")],
    };
    let cert = files.cert.display();
    match tls::Tls::check(files, host.unwrap_or_default(), now) {
        Err(error) => {
            let fix = format!("put a certificate for {url} and its key into {cert}");
            vec![Finding::failed("tls", error.to_string(), fix)]
        }
        Ok(warnings) if warnings.is_empty() => {
            vec![Finding::ok("tls", format!("{cert} is for {url}"))]
        }
        Ok(warnings) => {
            let fix = format!("renew {cert}; the broker takes it up by itself");
            let warning = |text| Finding::warning("tls", text, fix.clone());
            warnings.into_iter().map(warning).collect()
        }
    }
}

/// The worst of them.
#[must_use]
pub fn worst(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|finding| finding.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}

#[cfg(test)]
mod tests {
    use super::Finding;

    #[test]
    fn what_an_issuer_says_draws_no_line_of_its_own() {
        let said = "evil\u{1b}[2K\nok        issuer     fine\u{202e}";
        let shown = Finding::failed("issuer", said, said).to_string();
        assert_eq!(shown.lines().count(), 2, "{shown}");
        let next = shown.lines().nth(1).unwrap();
        assert!(
            next.starts_with("next      evil\\u{1b}[2K\\u{a}ok"),
            "{next}"
        );
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }
}
