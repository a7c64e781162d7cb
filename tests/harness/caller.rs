//! Somebody who asks: `broker.ci("acme/web").on("refs/heads/main").ask("deploy", "Environment::staging/web").x509()`.

use serde_json::{Map, Value, json};
use stint_broker::dev::Mint;

use crate::answer::Answer;
use crate::broker::{TestBroker, URL};
use crate::issuer::{Like, header};
use crate::keys::{self, DpopKey};

/// A job or pod. Each ask brings a fresh token of it; [`Caller::job`] makes them tokens of one task.
#[derive(Debug, Clone)]
pub struct Caller<'b> {
    broker: &'b TestBroker,
    like: Like,
    wanted: Mint,
}

/// An ask that was not sent yet.
#[derive(Debug, Clone)]
pub struct Asking<'b> {
    caller: Caller<'b>,
    body: Value,
    token: Option<String>,
    key: Option<&'b DpopKey>,
}

impl<'b> Caller<'b> {
    pub(crate) fn new(broker: &'b TestBroker, like: Like, wanted: Mint) -> Self {
        Self {
            broker,
            like,
            wanted,
        }
    }

    pub(crate) fn broker(&self) -> &'b TestBroker {
        self.broker
    }

    /// The ref it runs on; main if nothing is said.
    #[must_use]
    pub fn on(mut self, git_ref: &str) -> Self {
        self.wanted.r#ref = Some(git_ref.to_owned());
        self
    }

    /// With a claim as it is; `null` takes it away.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.wanted.claims.insert(name.to_owned(), value);
        self
    }

    /// One named unit of work: every token of it names the same task.
    #[must_use]
    pub fn job(self, id: &str) -> Self {
        match self.like {
            Like::GitHub => self
                .claim("run_id", json!("7"))
                .claim("check_run_id", json!(id)),
            Like::GitLab => self
                .claim("pipeline_id", json!("7"))
                .claim("job_id", json!(id)),
            Like::Kubernetes => self,
        }
    }

    /// The claims of a fresh token.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        self.broker
            .issuers
            .claims(self.like, &self.wanted, self.broker.now())
    }

    /// A fresh token, planted as a secret that may be found nowhere afterwards.
    #[must_use]
    pub fn token(&self) -> String {
        let token = self.broker.issuers.sign(&header(), &self.claims());
        let (_, signature) = token.rsplit_once('.').unwrap();
        self.broker.canary(signature);
        token
    }

    /// Wants to do `action` on `resource`.
    #[must_use]
    pub fn ask(self, action: &str, resource: &str) -> Asking<'b> {
        let body = json!({ "action": action, "resources": [resource] });
        Asking {
            caller: self,
            body,
            token: None,
            key: None,
        }
    }
}

impl<'b> Asking<'b> {
    /// With a member of the body as it is.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.body[name] = value;
        self
    }

    /// For so many seconds.
    #[must_use]
    pub fn ttl(self, seconds: u32) -> Self {
        self.member("ttl_s", json!(seconds))
    }

    /// With this token, and not a fresh one.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With a DPoP proof of `key`.
    #[must_use]
    pub fn proved_by(mut self, key: &'b DpopKey) -> Self {
        self.key = Some(key);
        self
    }

    /// For a certificate of the key in `csr`.
    #[must_use]
    pub fn for_csr(self, csr: &str) -> Self {
        self.member("credential", json!({ "kind": "x509", "csr": csr }))
    }

    /// For a JWT.
    #[must_use]
    pub fn for_jwt(self, audience: &str) -> Self {
        self.member("credential", json!({ "kind": "jwt", "audience": audience }))
    }

    /// Asks for a certificate of a new P-256 key.
    pub async fn x509(self) -> Answer {
        self.csr(&keys::csr()).await
    }

    /// The same of a broker that may die meanwhile.
    ///
    /// # Errors
    /// The connection's.
    pub async fn x509_or_nothing(self) -> Result<Answer, reqwest::Error> {
        self.for_csr(&keys::csr()).try_send().await
    }

    /// Asks for a certificate of the key in `csr`.
    pub async fn csr(self, csr: &str) -> Answer {
        self.for_csr(csr).send().await
    }

    /// Asks for a JWT.
    pub async fn jwt(self, audience: &str) -> Answer {
        self.for_jwt(audience).send().await
    }

    /// Asks.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// Asks a broker that may die meanwhile.
    ///
    /// # Errors
    /// The connection's.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        self.send_to("/v1/grants").await
    }

    /// Asks what would be, and nothing more: a dry run.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn judge(self) -> Answer {
        self.send_to("/v1/decisions").await.unwrap()
    }

    async fn send_to(self, path: &str) -> Result<Answer, reqwest::Error> {
        let broker = self.caller.broker;
        let token = self.token.unwrap_or_else(|| self.caller.token());
        let bearer = format!("Bearer {token}");
        let proof = self
            .key
            .map(|key| key.proof(&format!("{URL}{path}"), &token, broker.now()));
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(proof.as_deref().map(|proof| ("dpop", proof)));
        broker
            .try_request("POST", path, &headers, self.body.to_string().as_bytes())
            .await
    }
}
