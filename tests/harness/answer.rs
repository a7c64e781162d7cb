//! What came back.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stint_wire::oauth::{OAuthError, TokenGranted, TokenRefused};
use stint_wire::{Code, DryRun, Granted, Held, Problem};

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads all of `response`.
    ///
    /// # Errors
    /// The connection's.
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self {
            status,
            headers,
            body: response.bytes().await?.to_vec(),
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// One header's text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// A 201.
    #[must_use]
    pub fn granted(&self) -> Granted {
        self.expect(201)
    }

    /// A 200 of the token endpoint.
    #[must_use]
    pub fn exchanged(&self) -> TokenGranted {
        let granted = self.expect(200);
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        granted
    }

    /// A refusal of the token endpoint by this word, with its status and headers.
    #[must_use]
    pub fn no_token(&self, error: OAuthError) -> TokenRefused {
        let refused: TokenRefused = serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{why}: {} {}", self.status, self.text()));
        assert_eq!(refused.error, error, "{}", self.text());
        let status = match error {
            OAuthError::InvalidClient => 401,
            OAuthError::TemporarilyUnavailable => refused.code.status(),
            _ if refused.code == Code::TooLarge => 413,
            _ => 400,
        };
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        let legal = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        assert!(
            refused.error_description.chars().all(legal),
            "{}",
            self.text()
        );
        refused
    }

    /// A 202.
    #[must_use]
    pub fn held(&self) -> Held {
        self.expect(202)
    }

    /// A 200 of a dry run.
    #[must_use]
    pub fn judged(&self) -> DryRun {
        self.expect(200)
    }

    /// A problem of this code, with its status, type and media type.
    #[must_use]
    pub fn refused(&self, code: Code) -> Problem {
        let problem: Problem = self.expect(code.status());
        assert_eq!(problem.code, code, "{}", self.text());
        assert_eq!(problem.status, code.status());
        assert_eq!(problem.kind, format!("/problems/{}", code.as_str()));
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        problem
    }

    /// The problem, whichever it is.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.expect(self.status.as_u16())
    }

    fn expect<T: DeserializeOwned>(&self, status: u16) -> T {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
