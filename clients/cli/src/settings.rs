//! What was said, checked: flags over environment over defaults. The only file that reads the environment.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stint_client::{Anchor, Client, Endpoint, Fingerprint, Row, Source, SourceError};

use crate::args::{EvidenceArgs, Global};
use crate::exit::Exit;
use crate::output::Failure;
use crate::workspace::Base;

/// The dev broker, where nothing else is said.
const DEV_URL: &str = "http://localhost:8640";
/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);
/// The longest line of evidence taken from stdin, bytes: the longest token any issuer may be configured for.
const MAX_LINE: usize = 16 * 1024;

/// `stint help env`.
pub(crate) const ENV_HELP: &str = "\
STINT_URL\tthe broker
STINT_FINGERPRINT\tSHA-256 of its trust domain's root; another root is refused
STINT_CA_FILE\tCA certificates for its TLS, PEM
STINT_ID_TOKEN_FILE\tevidence, read anew for each ask
STINT_ID_TOKEN\tevidence
STINT_TOKEN_SOURCE\ta name of `stint help sources`, where finding it by itself would choose another or none
STINT_TASK\tthe task, as --task
STINT_REASON\tthe reason, as --reason
STINT_A11Y\tset: no picture of a link, one line per change
XDG_RUNTIME_DIR, RUNNER_TEMP\twhere the files of a run may live
XDG_CONFIG_HOME, HOME\twhere stint/trust.toml and stint/session.json are
";

/// `stint help sources`: what is given by hand, the platforms in the order of the search, and the dev broker.
pub(crate) fn sources_help() -> String {
    let platforms = Source::rows()
        .into_iter()
        .map(|Row { name, declare }| format!("{name}\t{declare}\n"));
    format!(
        "--token-file F, -\ta file; the first line of stdin\n\
         STINT_ID_TOKEN_FILE\ta file\n\
         STINT_ID_TOKEN\tthe token itself\n\
         {}\
         dev broker\teval \"$(stint dev-token --like github --repo acme/web --env)\"\n",
        platforms.collect::<String>()
    )
}

/// Checked settings.
#[derive(Debug)]
pub(crate) struct Settings {
    url: Option<String>,
    anchor: Anchor,
    fingerprint: Option<Fingerprint>,
    timeout: Duration,
    /// `--timeout`, where it was said: how long the verbs that wait for people do.
    pub(crate) patience: Option<Duration>,
    /// `STINT_A11Y`: nothing is drawn.
    pub(crate) plain: bool,
    /// `STINT_TASK`.
    pub(crate) task: Option<String>,
    /// `STINT_REASON`.
    pub(crate) reason: Option<String>,
}

impl Settings {
    /// Checks what every verb takes.
    ///
    /// # Errors
    /// Exit 2 for a fingerprint or CA file that cannot be read.
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let fingerprint = text(global.fingerprint.as_ref(), "STINT_FINGERPRINT")?
            .map(|text| {
                text.parse().map_err(|why| {
                    Failure::new(Exit::Usage, format!("fingerprint `{text}` is {why}"))
                })
            })
            .transpose()?;
        let anchor = match global.ca_file.clone().or_else(|| path("STINT_CA_FILE")) {
            None => Anchor::System,
            Some(path) => Anchor::Pem(fs::read(&path).map_err(|error| unreadable(&path, &error))?),
        };
        let patience = global
            .timeout
            .map(|wait| Duration::from_secs(wait.as_u32().into()));
        Ok(Self {
            url: text(global.url.as_ref(), "STINT_URL")?,
            anchor,
            fingerprint,
            timeout: patience.unwrap_or(CALL),
            patience,
            plain: variable("STINT_A11Y").is_some(),
            task: text(None, "STINT_TASK")?,
            reason: text(None, "STINT_REASON")?,
        })
    }

    /// A client for the broker.
    ///
    /// # Errors
    /// Exit 2 where none is named or its URL is not to be used.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let url = self.url.clone().ok_or_else(|| {
            Failure::new(Exit::Usage, "no broker is named")
                .next("export STINT_URL=https://…, or give --url")
        })?;
        let endpoint = Endpoint {
            url,
            anchor: self.anchor.clone(),
            fingerprint: self.fingerprint,
            timeout: self.timeout,
        };
        Ok(Client::new(endpoint)?)
    }

    /// The same for another broker than the environment names.
    pub(crate) fn at(self, url: Option<String>) -> Self {
        Self {
            url: url.or(self.url),
            ..self
        }
    }

    /// The dev broker's URL: plain HTTP on this machine, nothing else.
    ///
    /// # Errors
    /// Exit 2 for any other URL.
    pub(crate) fn dev_url(&self) -> Result<String, Failure> {
        let url = self.url.clone().unwrap_or_else(|| DEV_URL.to_owned());
        let client = Client::new(Endpoint::new(url, Anchor::System))?;
        if client.url().starts_with("http://") {
            return Ok(client.url().to_owned());
        }
        Err(Failure::new(
            Exit::Usage,
            format!(
                "{} is no dev broker: that one is on this machine",
                client.url()
            ),
        )
        .next("stintd dev"))
    }

    /// A client for a file at a URL.
    ///
    /// # Errors
    /// Exit 2 for a URL that is not to be used.
    pub(crate) fn fetcher(&self, url: &str) -> Result<reqwest::Client, Failure> {
        Ok(stint_client::download(url, &self.anchor, self.timeout)?)
    }

    /// How long one call may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where evidence comes from: the flag, else what the environment offers. `-` takes one line of stdin, byte by
    /// byte, and leaves the rest to the command.
    ///
    /// # Errors
    /// Exit 4, with what is missing; exit 2 for a variable that is no text.
    pub(crate) fn source(&self, args: &EvidenceArgs) -> Result<Source, Failure> {
        let source = match &args.token_file {
            Some(path) if path.as_os_str() == "-" => {
                first_line().and_then(|line| Source::once(&line, "stdin"))
            }
            Some(path) => Ok(Source::file(path)),
            None => detect(self.url.as_ref())?,
        };
        source.map_err(|error| stint_client::Error::from(error).into())
    }
}

/// What the environment offers, `url` standing for the broker whatever the environment says. Of its variables only the
/// first is a path, and a path need be no text.
fn detect(url: Option<&String>) -> Result<Result<Source, SourceError>, Failure> {
    if let Some(path) = path("STINT_ID_TOKEN_FILE") {
        return Ok(Ok(Source::file(path)));
    }
    let broken = Cell::new(None);
    let source = Source::detect(|name| {
        let said = url.filter(|_| name == "STINT_URL");
        text(said, name).unwrap_or_else(|failure| {
            broken.set(Some(failure));
            None
        })
    });
    broken.into_inner().map_or(Ok(source), Err)
}

/// Where this user's runs keep their files: UX.md §2 item 5, the system's temporary directory last.
///
/// # Errors
/// Exit 125: no such place.
pub(crate) fn base() -> Result<Base, Failure> {
    let user = rustix::process::geteuid().as_raw();
    let candidates = [
        path("XDG_RUNTIME_DIR").map(|dir| dir.join("stint")),
        path("RUNNER_TEMP").map(|dir| dir.join("stint")),
        Some(PathBuf::from(format!("/dev/shm/stint-{user}"))),
        Some(std::env::temp_dir().join(format!("stint-{user}"))),
    ];
    let candidates: Vec<PathBuf> = candidates.into_iter().flatten().collect();
    Base::choose(&candidates).map_err(|error| Failure::new(Exit::RunFailed, error))
}

/// `trust.toml`: the logs this user trusts.
///
/// # Errors
/// Exit 2 where neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub(crate) fn trust_file() -> Result<PathBuf, Failure> {
    let config = path("XDG_CONFIG_HOME");
    let config = config.or_else(|| path("HOME").map(|home| home.join(".config")));
    config
        .map(|dir| dir.join("stint/trust.toml"))
        .ok_or_else(|| Failure::new(Exit::Usage, "neither XDG_CONFIG_HOME nor HOME is set"))
}

/// Where the session of a person is kept: beside `trust.toml`.
///
/// # Errors
/// Exit 2 where neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub(crate) fn session_file() -> Result<PathBuf, Failure> {
    Ok(trust_file()?.with_file_name("session.json"))
}

/// A file that was named and cannot be read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("cannot read {}: {error}", path.display()),
    )
}

/// A variable that is a path; empty is unset.
fn path(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}

/// What the flag says, else the variable; empty is unset.
fn text(flag: Option<&String>, name: &str) -> Result<Option<String>, Failure> {
    match flag {
        Some(said) => Ok(Some(said.clone())),
        None => variable(name).map(|value| utf8(name, value)).transpose(),
    }
}

/// A variable that cannot be read is no unset one: a pin, above all, is not lost in silence.
fn utf8(name: &str, value: OsString) -> Result<String, Failure> {
    value
        .into_string()
        .map_err(|_bytes| Failure::new(Exit::Usage, format!("{name} is not UTF-8")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the environment in this program"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The first line of stdin, unbuffered.
fn first_line() -> Result<String, SourceError> {
    let failed = |source| SourceError::Read {
        path: "stdin".into(),
        source,
    };
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stdin.read(&mut byte).map_err(failed)? == 1 && byte != [b'\n'] && line.len() <= MAX_LINE {
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line).map_err(|_bytes| SourceError::NotAToken("stdin".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    use super::utf8;
    use crate::exit::Exit;

    #[test]
    fn a_variable_that_is_no_text_is_not_an_unset_one() {
        let read = |bytes: &[u8]| utf8("STINT_FINGERPRINT", OsString::from_vec(bytes.to_vec()));
        assert_eq!(read(b"sha256:00").unwrap(), "sha256:00");
        assert_eq!(read(b"sha256:\xff").unwrap_err().exit, Exit::Usage);
    }
}
