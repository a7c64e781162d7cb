//! People: who is signed in, their passkeys and sessions.

use serde::{Deserialize, Serialize};

use crate::Token;

/// `GET /v1/me`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Me {
    /// `spiffe://TRUST-DOMAIN/user/…`.
    pub id: String,
    /// For display.
    pub name: String,
    /// Verified by the identity provider.
    pub email: Option<String>,
    /// Groups of this login, by the names policies use.
    pub groups: Vec<String>,
    /// `auditor`, `operator`.
    pub roles: Vec<String>,
    /// When the identity provider saw the person; `null` if it does not say.
    pub auth_at: Option<String>,
    /// By which they sign; retired ones too.
    pub passkeys: Vec<Passkey>,
    /// Where they are signed in.
    pub sessions: Vec<Session>,
}

/// One passkey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Passkey {
    /// As the authenticator named it, base64url.
    pub credential: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was enrolled.
    pub added_at: String,
    /// When it signed last.
    pub used_at: Option<String>,
    /// Since when it counts no more.
    pub retired_at: Option<String>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Session {
    /// Its name: a hash, and no secret.
    pub id: String,
    /// `console` or `cli`.
    pub via: String,
    /// Whether it is the one that asks.
    pub here: bool,
    /// When it began.
    pub opened_at: String,
    /// When it was used last, to the minute.
    pub used_at: String,
    /// When it ends whatever happens.
    pub expires_at: String,
    /// What the client says it is.
    pub agent: String,
}

/// `POST /v1/me/passkeys/options`: what the browser's authenticator is asked. Bytes are base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PasskeyOptions {
    /// What it signs over.
    pub challenge: String,
    /// What the challenge is made of: comes back with the passkey.
    pub nonce: String,
    /// For whom it is.
    pub rp: RelyingParty,
    /// Whose it is.
    pub user: PasskeyUser,
    /// COSE algorithms, the best first.
    pub algs: Vec<i64>,
    /// The passkeys that are there already.
    pub exclude: Vec<CredentialId>,
    /// Until when the nonce counts.
    pub expires_at: String,
}

/// The relying party of passkeys: the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RelyingParty {
    /// The host of its URL.
    pub id: String,
    /// For display.
    pub name: String,
}

/// The user as an authenticator knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PasskeyUser {
    /// 32 bytes that say nothing.
    pub id: String,
    /// Tells two accounts apart.
    pub name: String,
    /// For display.
    pub display_name: String,
}

/// The name of a passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CredentialId {
    /// base64url.
    pub id: String,
}

/// `POST /v1/me/passkeys`: what the authenticator made of it. Bytes are base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrolPasskey {
    /// What its owner calls it.
    pub label: String,
    /// The nonce of the options.
    pub nonce: String,
    /// `getAuthenticatorData()`.
    pub authenticator_data: String,
    /// `clientDataJSON`.
    pub client_data: String,
}

/// It counts from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PasskeyEnrolled {
    /// As the authenticator named it, base64url.
    pub credential: String,
    /// What its owner calls it.
    pub label: String,
    /// Its entry.
    pub seq: u64,
}

/// `POST /v1/cli/codes`: the person at the page lets a terminal in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LetIn {
    /// Where the terminal listens on 127.0.0.1.
    pub port: u16,
    /// SHA-256 of its verifier, base64url (RFC 7636, S256).
    pub challenge: String,
    /// RFC 7638 thumbprint of its key, base64url.
    pub key: String,
    /// What it wants to read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Where the page goes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GoTo {
    /// `http://127.0.0.1:PORT/?code=…`.
    pub redirect: String,
}

/// `POST /v1/sessions`: the terminal redeems the code, with a DPoP proof of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// What came to 127.0.0.1.
    pub code: String,
    /// What the challenge is the hash of.
    pub verifier: String,
}

/// A terminal's session: `Authorization: DPoP TOKEN`, with a proof for each request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionOpened {
    /// The secret.
    pub token: Token,
    /// `DPoP`.
    pub token_type: String,
    /// When it ends.
    pub expires_at: String,
    /// `spiffe://TRUST-DOMAIN/user/…`.
    pub person: String,
    /// For display.
    pub name: String,
}
