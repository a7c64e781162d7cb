//! Somebody who signed in at a terminal: a session of an hour that only its key can use.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use reqwest::{Method, RequestBuilder, Url};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stint_wire::{CallerList, GrantList, RequestList, RequestView, TaskList, Token};

use super::Client;
use super::pending::until_decided;
use super::session::named;
use super::transport::Answer;
use crate::proof::unique;
use crate::{Error, SessionKey};

/// A session as the broker opened it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PersonToken {
    /// Its secret, good with the session's key alone.
    pub token: Token,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// What makes a code from a browser good here and nowhere else (RFC 7636).
#[derive(Debug)]
pub struct Pkce {
    /// The secret that stays here.
    pub verifier: Token,
    /// Its SHA-256, base64url: what goes along to the browser.
    pub challenge: String,
    /// What comes back with the code.
    pub state: String,
}

impl Pkce {
    /// Draws one from the OS.
    ///
    /// # Errors
    /// [`Error::Key`] if the OS gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let random = SystemRandom::new();
        let verifier = format!("{}{}", unique(&random)?, unique(&random)?);
        let challenge = BASE64URL.encode(digest(&SHA256, verifier.as_bytes()));
        Ok(Self {
            verifier: Token::new(verifier),
            challenge,
            state: unique(&random)?,
        })
    }
}

/// Somebody at one broker.
#[derive(Debug)]
pub struct Person<'a> {
    client: &'a Client,
    token: Token,
    key: SessionKey,
}

impl Client {
    /// Redeems what a browser brought back from the login: the code, and the secret whose hash went there.
    ///
    /// # Errors
    /// [`Error::Problem`] if the code is not good with this key, or why no answer came.
    pub async fn sign_in(
        &self,
        code: &str,
        pkce: &Pkce,
        key: &SessionKey,
    ) -> Result<PersonToken, Error> {
        #[derive(Serialize)]
        struct Redeem<'a> {
            code: &'a str,
            verifier: &'a Token,
        }
        let url = format!("{}/v1/sessions", self.base);
        let proof = key.proof(("POST", &url), self.broker_now(), None)?;
        let request = self.http.post(&url).json(&Redeem {
            code,
            verifier: &pkce.verifier,
        });
        let request = request.header("DPoP", proof);
        let answer = request.send().await.map_err(Error::Unreachable)?;
        let answer = self.read(answer).await?;
        match answer.status {
            200 => answer.expect(200),
            _ => answer.expect(201),
        }
    }

    /// Somebody who signed in before.
    #[must_use]
    pub const fn person(&self, token: Token, key: SessionKey) -> Person<'_> {
        Person {
            client: self,
            token,
            key,
        }
    }
}

impl Person<'_> {
    /// What waits for people, the one that ends first in front, and whether this one can decide it.
    ///
    /// # Errors
    /// [`Error::Problem`] of `login_required` when the session is over, or why no answer came.
    pub async fn inbox(&self) -> Result<RequestList, Error> {
        let answer = self
            .call((Method::GET, "/v1/requests"), |call| call)
            .await?;
        answer.expect(200)
    }

    /// A page of what was granted. `filters`: name and value, as the console's URL has them; `after` is the `next` of the
    /// page before.
    ///
    /// # Errors
    /// As [`Person::inbox`]; a filter that is not known is refused.
    pub async fn grants(&self, filters: &[(String, String)]) -> Result<GrantList, Error> {
        self.list("/v1/grants", filters).await
    }

    /// A page of tasks, likewise.
    ///
    /// # Errors
    /// As [`Person::grants`].
    pub async fn tasks(&self, filters: &[(String, String)]) -> Result<TaskList, Error> {
        self.list("/v1/tasks", filters).await
    }

    /// A page of callers, likewise.
    ///
    /// # Errors
    /// As [`Person::grants`].
    pub async fn callers(&self, filters: &[(String, String)]) -> Result<CallerList, Error> {
        self.list("/v1/callers", filters).await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        filters: &[(String, String)],
    ) -> Result<T, Error> {
        let url = Url::parse_with_params(&self.client.base, filters).ok();
        let path = match url.as_ref().and_then(Url::query) {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            Some(_) | None => path.to_owned(),
        };
        let answer = self.call((Method::GET, &path), |call| call).await?;
        answer.expect(200)
    }

    /// Where a request stands: at once, or as soon as something happens to it within `wait`.
    ///
    /// # Errors
    /// As [`Person::inbox`]; one that they may not see reads like one that never was.
    pub async fn look(&self, request: &str, wait: Duration) -> Result<RequestView, Error> {
        let path = format!("/v1/requests/{}?wait_s={}", named(request)?, wait.as_secs());
        let limit = self.client.timeout.saturating_add(wait);
        let answer = self
            .call((Method::GET, &path), |call| call.timeout(limit))
            .await?;
        answer.expect(200)
    }

    /// Waits until it is decided.
    ///
    /// # Errors
    /// What asking again does not help against.
    pub async fn wait(
        &self,
        request: &str,
        seen: impl FnMut(&RequestView),
    ) -> Result<RequestView, Error> {
        until_decided(|wait| self.look(request, wait), seen).await
    }

    /// Ends the session, here and at the broker.
    ///
    /// # Errors
    /// Why no answer came; the session ends by itself then.
    pub async fn sign_out(self) -> Result<(), Error> {
        let answer = self.call((Method::POST, "/v1/sessions/end"), |call| {
            call.header("content-type", "application/json").body("{}")
        });
        let answer = answer.await?;
        match answer.status {
            200 | 204 => Ok(()),
            status => Err(Error::Unexpected { status }),
        }
    }

    async fn call(
        &self,
        (method, path): (Method, &str),
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let client = self.client;
        let url = format!("{}{path}", client.base);
        let place = url.split_once('?').map_or(&*url, |(place, _)| place);
        let text = self.token.expose();
        let proof = self
            .key
            .proof((method.as_str(), place), client.broker_now(), Some(text))?;
        let request = client.http.request(method, &url);
        let request = request
            .header("Authorization", format!("DPoP {text}"))
            .header("DPoP", proof);
        let answer = change(request).send().await.map_err(Error::Unreachable)?;
        let answer = client.read(answer).await?;
        match answer.problem() {
            Some(problem) => Err(Error::Problem(problem)),
            None => Ok(answer),
        }
    }
}
