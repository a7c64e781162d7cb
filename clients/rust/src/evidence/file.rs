//! Tokens in files, and what every token must look like.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use stint_wire::Token;

use super::SourceError;

/// The longest token any issuer may be configured for (SECURITY.md §4), bytes.
pub(super) const MAX_TOKEN: u64 = 16 * 1024;

/// The token in a file, white space around it dropped.
pub(super) fn read(path: &Path) -> Result<Token, SourceError> {
    let failed = |source| SourceError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_TOKEN + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    tidy(&text, &path.display().to_string())
}

/// Visible ASCII, not too long; whatever else it is, the broker judges.
pub(super) fn tidy(text: &str, from: &str) -> Result<Token, SourceError> {
    let token = text.trim();
    let fits = token.len() as u64 <= MAX_TOKEN;
    if token.is_empty() || !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SourceError::NotAToken(from.to_owned()));
    }
    Ok(Token::new(token.to_owned()))
}
