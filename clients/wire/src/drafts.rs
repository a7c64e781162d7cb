//! Every name that comes from a draft standard; no draft name is spelt anywhere else (PROTOCOLS.md §1).
//!
//! A revision is taken over whole, in one change: these constants, the golden files, the page and the changelog.

/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): the parameter by which a client takes a deferred answer.
pub const COMPLETION_MODE: &str = "completion_mode";
/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): the mode without which we must not defer.
pub const COMPLETION_MODE_DEFERRED: &str = "deferred";
/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): the handle of a deferred answer.
pub const DEFERRAL_CODE: &str = "deferral_code";
/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): the grant type that polls and redeems one.
pub const GRANT_TYPE_DEFERRED: &str = "urn:ietf:params:oauth:grant-type:deferred";
/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): what a handle is called where it is revoked.
pub const TOKEN_TYPE_DEFERRAL: &str = "urn:ietf:params:oauth:token-type:deferral-code";
/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): the metadata member that says that it is offered.
pub const DEFERRED_SUPPORTED: &str = "deferred_token_response_supported";
/// draft-ietf-oauth-deferred-token-response-01 (2026-11-01): which types of token can be revoked.
pub const REVOCABLE_TYPES: &str = "revocation_endpoint_token_type_values_supported";
/// draft-ietf-oauth-transaction-tokens-11: the token type of one.
pub const TOKEN_TYPE_TXN: &str = "urn:ietf:params:oauth:token-type:txn_token";

#[cfg(test)]
mod tests {
    #[test]
    fn the_transaction_token_is_that_of_revision_11() {
        assert_eq!(
            super::TOKEN_TYPE_TXN,
            "urn:ietf:params:oauth:token-type:txn_token"
        );
    }

    /// Breaks when a revision is taken over: then PROTOCOLS.md §3.5 and its golden files move too.
    #[test]
    fn the_deferred_names_are_those_of_revision_01() {
        assert_eq!(
            [
                super::COMPLETION_MODE,
                super::COMPLETION_MODE_DEFERRED,
                super::DEFERRAL_CODE,
                super::GRANT_TYPE_DEFERRED,
                super::TOKEN_TYPE_DEFERRAL,
                super::DEFERRED_SUPPORTED,
                super::REVOCABLE_TYPES,
            ],
            [
                "completion_mode",
                "deferred",
                "deferral_code",
                "urn:ietf:params:oauth:grant-type:deferred",
                "urn:ietf:params:oauth:token-type:deferral-code",
                "deferred_token_response_supported",
                "revocation_endpoint_token_type_values_supported",
            ]
        );
    }
}
