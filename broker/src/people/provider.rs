//! The identity provider of people: discovery, where to send a browser, and what a code is worth (IDENTITY.md §6).
//!
//! The flow is `openidconnect`'s; every byte goes by our own [`Wire`], with the fetch limits of issuers, to hosts that
//! config named. Nothing is asked of the provider before somebody wants to sign in, and whoever has a session does not
//! notice that it is away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
    CoreIdToken, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
    CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::http;
use openidconnect::{
    AccessToken, AdditionalProviderMetadata, AsyncHttpClient, AuthType, AuthenticationFlow,
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl,
    RequestTokenError, Scope, TokenResponse as _,
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use stint_policy::{Seconds, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::authenticate::Label;
use crate::authenticate::address::Reach;
use crate::authenticate::discovery::FetchError;
use crate::authenticate::login::{Expected, Identity, LoginKeys};
use crate::authenticate::wire::Wire;
use crate::config::{self, Secret};

/// Who says who people are.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    client: String,
    secret: Secret<String>,
    scopes: Vec<String>,
    /// `server.url` + `/login/callback`.
    redirect: String,
    hosts: Vec<String>,
    wire: Wire,
    known: Mutex<Known>,
    /// One discovery at a time.
    seat: Semaphore,
    dev: bool,
}

/// What the library talks through.
struct Talk<'p> {
    provider: &'p Provider,
    /// What each address said.
    heard: Mutex<Vec<(String, Vec<u8>)>>,
}

impl<'c> AsyncHttpClient<'c> for Talk<'_> {
    type Error = FetchError;
    type Future = Exchange<'c, Result<http::Response<Vec<u8>>, FetchError>>;

    fn call(&'c self, request: http::Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move {
            let at = request.uri().to_string();
            let answer = self.provider.talk(request).await?;
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((at, answer.body().clone()));
            drop(heard);
            Ok(answer)
        })
    }
}

/// Boxed, or the library's futures are too general for a task of their own.
type Exchange<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is known of the provider, or why nothing is.
#[derive(Debug, Default)]
struct Known {
    ready: Option<Arc<Ready>>,
    /// When an unknown key made us look again.
    forced: Option<Timestamp>,
    failures: u32,
    retry_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Ready {
    metadata: Metadata,
    keys: LoginKeys,
    at: Timestamp,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The provider cannot be reached, or what it says of itself cannot be used.
    #[error("the identity provider cannot be used: {0}")]
    Away(String),
    /// The provider said no, or said what does not hold. To the browser all of it is one text.
    #[error("the login was refused: {0}")]
    Refused(String),
    /// The provider knows the person, and we cannot go on: this text is theirs to read.
    #[error("{0}")]
    Told(String),
}

/// What goes with a browser to the provider, and is to come back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// RFC 9207.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Announced {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Announced {}

type Metadata = ProviderMetadata<
    Announced,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

impl Provider {
    /// `config` as it was read and judged; the provider is not asked.
    ///
    /// # Errors
    /// What cannot be read or used: the secret, the roots, TLS.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "`dev` or not is all there is to say"
    )]
    pub(super) fn new(
        config: &config::People,
        server_url: &str,
        dev: bool,
    ) -> Result<Provider, String> {
        let reach = match config.issuer.is_plain() {
            true => Reach::Loopback,
            false => Reach::Public(
                config
                    .allow_private
                    .iter()
                    .map(config::Cidr::network)
                    .collect(),
            ),
        };
        let roots = match &config.ca_file {
            None => Vec::new(),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| format!("`ca_file`: {error}"))?;
                reqwest::Certificate::from_pem_bundle(&pem)
                    .map_err(|error| format!("`ca_file`: {error}"))?
            }
        };
        let secret = config
            .client_secret
            .read()
            .map_err(|error| error.to_string())?;
        #[expect(
            clippy::disallowed_methods,
            reason = "it is sent to the provider as text, which it has to be"
        )]
        let secret = String::from_utf8(secret.expose().clone())
            .map_err(|_source| "`client_secret` is not UTF-8".to_owned())?;
        Ok(Provider {
            issuer: config.issuer.as_str().to_owned(),
            client: config.client_id.clone(),
            secret: Secret::new(secret),
            scopes: config.scopes.clone(),
            redirect: format!("{server_url}{CALLBACK}"),
            hosts: config.hosts.clone(),
            wire: Wire::new(reach, roots)
                .map_err(|error| format!("TLS cannot be set up: {error}"))?,
            known: Mutex::default(),
            seat: Semaphore::new(1),
            dev,
        })
    }

    /// Where to send a browser that brings back `secrets`. `fresh`: how old the provider's own login may be.
    ///
    /// # Errors
    /// [`LoginError::Away`].
    pub(super) async fn send_to(
        &self,
        secrets: &Secrets,
        fresh: Option<Seconds>,
        now: Timestamp,
    ) -> Result<String, LoginError> {
        let ready = self.ready(now).await?;
        let client = CoreClient::from_provider_metadata(
            ready.metadata.clone(),
            ClientId::new(self.client.clone()),
            None,
        );
        let client = client.set_redirect_uri(self.redirect()?);
        let verifier = PkceCodeVerifier::new(secrets.verifier.clone());
        let (state, nonce) = (secrets.state.clone(), secrets.nonce.clone());
        let mut request = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        // The library says `openid` by itself.
        for scope in self.scopes.iter().filter(|scope| *scope != "openid") {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        if let Some(age) = fresh {
            request = request.set_max_age(Duration::from_secs(age.as_u32().into()));
        }
        Ok(request.url().0.to_string())
    }

    /// Whether an answer that says it is `iss`'s may be the provider's (RFC 9207).
    pub(super) async fn is_from(
        &self,
        iss: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, LoginError> {
        let ready = self.ready(now).await?;
        let announced = ready.metadata.additional_metadata();
        Ok(match iss {
            Some(iss) => iss == self.issuer,
            None => !announced.authorization_response_iss_parameter_supported,
        })
    }

    /// Whom the provider gave `code` for.
    ///
    /// # Errors
    /// [`LoginError::Away`], [`LoginError::Refused`].
    pub(super) async fn redeem(
        &self,
        code: &str,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Identity, LoginError> {
        let mut ready = self.ready(now).await?;
        let (id_token, access_token) = self.exchange(&ready, code, secrets).await?;
        let expected = Expected {
            issuer: &self.issuer,
            client: &self.client,
            nonce: &secrets.nonce,
            access_token: access_token.secret(),
        };
        let text = id_token.to_string();
        let mut read = Identity::read(&text, &ready.keys, expected, now);
        if matches!(read, Err(Label::Key))
            && let Some(newer) = self.newer(&ready, now).await?
        {
            // Signed by a key that is newer than what was known.
            ready = newer;
            read = Identity::read(&text, &ready.keys, expected, now);
        }
        let identity = read.map_err(|label| {
            LoginError::Refused(format!("the ID token does not hold: {}", label.as_str()))
        })?;
        self.agree(&ready, &id_token, &secrets.nonce, now)?;
        Ok(identity)
    }

    /// The library's own opinion of a token that was accepted.
    fn agree(
        &self,
        ready: &Ready,
        id_token: &CoreIdToken,
        nonce: &str,
        now: Timestamp,
    ) -> Result<(), LoginError> {
        let client = CoreClient::from_provider_metadata(
            ready.metadata.clone(),
            ClientId::new(self.client.clone()),
            None,
        );
        // The leeway for clocks is ours to give, and was given.
        let millis = u64::try_from(now.as_millis().saturating_sub(LEEWAY_MS)).unwrap_or_default();
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs([
                CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
                CoreJwsSigningAlgorithm::RsaSsaPssSha256,
                CoreJwsSigningAlgorithm::EcdsaP256Sha256,
                CoreJwsSigningAlgorithm::EcdsaP384Sha384,
                CoreJwsSigningAlgorithm::EdDsa,
            ])
            .set_time_fn(move || (UNIX_EPOCH + Duration::from_millis(millis)).into());
        let claims = id_token.claims(&verifier, &Nonce::new(nonce.to_owned()));
        claims
            .map(drop)
            .map_err(|error| LoginError::Refused(format!("the ID token does not hold: {error}")))
    }

    fn exchange<'a>(
        &'a self,
        ready: &'a Ready,
        code: &'a str,
        secrets: &'a Secrets,
    ) -> Exchange<'a, Result<(CoreIdToken, AccessToken), LoginError>> {
        Box::pin(self.exchanged(ready, code, secrets))
    }

    async fn exchanged(
        &self,
        ready: &Ready,
        code: &str,
        secrets: &Secrets,
    ) -> Result<(CoreIdToken, AccessToken), LoginError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "it proves to the provider that we are its client"
        )]
        let secret = self.secret.expose().clone();
        let client = CoreClient::from_provider_metadata(
            ready.metadata.clone(),
            ClientId::new(self.client.clone()),
            Some(ClientSecret::new(secret)),
        );
        let methods = ready.metadata.token_endpoint_auth_methods_supported();
        let by_post = methods.is_some_and(|methods| {
            !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
        });
        let client = match by_post {
            true => client.set_auth_type(AuthType::RequestBody),
            false => client,
        };
        let client = client.set_redirect_uri(self.redirect()?);
        let request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
        let request =
            request.map_err(|_source| LoginError::Away("no token endpoint".to_owned()))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier.clone()));
        let talk = Talk {
            provider: self,
            heard: Mutex::default(),
        };
        let answer = request
            .request_async(&talk)
            .await
            .map_err(|error| match error {
                RequestTokenError::Request(error) => LoginError::Away(said(&error)),
                RequestTokenError::ServerResponse(response) => {
                    LoginError::Refused(format!("the token endpoint says {:?}", response.error()))
                }
                RequestTokenError::Parse(error, _) => LoginError::Refused(format!(
                    "the token endpoint's answer cannot be read: {error}"
                )),
                RequestTokenError::Other(text) => LoginError::Refused(text),
            })?;
        let id_token = answer.id_token().cloned();
        let id_token = id_token.ok_or_else(|| LoginError::Refused("no ID token".to_owned()))?;
        Ok((id_token, answer.access_token().clone()))
    }

    /// What is known, fetched if it is not or is old.
    async fn ready(&self, now: Timestamp) -> Result<Arc<Ready>, LoginError> {
        match self.look(now)? {
            Some(ready) => Ok(ready),
            None => {
                let _seat = self.seat().await?;
                // Whoever waited for the seat has what the one before them brought.
                match self.look(now)? {
                    Some(ready) => Ok(ready),
                    None => self.discover(now).await,
                }
            }
        }
    }

    /// What is there now, if it is not `than`, or may be looked at again for a key that is not in it.
    async fn newer(
        &self,
        than: &Arc<Ready>,
        now: Timestamp,
    ) -> Result<Option<Arc<Ready>>, LoginError> {
        let _seat = self.seat().await?;
        {
            let mut known = self.lock();
            let other = known.ready.as_ref().filter(|it| !Arc::ptr_eq(it, than));
            if let Some(other) = other {
                return Ok(Some(Arc::clone(other)));
            }
            if known.forced.is_some_and(|at| now <= at.plus(FORCED)) {
                return Ok(None);
            }
            known.forced = Some(now);
        }
        self.discover(now).await.map(Some)
    }

    async fn seat(&self) -> Result<SemaphorePermit<'_>, LoginError> {
        let gone = |_| LoginError::Away("the process ends".to_owned());
        self.seat.acquire().await.map_err(gone)
    }

    /// What is known and young enough, or that nobody is to ask now.
    fn look(&self, now: Timestamp) -> Result<Option<Arc<Ready>>, LoginError> {
        let known = self.lock();
        if let Some(ready) = known
            .ready
            .as_ref()
            .filter(|ready| now < ready.at.plus(FRESH))
        {
            return Ok(Some(Arc::clone(ready)));
        }
        match known.retry_at.is_some_and(|at| now < at) {
            true => Err(LoginError::Away("it failed a moment ago".to_owned())),
            false => Ok(None),
        }
    }

    /// Fetches it, for whoever has the seat.
    async fn discover(&self, now: Timestamp) -> Result<Arc<Ready>, LoginError> {
        let fetched: Exchange<'_, _> = Box::pin(self.fetch(now));
        let fetched = fetched.await;
        let mut known = self.lock();
        match fetched {
            Ok(ready) => {
                let ready = Arc::new(ready);
                *known = Known {
                    ready: Some(Arc::clone(&ready)),
                    forced: known.forced,
                    ..Known::default()
                };
                Ok(ready)
            }
            Err(why) => {
                known.failures = known.failures.saturating_add(1);
                let wait = 1_u32
                    .checked_shl(known.failures.min(6))
                    .unwrap_or(64)
                    .min(60);
                known.retry_at = Some(now.plus(Seconds::new(wait)));
                Err(LoginError::Away(why))
            }
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<Ready, String> {
        let talk = Talk {
            provider: self,
            heard: Mutex::default(),
        };
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(|error| error.to_string())?;
        let metadata = Metadata::discover_async(issuer, &talk).await;
        let metadata = metadata.map_err(|error| said(&error))?;
        let endpoints = [
            Some(metadata.authorization_endpoint().url()),
            metadata.token_endpoint().map(|url| url.url()),
        ];
        for url in endpoints {
            let url = url.ok_or("the document names no token endpoint")?;
            self.is_named(url)
                .then_some(())
                .ok_or_else(|| FetchError::ForeignHost(url.to_string()).to_string())?;
        }
        let at = metadata.jwks_uri().url().as_str();
        let heard = talk
            .heard
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let body = heard.iter().rev().find(|(url, _)| url == at);
        let (_, body) = body.ok_or("the key set was not fetched")?;
        let keys = LoginKeys::parse(body).map_err(|error| error.to_string())?;
        if keys.are_dev() && !self.dev {
            return Err("its key is the published one of `stintd dev`".to_owned());
        }
        Ok(Ready {
            metadata,
            keys,
            at: now,
        })
    }

    /// One exchange for the library.
    async fn talk(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, FetchError> {
        let (parts, body) = request.into_parts();
        let text = parts.uri.to_string();
        let url = Url::parse(&text).map_err(|_source| FetchError::Url(text.clone()))?;
        // INVARIANT: a document of the provider never chooses a host that config did not.
        if !self.is_named(&url) {
            return Err(FetchError::ForeignHost(text));
        }
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(body.into());
        let answer = self.wire.send(request).await?;
        if answer.headers.contains_key(http::header::CONTENT_ENCODING) {
            return Err(FetchError::Encoded);
        }
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    /// On the issuer's own host, or on one that config names; with the issuer's own scheme.
    fn is_named(&self, url: &Url) -> bool {
        let Ok(issuer) = Url::parse(&self.issuer) else {
            return false;
        };
        let own = url.origin() == issuer.origin();
        let named = url.port().is_none()
            && url
                .host_str()
                .is_some_and(|host| self.hosts.iter().any(|named| named == host));
        let plain = url.username().is_empty() && url.password().is_none();
        (own || named) && plain && url.scheme() == issuer.scheme()
    }

    fn redirect(&self) -> Result<RedirectUrl, LoginError> {
        RedirectUrl::new(self.redirect.clone()).map_err(|error| LoginError::Away(error.to_string()))
    }

    /// The lock guards plain assignments.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with its causes, for the log.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// The one place a browser comes back to.
pub(crate) const CALLBACK: &str = "/login/callback";

/// How long a discovery document and its keys serve: a key that was removed is dead after as long (IDENTITY.md §2.5).
const FRESH: Seconds = Seconds::new(600);

/// An unknown key makes us look again at most this often.
const FORCED: Seconds = Seconds::new(60);

const LEEWAY_MS: i64 = 30_000;
