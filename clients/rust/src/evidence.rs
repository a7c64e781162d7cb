//! Where evidence comes from: the sources of UX.md §3, in their order. [`platform`] is the table; each platform has a
//! file of its own.
//!
//! A source is asked for every call, so that each ask has a token of its own where the platform gives more than one.
//! What was recognised and is only half set up ends the search: a job that lacks its token must not go on under the
//! name of the machine it runs on.

mod aws;
mod azure;
mod buildkite;
mod circleci;
mod fetch;
mod file;
mod github;
mod gitlab;
mod google;
mod kubernetes;
mod platform;
mod program;
mod spiffe;
mod terraform;

use std::io;
use std::path::PathBuf;

use stint_wire::Token;

use platform::Env;
pub use platform::Row;

/// A source of evidence.
#[derive(Debug, Clone)]
pub struct Source(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Aws(aws::Aws),
    Azure(azure::Azure),
    Buildkite(buildkite::Buildkite),
    CircleCi(circleci::CircleCi),
    /// A file, read anew each time; where it was found, in words.
    File {
        path: PathBuf,
        from: String,
    },
    GitHub(github::GitHub),
    Google(google::Google),
    /// One token and no second; where it was found, in words.
    Once {
        token: Token,
        from: String,
    },
    Spiffe(spiffe::Spiffe),
}

/// No evidence could be had. Its text says what to declare.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The platform was recognised, but the job was not allowed to have a token.
    #[error("{platform} is here, but gives this job no token\n{remedy}")]
    HalfSetUp {
        /// Which one.
        platform: &'static str,
        /// What to add, ready to copy.
        remedy: String,
    },
    /// The platform was asked for a token and gave none.
    #[error("{platform} gave no token: {why}")]
    NoAnswer {
        /// Which one.
        platform: &'static str,
        /// What went wrong, without any secret.
        why: String,
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
    #[error("STINT_TOKEN_SOURCE is `{0}`; it can be {names}", names = platform::names())]
    Unknown(String),
}

impl Source {
    /// What there is, in the order of the search, each with what has to be declared for it.
    #[must_use]
    pub fn rows() -> Vec<Row> {
        platform::rows()
    }

    /// Finds the source as UX.md §3 orders them, after an explicit file: `STINT_ID_TOKEN_FILE`, `STINT_ID_TOKEN`,
    /// `STINT_TOKEN_SOURCE`, then the platforms. `env` looks up one variable; this crate reads none by itself.
    ///
    /// # Errors
    /// [`SourceError::None`], or what a platform that is only half set up lacks.
    pub fn detect(env: impl Fn(&str) -> Option<String>) -> Result<Self, SourceError> {
        let env = Env::new(&env);
        if let Some(path) = env.get("STINT_ID_TOKEN_FILE") {
            return Ok(Self::file(path));
        }
        if let Some(token) = env.get("STINT_ID_TOKEN") {
            return Self::once(&token, gitlab::named(&env));
        }
        platform::find(&env)
    }

    /// A file, read anew for each ask.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let from = format!("file {}", path.display());
        Self(Kind::File { path, from })
    }

    /// A token that was given by hand; white space around it is dropped.
    ///
    /// # Errors
    /// [`SourceError::NotAToken`] if it is empty, too long, or not visible ASCII.
    pub fn once(token: &str, from: &str) -> Result<Self, SourceError> {
        Ok(Self(Kind::Once {
            token: file::tidy(token, from)?,
            from: from.to_owned(),
        }))
    }

    /// A token for `audience`.
    ///
    /// # Errors
    /// [`SourceError`] as the source has it.
    pub async fn token(&self, audience: &str) -> Result<Token, SourceError> {
        match &self.0 {
            Kind::Aws(aws) => aws.token(audience).await,
            Kind::Azure(azure) => azure.token(audience).await,
            Kind::Buildkite(buildkite) => buildkite.token(audience).await,
            Kind::CircleCi(circleci) => circleci.token(audience).await,
            Kind::File { path, .. } => file::read(path),
            Kind::GitHub(github) => github.token(audience).await,
            Kind::Google(google) => google.token(audience).await,
            Kind::Once { token, .. } => Ok(token.clone()),
            Kind::Spiffe(spiffe) => spiffe.token(audience).await,
        }
    }

    /// Whether two calls may bring the same token, because the platform gives a job only one, or hands out what it has
    /// at hand. Such a token is good again only with the key that it came with first, so that key has to be kept for as
    /// long as the token is the same. `false`: every call brings a fresh one.
    #[must_use]
    pub const fn repeats(&self) -> bool {
        match self.0 {
            Kind::Aws(_) | Kind::Buildkite(_) | Kind::GitHub(_) => false,
            Kind::Azure(_)
            | Kind::CircleCi(_)
            | Kind::File { .. }
            | Kind::Google(_)
            | Kind::Once { .. }
            | Kind::Spiffe(_) => true,
        }
    }

    /// The source in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Aws(aws) => aws.describe(),
            Kind::Azure(azure) => azure.describe(),
            Kind::Buildkite(buildkite) => buildkite.describe(),
            Kind::CircleCi(circleci) => circleci.describe(),
            Kind::File { from, .. } | Kind::Once { from, .. } => from.clone(),
            Kind::GitHub(github) => github.describe(),
            Kind::Google(google) => google.describe(),
            Kind::Spiffe(spiffe) => spiffe.describe(),
        }
    }
}

#[cfg(test)]
mod tests;
