//! People: who is signed in, what they may see, and by which passkeys they sign.

use std::collections::BTreeSet;

use stint_policy::{SpiffeId, Timestamp};

/// Somebody who is signed in. Groups are those of the login, and roles follow from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// `spiffe://TRUST-DOMAIN/user/…`: the only name that decides.
    pub id: SpiffeId,
    /// For display.
    pub name: String,
    /// Verified by the IdP; for display and notices.
    pub email: Option<String>,
    /// Groups of the login, by the names policies use.
    pub groups: BTreeSet<String>,
    /// What the config makes of them.
    pub roles: Roles,
    /// When the IdP saw the person.
    pub auth_at: Timestamp,
    /// The session's own name: SHA-256 of its secret, base64url.
    pub session: String,
}

/// What somebody may do beyond their own: none implies another (IDENTITY.md §6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// Reads everything.
    pub auditor: bool,
    /// Acts: freezes, revokes, disables.
    pub operator: bool,
}
