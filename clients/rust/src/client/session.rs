//! A caller at one broker: what it asks for, and how each call shows who it is.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};
use ring::rand::SystemRandom;
use serde::Serialize;
use stint_wire::{Ask, Code, DryRun, Granted, Held, RequestView, Token, WhoAmI};

use super::transport::Answer;
use super::{Client, Outcome, Pending};
use crate::proof::unique;
use crate::{Error, Keeper, SessionKey, Source, receive};

/// Where credentials are asked for.
const GRANTS: &str = "/v1/grants";
/// What the broker waits at most before it answers, seconds.
const LONGEST_WAIT_S: u64 = 30;

/// A caller at one broker: evidence is fetched anew for every call, and every call proves the session's key.
#[derive(Debug)]
pub struct Session<'a> {
    pub(super) client: &'a Client,
    pub(super) source: Source,
    pub(super) proves: Proves,
}

/// Which session key goes with a token.
#[derive(Debug)]
pub(super) enum Proves {
    Nothing,
    One(Box<SessionKey>),
    Kept(Keeper),
}

impl Session<'_> {
    /// Proves `key` on every call from now on (DPoP); access tokens are then bound to it.
    #[must_use]
    pub fn prove(self, key: SessionKey) -> Self {
        Self {
            proves: Proves::One(Box::new(key)),
            ..self
        }
    }

    /// Proves on every call the key that `keeper` keeps for the call's token: what a source that repeats its tokens
    /// ([`Source::repeats`]) needs.
    #[must_use]
    pub fn prove_kept(self, keeper: Keeper) -> Self {
        Self {
            proves: Proves::Kept(keeper),
            ..self
        }
    }

    /// Asks for a credential.
    ///
    /// # Errors
    /// [`Error::Denied`] with the receipt, [`Error::Rejected`] with our own judgement of the token,
    /// [`Error::Fingerprint`] or [`Error::Unfit`] for a grant that is not to be used, or why no answer came.
    pub async fn grant(&self, ask: &Ask) -> Result<Outcome, Error> {
        let answer = self.ask(ask).await?;
        match answer.status {
            202 => {
                let held: Held = answer.expect(202)?;
                Ok(Outcome::Held(Box::new(Pending::new(held, ask.clone()))))
            }
            _ => {
                let granted: Box<Granted> = answer.expect(201)?;
                let client = self.client;
                receive::check(ask, &granted, client.pinned, client.broker_now())?;
                Ok(Outcome::Granted(granted))
            }
        }
    }

    /// Sends an ask, and once more where its answer was lost on the way: the key that comes with both says that they are
    /// one, so nothing is minted twice. A token is not kept by the broker: one that was lost is asked for anew.
    async fn ask(&self, ask: &Ask) -> Result<Answer, Error> {
        let random = SystemRandom::new();
        let once = unique(&random)?;
        match self.post(GRANTS, ask, Some(&once)).await {
            // Where nobody could be reached, nothing was sent.
            Err(Error::Unreachable(error)) if !error.is_connect() => {}
            answered => return answered,
        }
        match self.post(GRANTS, ask, Some(&once)).await {
            Err(Error::Problem(problem)) if problem.code == Code::AlreadyDelivered => {
                self.post(GRANTS, ask, Some(&unique(&random)?)).await
            }
            answered => answered,
        }
    }

    /// What `ask` would become now. Nothing happens and nothing is recorded; a denial is an answer here.
    ///
    /// # Errors
    /// As [`Session::grant`], without [`Error::Denied`].
    pub async fn can(&self, ask: &Ask) -> Result<DryRun, Error> {
        self.post("/v1/decisions", ask, None).await?.expect(200)
    }

    /// The caller as the broker sees it. Spends no evidence.
    ///
    /// # Errors
    /// As [`Session::grant`], without [`Error::Denied`].
    pub async fn whoami(&self) -> Result<WhoAmI, Error> {
        self.post("/v1/whoami", &serde_json::Map::new(), None)
            .await?
            .expect(200)
    }

    /// A token from the session's source, for the broker's audience.
    ///
    /// # Errors
    /// [`Error::Source`], or why the broker did not name its audience; [`Error::Endpoint`] if the audience it names is
    /// of another place: a platform would make a token for it that opens something else.
    pub async fn evidence(&self) -> Result<Token, Error> {
        let audience = &self.client.trust().await?.audience;
        // Proofs are bound to the broker's URL, so with them it is known by no other. Without, it may have several names.
        let named = matches!(self.proves, Proves::Nothing);
        if !named && !is_at(audience, &self.client.base) {
            return Err(Error::Endpoint {
                url: self.client.base.clone(),
                why: "the audience it names is of another place",
            });
        }
        Ok(self.source.token(audience).await?)
    }

    /// Where a request stands: at once, or as soon as something happens to it within `wait`, 30 s at most. By fresh
    /// evidence of the task that asked.
    ///
    /// # Errors
    /// As [`Session::grant`], without [`Error::Denied`]; a request that is not ours reads like one that never was.
    pub async fn look(&self, request: &str, wait: Duration) -> Result<RequestView, Error> {
        self.look_by(request, wait, Shows::Evidence).await
    }

    /// The same; the key that asked is enough.
    pub(super) async fn look_by(
        &self,
        request: &str,
        wait: Duration,
        shows: Shows,
    ) -> Result<RequestView, Error> {
        let seconds = wait.as_secs().min(LONGEST_WAIT_S);
        let path = format!("/v1/requests/{}?wait_s={seconds}", named(request)?);
        let limit = self.client.timeout.saturating_add(wait);
        let change = |call: RequestBuilder| call.timeout(limit);
        self.call((Method::GET, &path), shows, change)
            .await?
            .expect(200)
    }

    /// Takes a request back, whether anybody has answered or not. Once more is as good as once.
    ///
    /// # Errors
    /// As [`Session::look`]; [`Error::Problem`] of `state_conflict` if people refused it or nobody came in time.
    pub async fn cancel(&self, request: &str) -> Result<RequestView, Error> {
        self.cancel_by(request, Shows::Evidence).await
    }

    pub(super) async fn cancel_by(
        &self,
        request: &str,
        shows: Shows,
    ) -> Result<RequestView, Error> {
        let path = format!("/v1/requests/{}/cancel", named(request)?);
        self.call((Method::POST, &path), shows, |call| call)
            .await?
            .expect(200)
    }

    /// The receipt of an entry that is ours, by its id or the beginning of one: a C2SP `tlog-proof` whose `extra` line is
    /// the header.
    ///
    /// # Errors
    /// As [`Session::look`].
    pub async fn receipt(&self, id: &str) -> Result<String, Error> {
        let path = format!("/v1/ledger/proofs/{}", named(id)?);
        let answer = self
            .call((Method::GET, &path), Shows::Evidence, |call| call)
            .await?;
        String::from_utf8(answer.body).map_err(|_bytes| Error::Unexpected { status: 200 })
    }

    /// `once`: what makes this and another call one ask.
    async fn post<B: Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
        once: Option<&String>,
    ) -> Result<Answer, Error> {
        let change = |call: RequestBuilder| {
            let call = call.json(body);
            match once {
                Some(once) => call.header("Idempotency-Key", once),
                None => call,
            }
        };
        self.call((Method::POST, path), Shows::Evidence, change)
            .await
    }

    /// One call: who we are, and what `change` makes of it.
    async fn call(
        &self,
        (method, path): (Method, &str),
        shows: Shows,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let token = match (shows, &self.proves) {
            (Shows::KeyAlone, Proves::One(_)) => None,
            (Shows::Evidence | Shows::KeyAlone, _) => Some(self.evidence().await?),
        };
        let url = format!("{}{path}", self.client.base);
        let mut request = change(self.client.http.request(method.clone(), &url));
        if let Some(token) = &token {
            request = request.bearer_auth(token.expose());
        }
        let place = url.split_once('?').map_or(&*url, |(place, _)| place);
        if let Some(proof) = self.proof((&method, place), token.as_ref())? {
            request = request.header("DPoP", proof);
        }
        let answer = self
            .client
            .read(request.send().await.map_err(Error::Unreachable)?)
            .await?;
        match (answer.problem(), token) {
            (Some(problem), Some(token)) if problem.code == Code::EvidenceRejected => {
                let judgement = Box::new(self.client.judge(&token).await?);
                Err(Error::Rejected { problem, judgement })
            }
            (Some(problem), _) if problem.code == Code::Denied => Err(Error::Denied(problem)),
            (Some(problem), _) => Err(Error::Problem(problem)),
            (None, _) => Ok(answer),
        }
    }

    /// A proof for one call to `url`, with `token` if one goes along.
    fn proof(
        &self,
        (method, url): (&Method, &str),
        token: Option<&Token>,
    ) -> Result<Option<String>, Error> {
        let now = self.client.broker_now();
        let text = token.map(Token::expose);
        let proof = |key: &SessionKey| key.proof((method.as_str(), url), now, text);
        match (&self.proves, token) {
            (Proves::Nothing, _) | (Proves::Kept(_), None) => Ok(None),
            (Proves::One(key), _) => proof(key).map(Some),
            (Proves::Kept(keeper), Some(token)) => proof(&keeper.key(token)?).map(Some),
        }
    }
}

/// How a call shows who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// A fresh token, and a proof of the key beside it.
    Evidence,
    /// The key that asked, where it is in memory: its token may be over by now.
    KeyAlone,
}

/// An id that can stand in a path.
pub(super) fn named(request: &str) -> Result<&str, Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match request.bytes().all(legal) {
        true => Ok(request),
        false => Err(Error::Unfit("its request has no id")),
    }
}

/// Whether an audience is at the broker's own place: the same scheme, host and port. On this machine any is, for there is
/// nobody else to be.
pub(super) fn is_at(audience: &str, base: &str) -> bool {
    let origin = |text: &str| Url::parse(text).map(|url| url.origin());
    base.starts_with("http:")
        || matches!((origin(audience), origin(base)), (Ok(a), Ok(b)) if a == b)
}
