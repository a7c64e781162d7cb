//! `[ledger] witnesses` and what goes with it: whom the broker asks for cosignatures, and what it does without them.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Url};
use serde_json::{Value, json};
use stint_audit::trust::{MAX_BYTES, Policy, Witness};
use stint_policy::Seconds;
use toml::de::DeValue;

use super::setting::{Place, Word, Wrong};
use super::words::text;

/// A C2SP tlog-policy file, as it was when the config was read.
#[derive(Clone, Debug)]
pub struct TrustFile {
    path: PathBuf,
    policy: Policy,
}

impl TrustFile {
    /// What it says.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the quorum can be met by the witnesses that have a URL to be asked at.
    #[must_use]
    pub fn is_within_reach(&self) -> bool {
        let witnesses = self.policy.witnesses();
        let asked = |key: &_| {
            witnesses
                .iter()
                .any(|one| one.key == *key && one.url.is_some())
        };
        self.policy.evaluate(asked).met
    }
}

impl Word for TrustFile {
    const WANTS: &'static str = "the path of a C2SP tlog-policy file";

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Self, Wrong> {
        let path = place.dir.join(text::<Self>(value)?);
        let wrong = |text: String| Wrong::new(format!("`{}` {text}", path.display()), Self::WANTS);
        let file = read(&path).map_err(wrong)?;
        let policy = Policy::parse(&file).map_err(|error| wrong(error.to_string()))?;
        for witness in policy.witnesses() {
            asked_at(witness).map_err(wrong)?;
        }
        Ok(Self { path, policy })
    }

    fn json(&self) -> Value {
        json!(self.path.display().to_string())
    }
}

/// The URL that a witness is asked at; none if it has none. Plain http will do: what it answers is signed.
///
/// # Errors
/// A URL that is none, as the end of a sentence.
pub(crate) fn asked_at(witness: &Witness) -> Result<Option<Url>, String> {
    let Some(text) = &witness.url else {
        return Ok(None);
    };
    let plain = |url: &Url| {
        let web = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
        web && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
    };
    match Url::parse(text) {
        Ok(url) if plain(&url) => Ok(Some(url)),
        Ok(_) | Err(_) => Err(format!(
            "gives witness `{}` a URL that is none: `{text}`",
            witness.name
        )),
    }
}

/// Roots in place of the web's.
#[derive(Clone, Debug)]
pub struct RootsFile {
    path: PathBuf,
    roots: Vec<Certificate>,
}

impl RootsFile {
    /// At least one.
    #[must_use]
    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }
}

impl Word for RootsFile {
    const WANTS: &'static str = "the path of a PEM file of certificates";

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Self, Wrong> {
        let path = place.dir.join(text::<Self>(value)?);
        let wrong = |text: String| Wrong::new(format!("`{}` {text}", path.display()), Self::WANTS);
        let pem = read(&path).map_err(wrong)?;
        let roots = Certificate::from_pem_bundle(&pem);
        let roots = roots.map_err(|error| wrong(format!("is not PEM: {error}")))?;
        if roots.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        Ok(Self { path, roots })
    }

    fn json(&self) -> Value {
        json!(self.path.display().to_string())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES as u64 {
        return Err("is not a file of at most 1 MiB".to_owned());
    }
    fs::read(path).map_err(failed)
}

/// What happens while no quorum of witnesses cosigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwitnessed {
    /// Grants go on: there are a metric and a check.
    Serve,
    /// Grants stop after so long, and go on with the next quorum.
    StopAfter(Seconds),
}

impl Word for Unwitnessed {
    const WANTS: &'static str = "\"serve\" or \"stop after DURATION\"";
    const EMPTY_IS_NONE: bool = false;

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(serve|stop after [1-9][0-9]*[smhd])$" })
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Self, Wrong> {
        let text = text::<Self>(value)?;
        if text == "serve" {
            return Ok(Self::Serve);
        }
        let unknown = || Wrong::new(format!("does not know `{text}`"), Self::WANTS);
        let time = text.strip_prefix("stop after ").ok_or_else(unknown)?;
        let time = <Seconds as Word>::parse(&DeValue::String(time.into()), place)?;
        if (LEAST..=MOST).contains(&time) {
            Ok(Self::StopAfter(time))
        } else {
            Err(Wrong::new(
                format!("is out of bounds: `{text}`"),
                "1m to 7d",
            ))
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Serve => json!("serve"),
            Self::StopAfter(time) => {
                let time = Word::json(time);
                json!(format!("stop after {}", time.as_str().unwrap_or_default()))
            }
        }
    }
}

/// Witnesses restart: a minute of silence is no news.
const LEAST: Seconds = Seconds::new(60);
const MOST: Seconds = Seconds::new(7 * 86_400);
