//! A broker that takes tokens of one more platform: the preset's entry with a key of the tests, a permit for its callers,
//! and a good token to be spoilt. The claims are those the platform documents, whole.

use serde_json::{Value, json};
use stint_policy::Timestamp;
use stint_tests::broker::URL;
use stint_tests::clock::eventually;
use stint_tests::issuer::{Issuers, header};
use stint_tests::{Answer, TestBroker, keys, log};
use stint_wire::Code;

/// The broker, and how its platform's tokens are made.
pub(crate) struct Platform {
    pub(crate) broker: TestBroker,
    name: &'static str,
    good: Value,
}

impl Platform {
    /// `entry`: the lines of `[issuer.NAME]` without its keys. `when`: the condition under which its callers deploy to
    /// staging. `good`: the claims of a good token, but for `aud`, which is the broker, and times.
    pub(crate) async fn start(name: &'static str, entry: &str, when: &str, good: Value) -> Self {
        let table = table(name, entry, &jwks("sig"));
        Self::of((name, &table), when, good).await
    }

    /// The same with whole tables.
    pub(crate) async fn of((name, tables): (&'static str, &str), when: &str, good: Value) -> Self {
        let permit = format!(
            "@id(\"platform\") @owner(\"Group::\\\"release\\\"\") @max_ttl(\"30m\") @credential(\"x509,jwt\")\n\
             permit (principal is Stint::Workload, action == Action::\"deploy\", resource in Environment::\"staging\")\n\
             when {{ {when} }};\n"
        );
        let setup = TestBroker::with().policy("platform.cedar", &permit);
        Self {
            broker: setup.tables(tables).start().await,
            name,
            good,
        }
    }

    /// The claims of a token that was made now and lives 5 minutes.
    pub(crate) fn claims(&self) -> Value {
        let mut claims = self.good.clone();
        let now = self.broker.now().as_secs();
        let usual = [
            ("aud", json!(URL)),
            ("iat", json!(now)),
            ("exp", json!(now + 300)),
        ];
        for (name, value) in usual {
            if claims.get(name).is_none() {
                claims[name] = value;
            }
        }
        claims
    }

    /// A token with these claims, signed by the platform's key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_under(&header(), claims)
    }

    pub(crate) fn sign_under(&self, header: &Value, claims: &Value) -> String {
        self.broker
            .issuers
            .sign_text(&header.to_string(), &claims.to_string())
    }

    /// A good token with its claims changed.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.sign(&claims)
    }

    pub(crate) async fn ask(&self, token: &str) -> Answer {
        let body = json!({ "action": "deploy", "resources": ["Environment::staging/web"],
            "credential": { "kind": "x509", "csr": keys::csr() } });
        self.send("/v1/grants", token, &body.to_string()).await
    }

    pub(crate) async fn send(&self, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        self.broker.post(path, &headers, body.as_bytes()).await
    }

    /// What the broker makes of a token that it takes.
    pub(crate) async fn who(&self, token: &str) -> Value {
        let answer = self.send("/v1/whoami", token, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The good token is a caller of this id and task, with these words of `origin`, and is granted what policy gives.
    /// Answers with the platform's own record.
    pub(crate) async fn accepts(&self, id: &str, task: Value, origin: Value) -> Value {
        let token = self.sign(&self.claims());
        let me = self.who(&token).await;
        assert_eq!(
            me["spiffe_id"],
            format!("spiffe://acme.dev/{}/{id}", self.name)
        );
        assert_eq!(me["task"]["name"], task);
        assert_eq!(me["claims"]["origin"], origin);
        let granted = self.ask(&token).await.granted();
        assert!(granted.grant.starts_with("gr_"));
        me["claims"]["platform"].clone()
    }

    /// `lives = token`: no credential outlives the evidence.
    pub(crate) async fn ends_with_its_token(&self) {
        let exp = self.broker.now().as_secs() + 120;
        let token = self.with(|claims| {
            claims["exp"] = json!(exp);
            spend_anew(claims);
        });
        let granted = self.ask(&token).await.json();
        let end = granted["expires_at"].as_str().unwrap();
        let end = Timestamp::parse_rfc3339(end).unwrap().as_secs();
        assert!(end <= exp, "{end} is after {exp}");
    }

    /// Each is refused alike at both doors, is told from the others in the log alone, and leaves nothing.
    pub(crate) async fn refuses(&self, liars: Vec<(&str, &str, String)>) {
        let before = self.broker.state().await;
        for (what, label, token) in liars {
            let from = log::length();
            let who = self.send("/v1/whoami", &token, "").await;
            drop(who.refused(Code::EvidenceRejected));
            assert_eq!(self.ask(&token).await.status, 400, "{what}");
            self.logged(what, label, from).await;
        }
        assert_eq!(self.broker.state().await, before);
    }

    /// Waits for the event of a refusal by this entry (or by none, where the token named no other).
    async fn logged(&self, what: &str, label: &str, from: usize) {
        let refused = format!("refused=\"{label}\"");
        let issuer = format!("issuer=\"{}\"", self.name);
        let unmatched = ["audience", "form", "issuer"].contains(&label);
        let tells = |line: &str| line.contains(&refused) && (unmatched || line.contains(&issuer));
        let what = format!("{what}: an event of {issuer} says {refused}");
        eventually(&what, async || log::since(from).lines().any(tells)).await;
    }
}

/// Another token than the one before: platforms without `jti` are told apart by what is signed.
pub(crate) fn spend_anew(claims: &mut Value) {
    claims["jti"] = json!("another");
}

/// The public key of the tests, for this use, as TOML.
pub(crate) fn jwks(word: &str) -> String {
    let n = Issuers::new(URL).modulus();
    format!(
        "{{ keys = [{{ kty = \"RSA\", kid = \"dev-issuers\", use = \"{word}\", alg = \"RS256\", n = \"{n}\", e = \"AQAB\" }}] }}"
    )
}

/// `[issuer.NAME]` with its keys.
pub(crate) fn table(name: &str, entry: &str, keys: &str) -> String {
    format!("[issuer.{name}]\n{entry}\njwks = {keys}\n")
}

/// A claim set to a value.
pub(crate) fn set(path: &'static str, value: Value) -> impl FnOnce(&mut Value) {
    move |claims| *claims.pointer_mut(path).unwrap() = value
}

/// A claim taken away.
pub(crate) fn lacks(name: &'static str) -> impl FnOnce(&mut Value) {
    move |claims| assert!(claims.as_object_mut().unwrap().remove(name).is_some())
}

/// A claim added.
pub(crate) fn plus(name: &'static str, value: Value) -> impl FnOnce(&mut Value) {
    move |claims| claims[name] = value
}

/// A config that must not load, and what the report says.
pub(crate) fn does_not_load(entry: &str, words: &[&str]) {
    let text = format!(
        "version = 1\n[server]\nurl = \"https://stint.acme.dev\"\n[ca]\ntrust_domain = \"acme.dev\"\n\
         [issuer.it]\n{entry}\njwks = {}\n",
        jwks("sig")
    );
    let folder = std::env::temp_dir();
    let error = stint_broker::config::Config::parse("it.toml", &text, &folder).unwrap_err();
    let report = error.report().to_string();
    for word in words {
        assert!(report.contains(word), "`{word}` is not in:\n{report}");
    }
}
