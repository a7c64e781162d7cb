//! A fake identity provider, where one click makes you somebody: dana, lee, kim, avery or olu.
//!
//! Broker and browser treat it as any other: discovery, authorization code with PKCE, an ID token under a published key.
//! `serve` refuses that key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use reqwest::Url;
use serde_json::json;
use stint_audit::Digest;
use stint_ca::signer::software::SoftwareSigner;

use super::issuer::{IssuerError, KID, pem_key, signed, spki_numbers};
use crate::clock::Clock;
use crate::http::grants::answer;
use crate::people::DEV;
use crate::random;

/// Who there is.
struct Somebody {
    name: &'static str,
    shown: &'static str,
    group: &'static str,
    what: &'static str,
    /// Their account at the fake GitHub and GitLab.
    account: Option<&'static str>,
}

const PEOPLE: [Somebody; 5] = [
    Somebody {
        name: "dana",
        shown: "Dana Ortiz",
        group: "sre",
        what: "approves deployments to production",
        account: None,
    },
    Somebody {
        name: "lee",
        shown: "Lee Park",
        group: "sre",
        what: "approves them too",
        account: None,
    },
    Somebody {
        name: "kim",
        shown: "Kim Ruiz",
        group: "developer",
        what: "starts the runs of acme/web, and so approves none of them",
        account: Some("28"),
    },
    Somebody {
        name: "avery",
        shown: "Avery Stone",
        group: "auditor",
        what: "reads everything and changes nothing",
        account: None,
    },
    Somebody {
        name: "olu",
        shown: "Olu Ade",
        group: "operator",
        what: "freezes and revokes",
        account: None,
    },
];

/// The provider.
pub(super) struct Provider {
    url: String,
    secret: String,
    key: Arc<SoftwareSigner>,
    clock: Arc<dyn Clock>,
    codes: Mutex<BTreeMap<String, Code>>,
}

/// What a code was given for.
struct Code {
    place: usize,
    nonce: String,
    challenge: String,
    redirect: String,
}

impl Provider {
    /// Below the broker's `url`.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub(super) fn new(url: &str, clock: Arc<dyn Clock>) -> Result<Provider, IssuerError> {
        Ok(Provider {
            url: format!("{url}{DEV}"),
            secret: BASE64URL_NOPAD.encode(&random::bytes::<24>()),
            key: pem_key()?,
            clock,
            codes: Mutex::default(),
        })
    }

    /// What the broker proves itself with here.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// `[people]` and `[roles]`; the secret is in `file`.
    pub(super) fn config(&self, file: &std::path::Path) -> String {
        format!(
            "[people]\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret = {{ file = \"{}\" }}\n\
             links = {{ github = \"account\", gitlab = \"account\" }}\n\
             [roles]\noperator = [\"operator\"]\nauditor = [\"auditor\"]\n",
            self.url,
            file.display(),
        )
    }

    fn id_token(&self, code: &Code) -> Option<String> {
        let somebody = PEOPLE.get(code.place)?;
        let now = self.clock.now().as_secs();
        let mut claims = json!({
            "iss": self.url, "aud": CLIENT, "sub": somebody.name, "iat": now, "exp": now + 300, "auth_time": now,
            "nonce": code.nonce, "name": somebody.shown, "email": format!("{}@acme.dev", somebody.name),
            "email_verified": true, "groups": [somebody.group],
        });
        if let (Some(account), Some(claims)) = (somebody.account, claims.as_object_mut()) {
            claims.insert("account".to_owned(), json!(account));
        }
        signed(&self.key, &claims).ok()
    }

    /// Takes a code, which counts once.
    fn take(&self, code: &str) -> Option<Code> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.remove(code)
    }

    fn keep(&self, code: Code) -> String {
        let id = BASE64URL_NOPAD.encode(&random::bytes::<24>());
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever clicks around for ever fills no memory.
        if codes.len() >= MOST {
            codes.clear();
        }
        codes.insert(id.clone(), code);
        id
    }
}

/// The routes of a provider.
pub(super) fn routes(provider: Provider) -> Router {
    Router::new()
        .route(
            "/dev/people/.well-known/openid-configuration",
            get(document),
        )
        .route("/dev/people/authorize", get(choose))
        .route("/dev/people/as/{name}", get(chosen))
        .route("/dev/people/token", post(token))
        .route("/dev/people/jwks", get(keys))
        .with_state(Arc::new(provider))
}

async fn document(State(provider): State<Arc<Provider>>) -> Response {
    let url = &provider.url;
    let document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    answer(StatusCode::OK, &document)
}

async fn keys(State(provider): State<Arc<Provider>>) -> Response {
    let (n, e) = spki_numbers(&provider.key);
    let key = json!({ "kty": "RSA", "kid": KID, "use": "sig", "alg": "RS256", "n": n, "e": e });
    answer(StatusCode::OK, &json!({ "keys": [key] }))
}

#[derive(Template)]
#[template(path = "dev_people.html")]
struct Page {
    links: Vec<(String, &'static Somebody)>,
}

/// Who do you want to be?
async fn choose(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let links = PEOPLE
        .iter()
        .map(|somebody| (format!("{DEV}/as/{}?{query}", somebody.name), somebody));
    let page = Page {
        links: links.collect(),
    };
    let headers = [
        (CONTENT_TYPE.as_str(), "text/html; charset=utf-8"),
        (CACHE_CONTROL.as_str(), "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    (headers, page.render().unwrap_or_default()).into_response()
}

/// One click: back to the broker with a code.
async fn chosen(
    State(provider): State<Arc<Provider>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let query = pairs(request.uri().query().unwrap_or_default());
    let wanted = |key: &str| query.get(key).cloned().unwrap_or_default();
    let place = PEOPLE.iter().position(|somebody| somebody.name == name);
    let broker = provider.url.strip_suffix(DEV).unwrap_or_default();
    let redirect = wanted("redirect_uri");
    // Nobody else's sign-in goes through here.
    let ours =
        redirect == format!("{broker}{}", crate::people::CALLBACK) && wanted("client_id") == CLIENT;
    let (Some(place), true, Ok(mut back)) = (place, ours, Url::parse(&redirect)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let code = provider.keep(Code {
        place,
        nonce: wanted("nonce"),
        challenge: wanted("code_challenge"),
        redirect,
    });
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &wanted("state"))
        .append_pair("iss", &provider.url);
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(back) = HeaderValue::from_str(back.as_str()) {
        response.headers_mut().insert(LOCATION, back);
    }
    response
}

async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    form: String,
) -> Response {
    let form = pairs(&form);
    let said = |key: &str| form.get(key).map_or("", String::as_str);
    let basic = BASE64.encode(format!("{CLIENT}:{}", provider.secret).as_bytes());
    let shown = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    if shown != Some(&format!("Basic {basic}")) {
        return no("invalid_client");
    }
    let Some(code) = provider.take(said("code")) else {
        return no("invalid_grant");
    };
    let proved = Digest::of(said("code_verifier").as_bytes()).to_string();
    if proved != code.challenge || said("redirect_uri") != code.redirect {
        return no("invalid_grant");
    }
    let Some(id_token) = provider.id_token(&code) else {
        return no("server_error");
    };
    let access_token = BASE64URL_NOPAD.encode(&random::bytes::<24>());
    let body = json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": id_token,
    });
    answer(StatusCode::OK, &body)
}

fn no(error: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let url = Url::parse(&format!("http://localhost/?{query}"));
    url.map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default()
}

/// The broker's name here.
const CLIENT: &str = "stint";

/// Codes that wait for the broker.
const MOST: usize = 100;
