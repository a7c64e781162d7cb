//! A bearer secret on its way over the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A token: evidence going in, a minted JWT coming out.
///
/// It serialises as the plain string, since that is the wire; `Debug` never shows it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps a token as it was received.
    #[must_use]
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// The bare token, for a header, a file or a verifier.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The bare token by value, for a wrapper that wipes it on drop.
    #[must_use]
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Token::new("eyJhbGciOi".into())), "Token(…)");
    }
}
