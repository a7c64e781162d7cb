//! Where evidence comes from: the sources of UX.md §3 that are built, in their order.
//!
//! A source is asked for every call, so that each ask has a token of its own where the platform gives more than one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use stint_wire::Token;

use crate::Error;
use crate::client::{self, is_secure};

/// The longest token any issuer may be configured for (SECURITY.md §4), bytes.
const MAX_TOKEN: u64 = 16 * 1024;
/// Where Kubernetes projects Stint's token.
const KUBERNETES_TOKEN: &str = "/var/run/secrets/stint/token";
/// How long GitHub may take (UX.md §3).
const GITHUB_TIMEOUT: Duration = Duration::from_secs(10);

/// A source of evidence.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, read anew each time.
    File(PathBuf),
    /// GitHub Actions: asked for a token with our audience.
    GitHub {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: Url,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        bearer: Token,
    },
    /// The kubelet's projected token, read anew each time.
    Kubernetes(PathBuf),
    /// One token and no second: `STINT_ID_TOKEN`, GitLab's `id_tokens`, standard input.
    Once {
        /// The token.
        token: Token,
        /// Where it was found, in words.
        from: String,
    },
}

/// No evidence could be had. Its text says what to declare.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// GitHub did not hand out a token.
    #[error("GitHub gave no ID token: {0}")]
    GitHub(String),
    /// The platform was recognised, but the job was not allowed to have a token.
    #[error("{platform} is here, but gives this job no token\n{remedy}")]
    HalfSetUp {
        /// Which one.
        platform: &'static str,
        /// What to add, ready to copy.
        remedy: String,
    },
    /// Nothing was found.
    #[error(
        "no evidence found: no --token-file, no STINT_ID_TOKEN_FILE, no STINT_ID_TOKEN, no platform that gives a token"
    )]
    None,
    /// What was found is no token.
    #[error("{0} holds no token")]
    NotAToken(String),
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `STINT_TOKEN_SOURCE` names nothing we know.
    #[error("STINT_TOKEN_SOURCE is `{0}`; it can be github-actions, gitlab-ci or kubernetes")]
    Unknown(String),
}

impl Source {
    /// Finds the source as UX.md §3 orders them, after an explicit file: `STINT_ID_TOKEN_FILE`, `STINT_ID_TOKEN`,
    /// `STINT_TOKEN_SOURCE`, then the platforms. `env` looks up one variable; this crate reads none by itself.
    ///
    /// # Errors
    /// [`SourceError::None`], or what a platform that is only half set up lacks.
    pub fn detect(env: impl Fn(&str) -> Option<String>) -> Result<Self, SourceError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        if let Some(path) = env("STINT_ID_TOKEN_FILE") {
            return Ok(Self::File(path.into()));
        }
        if let Some(token) = env("STINT_ID_TOKEN") {
            return Self::once(&token, "STINT_ID_TOKEN");
        }
        match env("STINT_TOKEN_SOURCE").as_deref() {
            Some("github-actions") => github(&env),
            Some("gitlab-ci") => Err(gitlab_lacks(&env)),
            Some("kubernetes") => Ok(Self::Kubernetes(KUBERNETES_TOKEN.into())),
            Some(other) => Err(SourceError::Unknown(other.to_owned())),
            None if env("ACTIONS_ID_TOKEN_REQUEST_URL").is_some()
                || env("GITHUB_ACTIONS").is_some() =>
            {
                github(&env)
            }
            None if env("GITLAB_CI").is_some() => Err(gitlab_lacks(&env)),
            None if Path::new(KUBERNETES_TOKEN).exists() => {
                Ok(Self::Kubernetes(KUBERNETES_TOKEN.into()))
            }
            None if env("KUBERNETES_SERVICE_HOST").is_some() => Err(kubernetes_lacks(&env)),
            None => Err(SourceError::None),
        }
    }

    /// A token that was given by hand; white space around it is dropped.
    ///
    /// # Errors
    /// [`SourceError::NotAToken`] if it is empty, too long, or not visible ASCII.
    pub fn once(token: &str, from: &str) -> Result<Self, SourceError> {
        Ok(Self::Once {
            token: tidy(token, from)?,
            from: from.to_owned(),
        })
    }

    /// A token for `audience`.
    ///
    /// # Errors
    /// [`SourceError`] as the source has it.
    pub async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        match self {
            Self::GitHub { url, bearer } => ask_github(url.clone(), bearer, audience).await,
            Self::File(path) | Self::Kubernetes(path) => read(path),
            Self::Once { token, .. } => Ok(token.clone()),
        }
    }

    /// The token that is here already, which the next call may well bring again: such a source needs one
    /// session key for as long as the token is the same. `None`: every call brings a fresh one.
    ///
    /// # Errors
    /// [`SourceError`] as the source has it.
    pub fn at_hand(&self) -> Result<Option<Token>, SourceError> {
        match self {
            Self::GitHub { .. } => Ok(None),
            Self::File(path) | Self::Kubernetes(path) => read(path).map(Some),
            Self::Once { token, .. } => Ok(Some(token.clone())),
        }
    }

    /// The source in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("file {}", path.display()),
            Self::GitHub { url, .. } => format!(
                "GitHub Actions, asking {}",
                url.host_str().unwrap_or("its issuer")
            ),
            Self::Kubernetes(path) => format!("Kubernetes, {}", path.display()),
            Self::Once { from, .. } => from.clone(),
        }
    }
}

fn github(env: &impl Fn(&str) -> Option<String>) -> Result<Source, SourceError> {
    let lacks = || SourceError::HalfSetUp {
        platform: "GitHub Actions",
        remedy: "permissions:\n  id-token: write\n  contents: read".to_owned(),
    };
    let url = env("ACTIONS_ID_TOKEN_REQUEST_URL").ok_or_else(lacks)?;
    let bearer = env("ACTIONS_ID_TOKEN_REQUEST_TOKEN").ok_or_else(lacks)?;
    let url = Url::parse(&url).ok().filter(is_secure).ok_or_else(|| {
        SourceError::GitHub("its request URL is neither https nor on this machine".to_owned())
    })?;
    Ok(Source::GitHub {
        url,
        bearer: tidy(&bearer, "ACTIONS_ID_TOKEN_REQUEST_TOKEN")?,
    })
}

fn gitlab_lacks(env: &impl Fn(&str) -> Option<String>) -> SourceError {
    let url = env("STINT_URL").unwrap_or_else(|| "https://your.broker".to_owned());
    SourceError::HalfSetUp {
        platform: "GitLab CI",
        remedy: format!("id_tokens:\n  STINT_ID_TOKEN:\n    aud: {url}"),
    }
}

fn kubernetes_lacks(env: &impl Fn(&str) -> Option<String>) -> SourceError {
    let url = env("STINT_URL").unwrap_or_else(|| "https://your.broker".to_owned());
    SourceError::HalfSetUp {
        platform: "Kubernetes",
        remedy: format!(
            "volumes:\n- name: stint\n  projected:\n    sources:\n    - serviceAccountToken: {{ path: token, audience: \"{url}\", expirationSeconds: 600 }}\n# mounted at /var/run/secrets/stint"
        ),
    }
}

fn read(path: &Path) -> Result<Token, SourceError> {
    let failed = |source| SourceError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_TOKEN + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    tidy(&text, &path.display().to_string())
}

fn tidy(text: &str, from: &str) -> Result<Token, SourceError> {
    let token = text.trim();
    let fits = token.len() as u64 <= MAX_TOKEN;
    if token.is_empty() || !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SourceError::NotAToken(from.to_owned()));
    }
    Ok(Token::new(token.to_owned()))
}

#[derive(Deserialize)]
struct IdToken {
    value: Token,
}

async fn ask_github(mut url: Url, bearer: &Token, audience: &str) -> Result<Token, SourceError> {
    url.query_pairs_mut().append_pair("audience", audience);
    let http = client::http(GITHUB_TIMEOUT, &url)
        .build()
        .map_err(|error| github_failed(&error))?;
    let answer = http
        .get(url)
        .bearer_auth(bearer.expose())
        .send()
        .await
        .map_err(|error| github_failed(&error))?;
    if !answer.status().is_success() {
        return Err(SourceError::GitHub(format!(
            "HTTP {}",
            answer.status().as_u16()
        )));
    }
    let unreadable = || SourceError::GitHub("its answer cannot be read".to_owned());
    let body = client::body(answer).await.map_err(|error| match error {
        Error::Unreachable(error) => github_failed(&error),
        _ => unreadable(),
    })?;
    let token: IdToken = serde_json::from_slice(&body).map_err(|_json| unreadable())?;
    tidy(token.value.expose(), "GitHub's answer")
}

/// `reqwest` puts the URL, and with it the job's ids, into its text: what went wrong is enough.
fn github_failed(error: &reqwest::Error) -> SourceError {
    let what = match error {
        timeout if timeout.is_timeout() => "no answer within 10 s",
        unreachable if unreachable.is_connect() => "it cannot be reached",
        _ => "its answer cannot be read",
    };
    SourceError::GitHub(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Source, SourceError};

    fn detect(env: &[(&str, &str)]) -> Result<Source, SourceError> {
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        Source::detect(|name| env.get(name).map(|&value| value.to_owned()))
    }

    fn found(env: &[(&str, &str)]) -> String {
        detect(env).unwrap().describe()
    }

    fn refused(env: &[(&str, &str)]) -> String {
        detect(env).unwrap_err().to_string()
    }

    #[test]
    fn takes_the_first_that_is_there() {
        let github = [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://gh/x?a=1"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
        ];
        assert_eq!(found(&github), "GitHub Actions, asking gh");
        assert_eq!(
            found(&[github[0], github[1], ("STINT_ID_TOKEN", "a.b.c")]),
            "STINT_ID_TOKEN"
        );
        assert_eq!(
            found(&[("STINT_ID_TOKEN_FILE", "/t"), ("STINT_ID_TOKEN", "a.b.c")]),
            "file /t"
        );
        assert_eq!(
            found(&[github[0], github[1], ("STINT_ID_TOKEN", "")]),
            "GitHub Actions, asking gh"
        );
        assert!(found(&[("STINT_TOKEN_SOURCE", "kubernetes")]).starts_with("Kubernetes"));
    }

    #[test]
    fn says_what_a_half_set_up_job_lacks() {
        assert!(refused(&[("GITHUB_ACTIONS", "true")]).contains("id-token: write"));
        assert!(
            refused(&[("GITLAB_CI", "true"), ("STINT_URL", "https://s")])
                .contains("aud: https://s")
        );
        assert!(
            refused(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).contains("serviceAccountToken")
        );
        assert!(refused(&[("STINT_TOKEN_SOURCE", "jenkins")]).contains("jenkins"));
        assert!(matches!(detect(&[]), Err(SourceError::None)));
    }

    #[test]
    fn sends_the_runner_token_to_no_plain_host() {
        let env = [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://gh.example/x"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
        ];
        assert!(refused(&env).contains("neither https"));
    }

    #[test]
    fn a_token_is_visible_ascii_with_nothing_around_it() {
        let Source::Once { token, .. } = Source::once(" a.b.c\r\n", "here").unwrap() else {
            panic!("once")
        };
        assert_eq!(token.expose(), "a.b.c");
        for bad in ["", "  ", "a b", "a\nb", "é"] {
            assert!(
                matches!(Source::once(bad, "here"), Err(SourceError::NotAToken(_))),
                "{bad:?}"
            );
        }
        assert!(Source::once(&"a".repeat(16 * 1024 + 1), "here").is_err());
    }
}
