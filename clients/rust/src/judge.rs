//! What a client can see in its own token. The broker never tells why evidence failed; its holder may look.
//!
//! Nothing here decides anything: the token is decoded, not verified, and a judgement is only ever shown to whoever
//! holds the token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use stint_wire::Token;

/// The leeway of the broker's own time checks (SECURITY.md §4), seconds.
const LEEWAY_S: i64 = 30;

/// A token as its holder reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`.
    pub audience: Vec<String>,
    /// `iat`, seconds since 1970.
    pub issued_at: Option<i64>,
    /// `exp`, seconds since 1970.
    pub expires_at: Option<i64>,
    /// What the broker will refuse it for, as far as can be seen here. Empty: nothing.
    pub findings: Vec<Finding>,
}

/// A reason to refuse evidence. `Display` says what is wrong, [`Finding::remedy`] what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// This machine's clock differs from the broker's by so many seconds; positive: it is ahead.
    Clock(i64),
    /// It ended so many seconds ago.
    Expired(i64),
    /// It begins in so many seconds.
    NotYet(i64),
    /// It is not a JWT.
    NotAToken,
    /// It is for several audiences; the broker takes one.
    SeveralAudiences,
    /// It is for somebody else.
    WrongAudience {
        /// What it says.
        yours: String,
        /// What the broker wants.
        wanted: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(ahead) if *ahead > 0 => {
                write!(f, "this clock is {ahead} s ahead of the broker's")
            }
            Self::Clock(behind) => write!(
                f,
                "this clock is {} s behind the broker's",
                behind.saturating_neg()
            ),
            Self::Expired(ago) => write!(f, "the token expired {ago} s ago"),
            Self::NotYet(wait) => write!(f, "the token begins in {wait} s"),
            Self::NotAToken => f.write_str("this is not a JWT"),
            Self::SeveralAudiences => f.write_str("the token is for several audiences"),
            Self::WrongAudience { yours, wanted } => {
                write!(
                    f,
                    "the token is for audience `{yours}`, the broker wants `{wanted}`"
                )
            }
        }
    }
}

impl Finding {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Clock(_) => "set this machine's clock".to_owned(),
            Self::Expired(_) => "fetch a fresh token; a finished job gets none".to_owned(),
            Self::NotYet(_) => "wait, or set the clock of whoever issued it".to_owned(),
            Self::NotAToken => {
                "give the token itself: three base64url parts with dots, nothing around it"
                    .to_owned()
            }
            Self::SeveralAudiences => "ask the issuer for one audience only".to_owned(),
            Self::WrongAudience { wanted, .. } => format!("ask the issuer for audience `{wanted}`"),
        }
    }
}

/// Judges `token` against the broker's `audience` and clock, `now` in seconds since 1970.
#[must_use]
pub fn judge(token: &Token, audience: &str, now: i64) -> Judgement {
    let Some(claims) = claims(token) else {
        return Judgement {
            findings: vec![Finding::NotAToken],
            ..Judgement::default()
        };
    };
    let aud = match claims.aud {
        None => Vec::new(),
        Some(Audience::One(one)) => vec![one],
        Some(Audience::Many(many)) => many,
    };
    let mut findings = Vec::new();
    match aud.as_slice() {
        [one] if one == audience => {}
        [_, _, ..] => findings.push(Finding::SeveralAudiences),
        other => {
            let yours = other.first().cloned().unwrap_or_default();
            findings.push(Finding::WrongAudience {
                yours,
                wanted: audience.to_owned(),
            });
        }
    }
    if let Some(exp) = claims.exp.filter(|exp| exp.saturating_add(LEEWAY_S) <= now) {
        findings.push(Finding::Expired(now.saturating_sub(exp)));
    }
    if let Some(from) = claims
        .nbf
        .max(claims.iat)
        .filter(|from| from.saturating_sub(LEEWAY_S) > now)
    {
        findings.push(Finding::NotYet(from.saturating_sub(now)));
    }
    Judgement {
        issuer: claims.iss,
        subject: claims.sub,
        audience: aud,
        issued_at: claims.iat,
        expires_at: claims.exp,
        findings,
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    iat: Option<i64>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

fn claims(token: &Token) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = BASE64URL.decode(payload).ok()?;
    parts
        .next()
        .is_none()
        .then(|| serde_json::from_slice(&payload).ok())?
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use stint_wire::Token;

    use super::{BASE64URL, Finding, judge};

    fn check(claims: &str, expected: &[Finding]) {
        let token = Token::new(format!("e30.{}.c2ln", BASE64URL.encode(claims)));
        assert_eq!(
            judge(&token, "https://s", 1000).findings,
            expected,
            "{claims}"
        );
    }

    #[test]
    fn finds_what_the_broker_would_refuse() {
        let wrong = |yours: &str| Finding::WrongAudience {
            yours: yours.into(),
            wanted: "https://s".into(),
        };
        check(r#"{"aud":"https://s","iat":900,"exp":1200}"#, &[]);
        check(r#"{"aud":["https://s"],"iat":900,"exp":1200}"#, &[]);
        check(
            r#"{"aud":"https://github.com/acme","exp":1200}"#,
            &[wrong("https://github.com/acme")],
        );
        check(r#"{"exp":1200}"#, &[wrong("")]);
        check(r#"{"aud":["https://s","b"]}"#, &[Finding::SeveralAudiences]);
        check(r#"{"aud":"https://s","exp":971}"#, &[]);
        check(r#"{"aud":"https://s","exp":970}"#, &[Finding::Expired(30)]);
        check(
            r#"{"aud":"https://s","iat":1,"nbf":1060,"exp":2000}"#,
            &[Finding::NotYet(60)],
        );
        check("[]", &[Finding::NotAToken]);
    }

    #[test]
    fn takes_exactly_three_parts() {
        for text in ["", "a", "a.b", "e30.e30.x.y", "<html>"] {
            assert_eq!(
                judge(&Token::new(text.into()), "a", 0).findings,
                [Finding::NotAToken],
                "{text}"
            );
        }
    }
}
