//! An exchange at the token endpoint, as a foreign client would write it:
//! `broker.ci("acme/web").exchange("deploy", "Environment::staging/web").audience("https://a.example").send()`.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::broker::{TestBroker, URL};
use crate::caller::Caller;
use crate::keys::DpopKey;

/// A form that was not sent yet.
#[derive(Debug, Clone)]
pub struct Exchange<'b> {
    broker: &'b TestBroker,
    /// The fields, in order.
    pub fields: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl<'b> Exchange<'b> {
    /// A form with a fresh token of `caller` and nothing asked yet.
    #[must_use]
    pub fn of(broker: &'b TestBroker, caller: &Caller<'b>) -> Self {
        let form = Self {
            broker,
            fields: Vec::new(),
            headers: Vec::new(),
        };
        form.field("grant_type", GRANT)
            .field("subject_token", &caller.token())
            .field("subject_token_type", &format!("{TYPE}jwt"))
    }

    /// Asking for one action on resources.
    #[must_use]
    pub fn details(self, action: &str, resources: &[&str]) -> Self {
        let detail = json!({ "type": "stint_task", "action": action, "resources": resources });
        self.with_details(&json!([detail]))
    }

    /// With `authorization_details` as they are.
    #[must_use]
    pub fn with_details(self, details: &Value) -> Self {
        self.set("authorization_details", &details.to_string())
    }

    /// For this party.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.field("audience", audience)
    }

    /// One more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A field in place of the one of this name.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).field(name, value)
    }

    /// Without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a good DPoP proof of `key`.
    #[must_use]
    pub fn proved_by(self, key: &DpopKey) -> Self {
        let mut claims = key.claims(&format!("{URL}/oauth2/token"), "", self.broker.now());
        claims.remove("ath");
        let proof = key.sign(&key.header(), &claims);
        self.header("dpop", &proof)
    }

    /// The body, percent-encoded.
    #[must_use]
    pub fn body(&self) -> String {
        let pairs = self.fields.iter();
        let pairs = pairs.map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Sends it.
    pub async fn send(self) -> Answer {
        let body = self.body();
        self.send_body(body.as_bytes()).await
    }

    /// Sends another body under the same headers.
    pub async fn send_body(&self, body: &[u8]) -> Answer {
        let mut headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        self.broker.post("/oauth2/token", &headers, body).await
    }
}

impl<'b> Caller<'b> {
    /// Wants to do `action` on `resource`, in OAuth's words.
    #[must_use]
    pub fn exchange(&self, action: &str, resource: &str) -> Exchange<'b> {
        self.form().details(action, &[resource])
    }

    /// A form that asks nothing yet.
    #[must_use]
    pub fn form(&self) -> Exchange<'b> {
        Exchange::of(self.broker(), self)
    }
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What token types begin with.
pub const TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// A certificate.
pub const X509: &str = "urn:stint:token-type:x509";
