//! What people sign, and what comes of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RequestState;

/// `POST /v1/requests/{id}/ballot`: what somebody is about to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BallotAsk {
    /// Yes or no.
    pub vote: Vote,
    /// How long an approval may last on it, in seconds: at most what was asked for.
    #[serde(default)]
    pub lasts_s: Option<u32>,
    /// The approver's own words; a no needs some. At most 500 characters.
    #[serde(default)]
    pub note: Option<String>,
    /// The three digits that only the asker is shown; a yes needs them.
    #[serde(default)]
    pub match_code: Option<String>,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// It may not happen.
    No,
    /// It may happen.
    Yes,
}

/// What a passkey is to sign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ballot {
    /// All that the signature stands for.
    pub facts: Value,
    /// 32 bytes, base64url.
    pub nonce: String,
    /// SHA-256(`stint/vote/v1\n` ‖ nonce ‖ JCS(facts)), base64url.
    pub challenge: String,
    /// The passkeys that may sign.
    pub passkeys: Vec<PasskeyId>,
    /// The relying party that they are made for.
    pub rp_id: String,
    /// Until when the vote is taken, RFC 3339.
    pub expires_at: String,
}

/// A passkey by its credential id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PasskeyId {
    /// base64url.
    pub id: String,
}

/// `POST /v1/requests/{id}/votes`: a ballot that came back signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedVote {
    /// As they were shown.
    pub facts: Value,
    /// As it was given.
    pub nonce: String,
    /// The passkey's answer.
    pub assertion: SignedBy,
}

/// A passkey's answer (WebAuthn §5.2.2); each member base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedBy {
    /// The credential's id.
    pub credential: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// The signature over both.
    pub signature: String,
}

/// A vote that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VoteCast {
    /// `vote_…`.
    pub vote: String,
    /// What the request is now.
    pub state: RequestState,
    /// When the approval ends, if there is one.
    pub until: Option<String>,
    /// Its entry.
    pub ledger: Place,
}

/// A place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// The entry's number.
    pub seq: u64,
}
