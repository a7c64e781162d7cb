//! What operators say to a running broker, over its socket.

use serde::{Deserialize, Serialize};

/// What to freeze, or to free again: exactly one of `all` and `issuer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The evidence of one issuer: `NAME` of `[issuer.NAME]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Why, 500 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// Lets new keys of an issuer count again, after too many changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// `NAME` of `[issuer.NAME]`.
    pub issuer: String,
    /// Why, 500 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// What such a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether anything changed; it may have been so already.
    pub changed: bool,
    /// The entry that says so, if anything changed.
    pub seq: Option<u64>,
}
