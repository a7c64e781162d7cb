//! Fake GitHub, GitLab and Kubernetes: tokens with the claims of the real ones, for no real job.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stint_ca::signer::software::SoftwareSigner;
use stint_ca::signer::{Algorithm, Signer};
use stint_policy::Timestamp;
use thiserror::Error;

use crate::clock::Clock;
use crate::http::grants::answer;
use crate::random;

/// One fake platform.
#[derive(Debug, Clone)]
pub struct Issuer {
    like: Like,
    url: String,
    audience: String,
    key: Arc<SoftwareSigner>,
}

/// Which platform it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Like {
    GitHub,
    GitLab,
    Kubernetes,
}

/// What somebody wants in a token.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mint {
    /// `acme/web`; for Kubernetes `namespace/serviceaccount`.
    pub repo: Option<String>,
    /// `refs/heads/main`.
    pub r#ref: Option<String>,
    /// Claims to set as they are; `null` takes one away.
    pub claims: Map<String, Value>,
    /// Another audience than the broker's.
    pub audience: Option<String>,
}

/// The dev key cannot be used.
#[derive(Debug, Error)]
#[error("the embedded issuer key cannot be used: {0}")]
pub struct IssuerError(String);

impl Issuer {
    /// The three, below `url`.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn all(url: &str) -> Result<Vec<Self>, IssuerError> {
        let key = pem_key()?;
        let platforms = [Like::GitHub, Like::GitLab, Like::Kubernetes].into_iter();
        let issuer = |like: Like| Self {
            like,
            url: format!("{url}/dev/{}", like.name()),
            audience: url.to_owned(),
            key: Arc::clone(&key),
        };
        Ok(platforms.map(issuer).collect())
    }

    /// Its `[issuer.NAME]` table.
    #[must_use]
    pub fn config(&self) -> String {
        let name = self.like.name();
        let (preset, only) = match self.like {
            Like::GitHub => (
                "github-actions",
                "only = { repository_owner_id = [\"123456\"] }\n",
            ),
            Like::GitLab => ("gitlab-ci", "only = { namespace_id = [\"72\"] }\n"),
            Like::Kubernetes => ("kubernetes", ""),
        };
        let (n, e) = rsa_numbers(self.key.public_key_spki());
        format!(
            "[issuer.{name}]\npreset = \"{preset}\"\nurl = \"{url}\"\n{only}jwks = {{ keys = [{{ kty = \"RSA\", \
             kid = \"{KID}\", use = \"sig\", alg = \"RS256\", n = \"{n}\", e = \"{e}\" }}] }}\n",
            url = self.url,
        )
    }

    /// A token for a job that never ran.
    ///
    /// # Errors
    /// The signer's.
    pub fn mint(&self, wanted: &Mint, now: Timestamp) -> Result<String, IssuerError> {
        let mut claims = match self.like {
            Like::GitHub => github(wanted),
            Like::GitLab => gitlab(wanted),
            Like::Kubernetes => kubernetes(wanted),
        };
        if let Some(members) = claims.as_object_mut() {
            let iat = now.as_secs();
            members.insert("iss".to_owned(), json!(self.url));
            members.insert(
                "aud".to_owned(),
                json!(wanted.audience.as_ref().unwrap_or(&self.audience)),
            );
            members.insert("iat".to_owned(), json!(iat));
            members.insert("nbf".to_owned(), json!(iat));
            members.insert("exp".to_owned(), json!(iat + LIFE_S));
            members.insert(
                "jti".to_owned(),
                json!(BASE64URL_NOPAD.encode(&random::bytes::<16>())),
            );
            for (name, value) in &wanted.claims {
                match value {
                    Value::Null => drop(members.remove(name)),
                    value => drop(members.insert(name.clone(), value.clone())),
                }
            }
        }
        signed(&self.key, &claims)
    }
}

/// A JWT over whatever `claims` say.
pub(super) fn signed(key: &SoftwareSigner, claims: &Value) -> Result<String, IssuerError> {
    let header = json!({ "alg": "RS256", "kid": KID, "typ": "JWT" });
    let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
    let input = format!("{}.{}", encode(&header), encode(claims));
    #[expect(
        clippy::disallowed_methods,
        reason = "a fake issuer signs what it is asked"
    )]
    let signature = key
        .sign(input.as_bytes())
        .map_err(|error| IssuerError(error.to_string()))?;
    Ok(format!("{input}.{}", BASE64URL_NOPAD.encode(&signature)))
}

impl Like {
    fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// acme/web is repository 456789 of owner 123456; other names get numbers of their own.
fn github(wanted: &Mint) -> Value {
    let repo = wanted.repo.as_deref().unwrap_or("acme/web");
    let git_ref = wanted.r#ref.as_deref().unwrap_or("refs/heads/main");
    let owner = repo.split('/').next().unwrap_or(repo);
    let repository_id = if repo == "acme/web" {
        "456789".to_owned()
    } else {
        number(repo)
    };
    let owner_id = if owner == "acme" {
        "123456".to_owned()
    } else {
        number(owner)
    };
    let run = number(&BASE64URL_NOPAD.encode(&random::bytes::<8>()));
    json!({
        "sub": format!("repo:{repo}:ref:{git_ref}"),
        "repository": repo,
        "repository_id": repository_id,
        "repository_owner": owner,
        "repository_owner_id": owner_id,
        "repository_visibility": "private",
        "event_name": "push",
        "ref": git_ref,
        "ref_type": if git_ref.starts_with("refs/tags/") { "tag" } else { "branch" },
        "ref_protected": if git_ref == "refs/heads/main" { "true" } else { "false" },
        "sha": "b89695eb9a1c8e1c7e5d1f9bb4b9cf4bd2b9e4c1",
        "workflow_ref": format!("{repo}/.github/workflows/deploy.yml@{git_ref}"),
        "run_id": run,
        "run_attempt": "1",
        "check_run_id": number(&run),
        "actor": "kim",
        "actor_id": "28",
        "runner_environment": "github-hosted",
    })
}

fn gitlab(wanted: &Mint) -> Value {
    let repo = wanted.repo.as_deref().unwrap_or("acme/web");
    let git_ref = wanted.r#ref.as_deref().unwrap_or("refs/heads/main");
    let name = git_ref.rsplit('/').next().unwrap_or(git_ref);
    let pipeline = number(&BASE64URL_NOPAD.encode(&random::bytes::<8>()));
    json!({
        "sub": format!("project_path:{repo}:ref_type:branch:ref:{name}"),
        "namespace_id": "72",
        "namespace_path": repo.split('/').next(),
        "project_id": if repo == "acme/web" { "20".to_owned() } else { number(repo) },
        "project_path": repo,
        "user_id": "28",
        "user_login": "kim",
        "user_access_level": "maintainer",
        "pipeline_id": pipeline,
        "pipeline_source": "push",
        "job_id": number(&pipeline),
        "ref": name,
        "ref_type": if git_ref.starts_with("refs/tags/") { "tag" } else { "branch" },
        "ref_path": git_ref,
        "ref_protected": if git_ref == "refs/heads/main" { "true" } else { "false" },
        "runner_environment": "self-hosted",
        "sha": "b89695eb9a1c8e1c7e5d1f9bb4b9cf4bd2b9e4c1",
    })
}

fn kubernetes(wanted: &Mint) -> Value {
    let account = wanted.repo.as_deref().unwrap_or("shop/web");
    let (namespace, name) = account.split_once('/').unwrap_or(("shop", account));
    let pod = BASE64URL_NOPAD.encode(&random::bytes::<12>());
    json!({
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {
            "namespace": namespace,
            "node": { "name": "n1", "uid": "646e7c5e-32d6-4d42-9dbe-e504d0c8b3d2" },
            "pod": { "name": format!("{name}-1"), "uid": pod },
            "serviceaccount": { "name": name, "uid": "14ee3fa4-1d0c-4b6e-9f57-2d1c0c8f3a10" },
        },
    })
}

/// A number of nine digits that a name always gets.
fn number(name: &str) -> String {
    let hash = stint_audit::Digest::of(name.as_bytes());
    let value = hash
        .as_bytes()
        .iter()
        .take(4)
        .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    (100_000_000 + value % 900_000_000).to_string()
}

/// The routes that hand tokens out.
pub(super) fn routes(issuers: Vec<Issuer>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/dev/{like}/token", post(token))
        .route("/dev/{like}/request-token", get(request_token))
        .with_state(Arc::new(Fakes { issuers, clock }))
}

struct Fakes {
    issuers: Vec<Issuer>,
    clock: Arc<dyn Clock>,
}

impl Fakes {
    fn mint(&self, like: &str, wanted: &Mint) -> Result<String, StatusCode> {
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.like.name() == like);
        let issuer = issuer.ok_or(StatusCode::NOT_FOUND)?;
        issuer.mint(wanted, self.clock.now()).map_err(|error| {
            tracing::error!(%error, "a dev token could not be made");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

/// `POST /dev/{like}/token`: what `stint dev-token` asks.
async fn token(
    State(fakes): State<Arc<Fakes>>,
    Path(like): Path<String>,
    body: Bytes,
) -> Result<Response, StatusCode> {
    let Ok(wanted) = serde_json::from_slice::<Mint>(&body) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    Ok(answer(
        StatusCode::OK,
        &json!({ "token": fakes.mint(&like, &wanted)? }),
    ))
}

/// `GET /dev/github/request-token?repo=…&ref=…&audience=…`: GitHub's own runner interface.
async fn request_token(
    State(fakes): State<Arc<Fakes>>,
    Path(like): Path<String>,
    request: Request,
) -> Result<Response, StatusCode> {
    let Ok(url) = reqwest::Url::parse(&format!("http://localhost{}", request.uri())) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let mut wanted = Mint::default();
    for (name, value) in url.query_pairs() {
        let value = value.into_owned();
        match &*name {
            "repo" => wanted.repo = Some(value),
            "ref" => wanted.r#ref = Some(value),
            "audience" => wanted.audience = Some(value),
            _ => {
                if let Some(claim) = name.strip_prefix("claim.") {
                    wanted.claims.insert(claim.to_owned(), Value::String(value));
                }
            }
        }
    }
    Ok(answer(
        StatusCode::OK,
        &json!({ "value": fakes.mint(&like, &wanted)? }),
    ))
}

/// Whether an RSA modulus (base64url) is the dev issuers': a config that trusts it is no real one.
#[must_use]
pub fn is_dev_key(modulus: &str) -> bool {
    pem_key().is_ok_and(|key| rsa_numbers(key.public_key_spki()).0 == modulus)
}

/// The numbers of the public key.
pub(super) fn spki_numbers(key: &SoftwareSigner) -> (String, String) {
    rsa_numbers(key.public_key_spki())
}

/// Modulus and exponent of an RSA SubjectPublicKeyInfo, base64url (RFC 7518 §6.3.1).
fn rsa_numbers(spki: &[u8]) -> (String, String) {
    // The key is ours, 2048 bits and e = 65537, so its DER ends in one way: the 256 bytes of the
    // modulus, then 02 03 and the three of the exponent.
    let tail = spki.len().saturating_sub(261);
    let modulus = spki.get(tail..tail + 256).unwrap_or_default();
    let exponent = spki.get(spki.len().saturating_sub(3)..).unwrap_or_default();
    (
        BASE64URL_NOPAD.encode(modulus),
        BASE64URL_NOPAD.encode(exponent),
    )
}

pub(super) fn pem_key() -> Result<Arc<SoftwareSigner>, IssuerError> {
    let base64: String = PEM
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let der = data_encoding::BASE64
        .decode(base64.as_bytes())
        .map_err(|error| IssuerError(error.to_string()))?;
    let key = SoftwareSigner::from_pkcs8(Algorithm::Rs256, &der);
    key.map(Arc::new)
        .map_err(|error| IssuerError(error.to_string()))
}

/// Public by its nature: it signs tokens for people who try Stint out, and nothing else.
const PEM: &str = include_str!("issuer.pem");
pub(super) const KID: &str = "dev-issuers";
/// As long as GitHub's.
const LIFE_S: i64 = 300;
