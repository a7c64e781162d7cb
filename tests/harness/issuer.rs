//! Fake GitHub, GitLab and Kubernetes: the claims of `stintd dev`'s issuers under a key of the tests, so that a test
//! can sign whatever a liar would, and so that `stintd serve` takes the config.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};
use stint_broker::dev;
use stint_ca::signer::software::SoftwareSigner;
use stint_ca::signer::{Algorithm, Signer as _};
use stint_policy::Timestamp;

/// Which platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Like {
    /// `github-actions`; a token is used once.
    GitHub,
    /// `gitlab-ci`; a job has one token.
    GitLab,
    /// `kubernetes`; a pod has one token.
    Kubernetes,
}

/// The three issuers of one broker.
pub struct Issuers {
    fakes: Vec<dev::Issuer>,
    key: SoftwareSigner,
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuers").finish_non_exhaustive()
    }
}

impl Issuers {
    /// Issuers below `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let key = SoftwareSigner::from_pkcs8(Algorithm::Rs256, KEY).unwrap();
        Self {
            fakes: dev::Issuer::all(url).unwrap(),
            key,
        }
    }

    /// Their `[issuer.NAME]` tables, with the tests' key instead of `dev`'s.
    #[must_use]
    pub fn config(&self) -> String {
        let text: String = self.fakes.iter().map(dev::Issuer::config).collect();
        let (_, tail) = text.split_once("n = \"").unwrap();
        let (theirs, _) = tail.split_once('"').unwrap();
        text.replace(theirs, &self.modulus())
    }

    /// The public key's modulus, base64url: what HS256 with a public key would be keyed with.
    #[must_use]
    pub fn modulus(&self) -> String {
        // 2048 bits and e = 65537, so the DER ends in the modulus and five more bytes.
        let spki = self.key.public_key_spki();
        BASE64URL_NOPAD.encode(&spki[spki.len() - 261..spki.len() - 5])
    }

    /// The public key, DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key_spki()
    }

    /// Claims of a job of the platform, as `wanted`.
    #[must_use]
    pub fn claims(&self, like: Like, wanted: &dev::Mint, now: Timestamp) -> Map<String, Value> {
        let place = match like {
            Like::GitHub => 0,
            Like::GitLab => 1,
            Like::Kubernetes => 2,
        };
        let token = self.fakes[place].mint(wanted, now).unwrap();
        claims(&token)
    }

    /// A compact JWS over whatever `header` and `claims` say, under the tests' key.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        self.sign_text(
            &header.to_string(),
            &Value::Object(claims.clone()).to_string(),
        )
    }

    /// The same over text that need not be JSON.
    #[must_use]
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        #[expect(clippy::disallowed_methods, reason = "a platform signs its own tokens")]
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", encode(&signature))
    }
}

/// The header of the platforms' tokens.
#[must_use]
pub fn header() -> Value {
    json!({ "alg": "RS256", "kid": "dev-issuers", "typ": "JWT" })
}

/// The claims of a token, unverified.
///
/// # Panics
/// If it is no JWT.
#[must_use]
pub fn claims(token: &str) -> Map<String, Value> {
    let payload = BASE64URL_NOPAD
        .decode(token.split('.').nth(1).unwrap().as_bytes())
        .unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// base64url without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// 2048 bits, published here: it signs for tests and nothing else.
const KEY: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");
