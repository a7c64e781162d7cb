//! `application/x-www-form-urlencoded`, as strict as RFC 6749 allows: each parameter once but the two of RFC 8693 that
//! may come several times, unknown ones not looked at, nothing mended.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use stint_wire::Code;
use stint_wire::oauth::OAuthError;

use crate::http::problem::oauth::Refused;
use crate::serve::App;

/// The parameters of one request; those sent without a value are as good as absent (RFC 6749 §3.2).
pub(super) struct Form {
    single: BTreeMap<String, String>,
    targets: Vec<(Target, String)>,
}

/// Which parameter named a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Audience,
    Resource,
}

impl Form {
    /// Reads the body of a request.
    pub(super) async fn of(request: Request, app: &Arc<App>) -> Result<Form, Refused> {
        if !is_form(request.headers()) {
            let detail =
                "send `Content-Type: application/x-www-form-urlencoded` and no content encoding";
            return Err(Refused::malformed(Code::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, app).await;
        let body = body.map_err(|rejection| match rejection.status().as_u16() {
            413 => Refused::malformed(Code::TooLarge, "the body is larger than 64 KiB"),
            _ => Refused::malformed(Code::Malformed, "the body did not arrive whole"),
        })?;
        let unreadable =
            || Refused::malformed(Code::Malformed, "the body is no form of UTF-8 text");
        let text = str::from_utf8(&body).map_err(|_not_text| unreadable())?;
        Form::parse(text)
    }

    fn parse(text: &str) -> Result<Form, Refused> {
        let unreadable =
            || Refused::malformed(Code::Malformed, "the body is no form of UTF-8 text");
        let mut form = Form {
            single: BTreeMap::new(),
            targets: Vec::new(),
        };
        let fields = text.split('&').filter(|field| !field.is_empty());
        for (place, field) in fields.enumerate() {
            if place >= MOST_FIELDS {
                let detail = "the form has more than 32 fields";
                return Err(Refused::malformed(Code::Malformed, detail));
            }
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let name = decode(name).ok_or_else(unreadable)?;
            let value = decode(value).ok_or_else(unreadable)?;
            form.take(name, value)?;
        }
        form.single.retain(|_, value| !value.is_empty());
        form.targets.retain(|(_, value)| !value.is_empty());
        Ok(form)
    }

    fn take(&mut self, name: String, value: String) -> Result<(), Refused> {
        match name.as_str() {
            "audience" => self.targets.push((Target::Audience, value)),
            "resource" => self.targets.push((Target::Resource, value)),
            _ if self.single.contains_key(&name) => {
                // The name is the sender's own text: only what we know is repeated.
                let known = KNOWN.iter().find(|known| **known == name);
                let name = known.map_or("a parameter", |known| known);
                let detail = format!("`{name}` is there twice");
                return Err(Refused::form(OAuthError::InvalidRequest, detail));
            }
            _ => drop(self.single.insert(name, value)),
        }
        Ok(())
    }

    /// The one value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(String::as_str)
    }

    /// The same by value.
    pub(super) fn take_out(&mut self, name: &str) -> Option<String> {
        self.single.remove(name)
    }

    /// What `audience` and `resource` name, in order.
    pub(super) fn targets(&self) -> &[(Target, String)] {
        &self.targets
    }
}

/// The essence exactly, and at most the one charset that this can be.
fn is_form(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let kind = kinds.next().map(HeaderValue::to_str);
    let (Some(Ok(kind)), None) = (kind, kinds.next()) else {
        return false;
    };
    let (essence, charset) = kind.split_once(';').unwrap_or((kind, "charset=utf-8"));
    essence
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && charset.trim().eq_ignore_ascii_case("charset=utf-8")
        && !headers.contains_key(CONTENT_ENCODING)
}

/// `+` is a space, `%XX` a byte, and all of it UTF-8; a `%` without two digits is refused, not taken as itself.
fn decode(text: &str) -> Option<String> {
    let whole = text.split('%').skip(1).all(|escape| {
        let digits = escape.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    whole.then(|| decoded.into_owned())
}

/// PROTOCOLS.md §3.1.
const MOST_FIELDS: usize = 32;

/// Parameters that answers may name.
const KNOWN: [&str; 22] = [
    "actor_token",
    "actor_token_type",
    "authorization_details",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "completion_mode",
    "csr",
    "deferral_code",
    "grant_type",
    "ledger",
    "profile",
    "requested_token_type",
    "scope",
    "spki",
    "subject_token",
    "subject_token_type",
    "token",
    "token_type_hint",
    "ttl_s",
    "reason",
];

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::{Form, decode, is_form};

    #[test]
    fn the_content_type_is_exact() {
        let check = |kinds: &[&'static str], expected: bool| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append("content-type", kind.parse().unwrap());
            }
            assert_eq!(is_form(&headers), expected, "{kinds:?}");
        };
        check(&["application/x-www-form-urlencoded"], true);
        check(&["application/x-www-form-urlencoded;charset=UTF-8"], true);
        check(&["Application/X-WWW-Form-Urlencoded; charset=utf-8"], true);
        check(&["application/x-www-form-urlencoded;charset=latin1"], false);
        check(&["application/x-www-form-urlencoded; boundary=x"], false);
        check(&["application/x-www-form-urlencoded2"], false);
        check(&["application/json"], false);
        check(&[], false);
        let one = "application/x-www-form-urlencoded";
        check(&[one, one], false);
    }

    #[test]
    fn values_are_decoded_once_and_never_mended() {
        for (text, expected) in [
            ("a+b%20c", "a b c"),
            ("%2B%25", "+%"),
            ("%C3%BC", "ü"),
            ("", ""),
        ] {
            assert_eq!(decode(text).as_deref(), Some(expected));
        }
        for broken in ["%", "%2", "%zz", "%FF", "%C3", "a%%41"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn each_parameter_comes_once() {
        assert!(Form::parse("scope=a&scope=a").is_err());
        assert!(Form::parse("other=a&other=").is_err());
        assert!(Form::parse("scope=a&%73cope=b").is_err());
        let form = Form::parse("audience=a&audience=b&resource=c&scope=").unwrap();
        assert_eq!(form.targets().len(), 3);
        assert_eq!(form.get("scope"), None);
        let many = |fields: usize| (0..fields).map(|n| format!("p{n}=1&")).collect::<String>();
        assert!(Form::parse(&many(32)).is_ok());
        assert!(Form::parse(&many(33)).is_err());
    }
}
