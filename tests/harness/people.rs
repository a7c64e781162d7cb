//! People who sign in: their identity provider, honest or lying in exactly one way, and a browser without a screen.
//!
//! ```text
//! let broker = TestBroker::with().people().start().await;
//! let dana = broker.signed_in("dana").await;
//! dana.get("/v1/me").await;
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD};
use reqwest::Url;
use serde_json::{Map, Value, json};
use stint_audit::Digest;
use stint_broker::clock::Clock as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::answer::Answer;
use crate::broker::{TestBroker, URL};
use crate::clock::TestClock;
use crate::issuer::{Issuers, header};
use crate::passkey::Passkey;

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// Its ID token has another nonce.
    Nonce,
    /// It has none.
    NoNonce,
    /// It is another issuer's.
    Issuer,
    /// It is for another client.
    Audience,
    /// It is for us and for another client.
    TwoAudiences,
    /// Another client asked for it.
    Party,
    /// Nobody signed it.
    Unsigned,
    /// The public key was taken for a secret.
    Hmac,
    /// Another key signed it, under the same name.
    Forged,
    /// Its key is not published.
    Unpublished,
    /// It is over.
    Expired,
    /// It is of tomorrow.
    Early,
    /// It speaks of another access token.
    AccessToken,
    /// It names a claim twice.
    Twice,
    /// The person has no subject.
    NoSubject,
    /// Its answers to the browser name another issuer.
    ResponseIssuer,
    /// They name none, though it announced it.
    NoResponseIssuer,
    /// They bring another state.
    State,
    /// It says no to the browser.
    Refuses,
    /// The token endpoint says no.
    TokenRefused,
    /// Its discovery document is another issuer's.
    ForeignDocument,
    /// Its keys lie on another host.
    ForeignKeys,
    /// Its token endpoint does.
    ForeignToken,
    /// It sends us elsewhere for the document.
    Redirected,
    /// Its document is larger than we read.
    Huge,
    /// The token endpoint's answer is.
    HugeToken,
    /// It does not answer for the document.
    Hangs,
    /// The token endpoint does not answer.
    HangsToken,
    /// It is away.
    Down,
}

/// An identity provider that ends with its value.
#[derive(Debug)]
pub struct Idp {
    /// Its issuer identifier.
    pub url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    url: String,
    clock: Arc<TestClock>,
    issuers: Issuers,
    lie: Mutex<Lie>,
    people: Mutex<BTreeMap<String, Map<String, Value>>>,
    codes: Mutex<BTreeMap<String, Code>>,
    fetches: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What a code was given for.
#[derive(Debug, Clone)]
struct Code {
    name: String,
    nonce: String,
    challenge: String,
    redirect: String,
}

/// The client's name and secret there.
const CLIENT: (&str, &str) = ("stint", "s3cret-of-the-client");

impl Idp {
    /// The people of the sample: dana and lee (sre), kim (developer, 28 at GitHub), avery (auditor), olu (operator).
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(clock: Arc<TestClock>) -> Idp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let people = [
            ("dana", "Dana Ortiz", "sre", None),
            ("lee", "Lee Park", "sre", None),
            ("kim", "Kim Ruiz", "developer", Some("28")),
            ("avery", "Avery Stone", "auditor", None),
            ("olu", "Olu Ade", "operator", None),
        ];
        let people = people.map(|(name, shown, group, account)| {
            let mut claims = json!({
                "sub": format!("idp|{name}"), "name": shown, "email": format!("{name}@acme.dev"), "email_verified": true,
                "groups": [group],
            });
            if let Some(account) = account {
                claims["github_id"] = json!(account);
            }
            (name.to_owned(), claims.as_object().unwrap().clone())
        });
        let shared = Arc::new(Shared {
            url: url.clone(),
            clock,
            issuers: Issuers::new(URL),
            lie: Mutex::default(),
            people: Mutex::new(people.into()),
            codes: Mutex::default(),
            fetches: AtomicUsize::new(0),
        });
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/elsewhere", get(document))
            .route("/authorize", get(choose))
            .route("/authorize/as/{name}", get(chosen))
            .route("/token", post(token))
            .route("/jwks", get(keys))
            .with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Idp {
            url,
            shared,
            _tasks: tasks,
        }
    }

    /// Its tables in `stint.toml`; `secret` is where the client's secret lies.
    #[must_use]
    pub fn config(&self, secret: &std::path::Path) -> String {
        crate::files::write_secret(secret, CLIENT.1.as_bytes());
        format!(
            "[people]\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\n\
             links = {{ github = \"github_id\" }}\n[roles]\noperator = [\"operator\"]\nauditor = [\"auditor\"]\n",
            self.url,
            CLIENT.0,
            secret.display(),
        )
    }

    /// From now on it lies like this.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    pub fn tell(&self, lie: Lie) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    /// From now on this claim of a person is that; `null` takes it away. An unknown name is somebody new.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    pub fn set(&self, name: &str, claim: &str, value: Value) {
        let mut people = self.shared.people.lock().unwrap();
        let claims = people.entry(name.to_owned()).or_insert_with(|| {
            let claims = json!({ "sub": format!("idp|{name}"), "name": name, "groups": [] });
            claims.as_object().unwrap().clone()
        });
        match value {
            Value::Null => drop(claims.remove(claim)),
            value => drop(claims.insert(claim.to_owned(), value)),
        }
    }

    /// How often it was asked anything by the broker.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Signs `name` in for whoever was sent to `url`: where the browser goes back to.
    ///
    /// # Panics
    /// When the URL is not what the broker would send.
    #[must_use]
    pub fn answer(&self, url: &str, name: &str) -> String {
        self.shared.answer(&query_of(url), name)
    }
}

fn query_of(url: &str) -> BTreeMap<String, String> {
    let url = Url::parse(url).unwrap();
    url.query_pairs().into_owned().collect()
}

impl Shared {
    fn lie(&self) -> Lie {
        *self.lie.lock().unwrap()
    }

    fn answer(&self, query: &BTreeMap<String, String>, name: &str) -> String {
        let wanted = |key: &str| query.get(key).cloned().unwrap_or_default();
        assert_eq!(wanted("response_type"), "code");
        assert_eq!(wanted("client_id"), CLIENT.0);
        assert_eq!(wanted("code_challenge_method"), "S256");
        assert!(wanted("scope").split(' ').any(|scope| scope == "openid"));
        let code = Code {
            name: name.to_owned(),
            nonce: wanted("nonce"),
            challenge: wanted("code_challenge"),
            redirect: wanted("redirect_uri"),
        };
        assert!(code.nonce.len() >= 43 && wanted("state").len() >= 43);
        let mut url = Url::parse(&code.redirect).unwrap();
        let lie = self.lie();
        let mut pairs = url.query_pairs_mut();
        if lie == Lie::Refuses {
            pairs.append_pair("error", "access_denied");
            pairs.append_pair("error_description", "<script>alert(1)</script>");
        } else {
            let mut codes = self.codes.lock().unwrap();
            let id = format!("code-{}", codes.len());
            pairs.append_pair("code", &id);
            codes.insert(id, code);
        }
        match lie {
            Lie::State => pairs.append_pair("state", "another"),
            _ => pairs.append_pair("state", &wanted("state")),
        };
        match lie {
            Lie::NoResponseIssuer => {}
            Lie::ResponseIssuer => drop(pairs.append_pair("iss", "https://login.evil.example")),
            _ => drop(pairs.append_pair("iss", &self.url)),
        }
        drop(pairs);
        url.to_string()
    }

    fn id_token(&self, code: &Code, access_token: &str) -> String {
        let now = self.clock.now().as_secs();
        let mut claims = self.people.lock().unwrap()[&code.name].clone();
        let hash = Digest::of(access_token.as_bytes());
        let standard = json!({
            "iss": self.url, "aud": CLIENT.0, "iat": now, "exp": now + 300, "nonce": code.nonce,
            "at_hash": BASE64URL_NOPAD.encode(&hash.as_bytes()[..16]),
        });
        for (name, value) in standard.as_object().unwrap() {
            claims.insert(name.clone(), value.clone());
        }
        // A person may be known to have signed in long ago, or not to be known.
        claims.entry("auth_time").or_insert(json!(now));
        if claims["auth_time"] == json!("unknown") {
            claims.remove("auth_time");
        }
        let mut set = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        let mut header = header();
        match self.lie() {
            Lie::Nonce => set("nonce", json!("another")),
            Lie::NoNonce => drop(claims.remove("nonce")),
            Lie::Issuer => set("iss", json!("https://login.evil.example")),
            Lie::Audience => set("aud", json!("another")),
            Lie::TwoAudiences => set("aud", json!([CLIENT.0, "another"])),
            Lie::Unpublished => header["kid"] = json!("of-tomorrow"),
            Lie::Party => set("azp", json!("another")),
            Lie::Expired => set("exp", json!(now - 60)),
            Lie::Early => set("iat", json!(now + 86_400)),
            Lie::AccessToken => set("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
            Lie::NoSubject => drop(claims.remove("sub")),
            Lie::Unsigned => {
                header["alg"] = json!("none");
                let token = self.issuers.sign(&header, &claims);
                return format!("{}.", token.rsplit_once('.').unwrap().0);
            }
            Lie::Hmac => {
                header["alg"] = json!("HS256");
                let token = self.issuers.sign(&header, &claims);
                let input = token.rsplit_once('.').unwrap().0;
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, CLIENT.1.as_bytes());
                let tag = ring::hmac::sign(&key, input.as_bytes());
                return format!("{input}.{}", BASE64URL_NOPAD.encode(tag.as_ref()));
            }
            Lie::Forged => {
                let token = self.issuers.sign(&header, &claims);
                let (input, signature) = token.rsplit_once('.').unwrap();
                let mut bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
                bytes[100] ^= 1;
                return format!("{input}.{}", BASE64URL_NOPAD.encode(&bytes));
            }
            Lie::Twice => {
                let text = Value::Object(claims).to_string();
                let twice = text.replacen('{', "{\"sub\":\"idp|dana\",", 1);
                return self.issuers.sign_text(&header.to_string(), &twice);
            }
            _ => {}
        }
        self.issuers.sign(&header, &claims)
    }
}

async fn document(State(idp): State<Arc<Shared>>) -> Response {
    idp.fetches.fetch_add(1, Ordering::SeqCst);
    let lie = idp.lie();
    let url = &idp.url;
    match lie {
        Lie::Down => return StatusCode::BAD_GATEWAY.into_response(),
        Lie::Hangs => tokio::time::sleep(Duration::from_secs(600)).await,
        Lie::Redirected => return Redirect::temporary(&format!("{url}/elsewhere")).into_response(),
        _ => {}
    }
    let elsewhere = "https://127.0.0.2:9";
    let mut document = json!({
        "issuer": if lie == Lie::ForeignDocument { "https://login.evil.example" } else { url },
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{}/token", if lie == Lie::ForeignToken { elsewhere } else { url }),
        "jwks_uri": format!("{}/jwks", if lie == Lie::ForeignKeys { elsewhere } else { url }),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if lie == Lie::Huge {
        document["padding"] = json!("x".repeat(300 * 1024));
    }
    axum::response::Json(document).into_response()
}

async fn keys(State(idp): State<Arc<Shared>>) -> Response {
    idp.fetches.fetch_add(1, Ordering::SeqCst);
    let key = json!({
        "kty": "RSA", "kid": "dev-issuers", "use": "sig", "alg": "RS256", "n": idp.issuers.modulus(), "e": "AQAB",
    });
    axum::response::Json(json!({ "keys": [key] })).into_response()
}

/// Who do you want to be? For browsers with a screen.
async fn choose(State(idp): State<Arc<Shared>>, request: axum::extract::Request) -> Html<String> {
    let query = request
        .uri()
        .query()
        .unwrap_or_default()
        .replace('&', "&amp;");
    let people = idp.people.lock().unwrap();
    let links = people
        .keys()
        .map(|name| format!("<p><a href=\"/authorize/as/{name}?{query}\">{name}</a></p>"));
    Html(format!(
        "<!doctype html><title>IdP</title>{}",
        links.collect::<String>()
    ))
}

async fn chosen(
    State(idp): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Redirect {
    let query = query_of(&format!("{}/?{}", idp.url, query.unwrap_or_default()));
    Redirect::to(&idp.answer(&query, &name))
}

async fn token(State(idp): State<Arc<Shared>>, headers: HeaderMap, form: String) -> Response {
    let form = Url::parse(&format!("http://localhost/?{form}")).unwrap();
    let form: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
    idp.fetches.fetch_add(1, Ordering::SeqCst);
    match idp.lie() {
        Lie::HangsToken => tokio::time::sleep(Duration::from_secs(600)).await,
        Lie::HugeToken => return "x".repeat(300 * 1024).into_response(),
        _ => {}
    }
    let no = |error: &str| {
        let body = axum::response::Json(json!({ "error": error }));
        (StatusCode::BAD_REQUEST, body).into_response()
    };
    let basic = format!(
        "Basic {}",
        BASE64.encode(format!("{}:{}", CLIENT.0, CLIENT.1).as_bytes())
    );
    if headers
        .get("authorization")
        .is_none_or(|shown| *shown != basic)
    {
        return no("invalid_client");
    }
    // A code counts once.
    let code = idp
        .codes
        .lock()
        .unwrap()
        .get_mut(&form["code"])
        .and_then(|code| {
            let fresh = !code.redirect.is_empty();
            let taken = code.clone();
            code.redirect.clear();
            fresh.then_some(taken)
        });
    let Some(code) = code.filter(|_| idp.lie() != Lie::TokenRefused) else {
        return no("invalid_grant");
    };
    let proved = BASE64URL_NOPAD.encode(Digest::of(form["code_verifier"].as_bytes()).as_bytes());
    if proved != code.challenge || form["redirect_uri"] != code.redirect {
        return no("invalid_grant");
    }
    let access_token = "an-access-token-that-nobody-uses";
    let body = json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": 300,
        "id_token": idp.id_token(&code, access_token),
    });
    axum::response::Json(body).into_response()
}

/// A browser that somebody signed in with.
#[derive(Debug)]
pub struct Person<'b> {
    broker: &'b TestBroker,
    /// Their name at the provider.
    pub name: String,
    /// The session's cookie, `NAME=SECRET`.
    pub cookie: String,
}

impl<'b> Person<'b> {
    /// `name`'s browser without a session.
    #[must_use]
    pub fn new(broker: &'b TestBroker, name: &str) -> Self {
        Self {
            broker,
            name: name.to_owned(),
            cookie: String::new(),
        }
    }

    /// Their SPIFFE ID: of the subject `idp|NAME`.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Digest::of(format!("idp|{}", self.name).as_bytes());
        let half = BASE32_NOPAD
            .encode(&hash.as_bytes()[..20])
            .to_ascii_lowercase();
        format!("spiffe://acme.dev/user/{half}")
    }

    /// Goes to the provider and comes back; `path` is where the sign-in begins. The answer is the callback's.
    ///
    /// # Panics
    /// When the broker does not send the browser to the provider.
    pub async fn try_sign_in(&mut self, path: &str) -> Answer {
        let began = self.get(path).await;
        assert_eq!(began.status, 303, "{}", began.text());
        let carried = set_cookie(&began);
        let back = self
            .broker
            .idp()
            .answer(began.header("location"), &self.name);
        self.come_back(&back, &carried).await
    }

    /// Comes back from the provider with these cookies besides.
    ///
    /// # Panics
    /// When `back` is no URL.
    pub async fn come_back(&mut self, back: &str, carried: &str) -> Answer {
        let back = Url::parse(back).unwrap();
        assert_eq!(
            format!("{}{}", back.origin().ascii_serialization(), back.path()),
            format!("{URL}/login/callback")
        );
        let path = format!("{}?{}", back.path(), back.query().unwrap_or_default());
        let cookies = match self.cookie.is_empty() {
            true => carried.to_owned(),
            false => format!("{}; {carried}", self.cookie),
        };
        let headers = [("cookie", cookies.as_str()), ("user-agent", "harness/1")];
        let answer = self.broker.request("GET", &path, &headers, b"").await;
        if answer.status == 303 {
            self.cookie = set_cookie(&answer);
            let secret = self.cookie.split_once('=').unwrap().1;
            self.broker.canary(secret);
        }
        answer
    }

    /// A page or a GET of the API.
    pub async fn get(&self, path: &str) -> Answer {
        let mut headers = vec![("user-agent", "harness/1")];
        if !self.cookie.is_empty() {
            headers.push(("cookie", self.cookie.as_str()));
        }
        self.broker.request("GET", path, &headers, b"").await
    }

    /// A change, as a page of ours sends it.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("origin", URL), ("sec-fetch-site", "same-origin")];
        self.post_with(path, &headers, body.to_string().as_bytes())
            .await
    }

    /// Enrols a passkey in software, as the page does.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn passkey(&self) -> Passkey {
        let passkey = Passkey::new("localhost", URL);
        let answer = self.enrol(&passkey).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        passkey
    }

    /// The same with this one, whatever comes of it.
    ///
    /// # Panics
    /// When there are no options.
    pub async fn enrol(&self, passkey: &Passkey) -> Answer {
        let options = self.post("/v1/me/passkeys/options", &json!({})).await;
        assert_eq!(options.status, 200, "{}", options.text());
        self.offer(passkey, &options.json()).await
    }

    /// The same with these options.
    ///
    /// # Panics
    /// When there is no challenge in them.
    pub async fn offer(&self, passkey: &Passkey, options: &Value) -> Answer {
        self.post("/v1/me/passkeys", &passkey.offer(options)).await
    }

    /// A POST with the session's cookie and these headers besides.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("cookie", self.cookie.as_str())];
        all.extend(headers);
        self.broker.post(path, &all, body).await
    }
}

/// The first cookie that an answer sets, `NAME=VALUE`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn set_cookie(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie");
    assert!(!cookie.is_empty(), "no cookie: {}", answer.text());
    cookie.split(';').next().unwrap().to_owned()
}

impl TestBroker {
    /// Somebody who signed in just now: dana, lee, kim, avery or olu.
    ///
    /// # Panics
    /// When the broker has no people, or does not let them in.
    pub async fn signed_in(&self, name: &str) -> Person<'_> {
        let mut person = Person::new(self, name);
        let answer = person.try_sign_in("/login/start").await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        person
    }
}
