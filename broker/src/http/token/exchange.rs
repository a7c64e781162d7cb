//! A form as evidence and an ask: the words of RFC 8693 and RFC 9396 (PROTOCOLS.md §3.1 to §3.3). Form alone is judged
//! here; whatever reads evidence, schema or keys is the walk's.

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use reqwest::Url;
use stint_policy::Seconds;
use stint_wire::drafts::{
    COMPLETION_MODE, COMPLETION_MODE_DEFERRED, GRANT_TYPE_DEFERRED, TOKEN_TYPE_TXN,
};
use stint_wire::oauth::{OAuthError, StintTask, TOKEN_EXCHANGE, TOKEN_TYPE, TOKEN_TYPE_X509};

use super::form::{Form, Target};
use crate::config::Secret;
use crate::http::grants::{MAX_REASON, is_target};
use crate::http::problem::oauth::{Refused, Spelling};
use crate::issue::{Ask, CredentialAsk, KeyText, KindAsked};
use crate::strict::{self, Limits};

/// What a client asked for, by form.
pub(super) struct Exchange {
    pub(super) subject: Secret<String>,
    pub(super) ask: Ask,
    pub(super) spelling: Spelling,
    /// `issued_token_type` of the answer; `None`: as the audience reads it.
    pub(super) requested: Option<String>,
    /// Whether the answer has the whole receipt.
    pub(super) receipt: bool,
    /// Whether it may come later.
    pub(super) deferred: bool,
}

/// What this endpoint is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantType {
    /// The answer that was deferred.
    Deferred,
    /// A credential for evidence.
    TokenExchange,
}

/// Before anything else of the form: what is asked of this endpoint at all.
pub(super) fn grant_type(form: &Form) -> Result<GrantType, Refused> {
    match form.get("grant_type") {
        Some(TOKEN_EXCHANGE) => Ok(GrantType::TokenExchange),
        Some(GRANT_TYPE_DEFERRED) => Ok(GrantType::Deferred),
        Some(_) => Err(Refused::form(
            OAuthError::UnsupportedGrantType,
            format!("a `grant_type` here is `{TOKEN_EXCHANGE}` or `{GRANT_TYPE_DEFERRED}`"),
        )),
        None => Err(invalid("`grant_type` is missing")),
    }
}

/// Client authentication is not offered; whoever tries it is not served as somebody else.
pub(super) fn no_client_authentication(form: &Form, headers: &HeaderMap) -> Result<(), Refused> {
    const WAYS: [&str; 3] = ["client_assertion", "client_assertion_type", "client_secret"];
    let tried = WAYS.iter().find(|way| form.get(way).is_some());
    let detail = match tried {
        Some(way) => format!("`{way}` is not taken here: the subject token says who asks"),
        None if headers.contains_key(AUTHORIZATION) => {
            "`Authorization` is not read here: send the evidence as `subject_token`".to_owned()
        }
        None => return Ok(()),
    };
    Err(Refused::form(OAuthError::InvalidClient, detail))
}

impl Exchange {
    /// Reads the rest of the form, in the order of PROTOCOLS.md §3.1.
    pub(super) fn of(mut form: Form) -> Result<Exchange, Refused> {
        let subject = subject(&mut form)?;
        no_actor(&form)?;
        let target = target(&form)?;
        let (mut ask, spelling) = match form.take_out("authorization_details") {
            Some(details) => (detailed(&details, &form)?, Spelling::Details),
            None => (short(&form, target.as_deref())?, Spelling::Scope),
        };
        let requested = form.take_out("requested_token_type");
        ask.credential = credential(&mut form, requested.as_deref(), target)?;
        ask.client = form.take_out("client_id");
        let receipt = match form.get("ledger") {
            None | Some("leaf") => false,
            Some("receipt") => true,
            Some(_) => return Err(invalid("`ledger` is `leaf` or `receipt`")),
        };
        let deferred = may_defer(&form)?;
        ask.may_hold = deferred;
        Ok(Exchange {
            subject: Secret::new(subject),
            ask,
            spelling,
            requested,
            receipt,
            deferred,
        })
    }
}

/// Whether the client takes a deferred answer: its modes come in any order, each once, and unknown ones are ignored.
fn may_defer(form: &Form) -> Result<bool, Refused> {
    let modes = form.get(COMPLETION_MODE).unwrap_or_default();
    let mut seen = BTreeSet::new();
    if !modes.split(' ').all(|mode| seen.insert(mode)) {
        return Err(invalid(
            "`completion_mode` names each mode once, with one space between two",
        ));
    }
    Ok(seen.contains(COMPLETION_MODE_DEFERRED))
}

fn subject(form: &mut Form) -> Result<String, Refused> {
    let kind = form.take_out("subject_token_type");
    let kind = kind.ok_or_else(|| invalid("`subject_token_type` is missing"))?;
    match bare(&kind) {
        "id_token" | "jwt" => {}
        _ => return Err(invalid("`subject_token_type` is `jwt` or `id_token` here")),
    }
    let token = form.take_out("subject_token");
    token.ok_or_else(|| invalid("`subject_token` is missing"))
}

/// Delegation is not offered yet, and an actor is never dropped in silence.
fn no_actor(form: &Form) -> Result<(), Refused> {
    match (form.get("actor_token"), form.get("actor_token_type")) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(invalid(
            "`actor_token` is not offered yet: ask for yourself",
        )),
        (Some(_), None) => Err(invalid("`actor_token` without `actor_token_type`")),
        (None, Some(_)) => Err(invalid("`actor_token_type` without `actor_token`")),
    }
}

/// One target in all (PROTOCOLS.md §3.1).
fn target(form: &Form) -> Result<Option<String>, Refused> {
    let wrong = |detail: &str| Err(Refused::form(OAuthError::InvalidTarget, detail));
    let (kind, target) = match form.targets() {
        [] => return Ok(None),
        [(kind, target)] => (*kind, target),
        _ => return wrong("one `audience` or `resource` in all: a token is for one party"),
    };
    if !is_target(target) {
        return wrong("a target is 1 to 1,024 bytes of visible ASCII without quotes");
    }
    let absolute = Url::parse(target).is_ok_and(|url| url.fragment().is_none());
    if kind == Target::Resource && !absolute {
        return wrong("`resource` is an absolute URI without fragment");
    }
    Ok(Some(target.clone()))
}

/// RFC 9396: an array of exactly one object of our type, strict.
fn detailed(details: &str, form: &Form) -> Result<Ask, Refused> {
    let wrong = |detail: String| Refused::form(OAuthError::InvalidAuthorizationDetails, detail);
    for beside in ["scope", "ttl_s", "reason"] {
        if form.get(beside).is_some() {
            let detail = format!("`{beside}` beside `authorization_details`: say it there");
            return Err(invalid(&detail));
        }
    }
    let read: Result<Vec<StintTask>, _> = strict::read(details.as_bytes(), Limits::WIRE);
    let unreadable = |error| {
        wrong(format!(
            "`authorization_details` is not an array of one `stint_task`: {error}"
        ))
    };
    let Ok([detail]) = <[StintTask; 1]>::try_from(read.map_err(unreadable)?) else {
        let text = "`authorization_details` is an array of exactly one `stint_task`";
        return Err(wrong(text.to_owned()));
    };
    let task = match detail.task {
        None => None,
        Some(task) if task.parent.is_some() || task.deadline.is_some() => {
            let text = "`task` takes an `id` alone: sub-tasks and deadlines are not offered yet";
            return Err(wrong(text.to_owned()));
        }
        Some(task) => task.id,
    };
    if detail.ttl_s == Some(0) {
        return Err(wrong("`ttl_s` is at least 1".to_owned()));
    }
    let long = |reason: &String| reason.chars().count() > MAX_REASON;
    if detail.reason.as_ref().is_some_and(long) {
        return Err(wrong("`reason` is longer than 500 characters".to_owned()));
    }
    Ok(Ask {
        input: detail.input,
        reason: detail.reason,
        task,
        ..ask(detail.action, detail.resources, detail.ttl_s)
    })
}

/// The short form: `scope` is the action, the target is the resource as well.
fn short(form: &Form, target: Option<&str>) -> Result<Ask, Refused> {
    let Some(action) = form.get("scope") else {
        let detail =
            "`authorization_details` is missing, and so is `scope`, which may stand instead";
        return Err(Refused::form(
            OAuthError::InvalidAuthorizationDetails,
            detail,
        ));
    };
    if action.contains(' ') {
        let detail = "`scope` is one action";
        return Err(Refused::form(OAuthError::InvalidScope, detail));
    }
    let target = target.ok_or_else(|| {
        let detail =
            "with `scope` the `resource` or `audience` is what it is asked for: it is missing";
        Refused::form(OAuthError::InvalidTarget, detail)
    })?;
    let ttl = form.get("ttl_s").map(|ttl| {
        let plain = ttl.bytes().all(|byte| byte.is_ascii_digit());
        let ttl = ttl.parse().ok().filter(|ttl| plain && *ttl >= 1);
        ttl.ok_or_else(|| invalid("`ttl_s` is a whole number of at least 1"))
    });
    let resource = format!("Target::\"{target}\"");
    Ok(ask(action.to_owned(), vec![resource], ttl.transpose()?))
}

/// An ask of no credential yet, and without a word on whether it may wait.
fn ask(action: String, resources: Vec<String>, ttl_s: Option<u32>) -> Ask {
    Ask {
        action,
        resources,
        credential: CredentialAsk {
            kind: KindAsked::Unsupported,
            key: None,
            profile: None,
            audience: None,
        },
        input: None,
        ttl: ttl_s.map(Seconds::new),
        reason: None,
        task: None,
        client: None,
        may_hold: false,
    }
}

fn credential(
    form: &mut Form,
    requested: Option<&str>,
    audience: Option<String>,
) -> Result<CredentialAsk, Refused> {
    let kind = kind(requested)?;
    let key = match (form.take_out("csr"), form.take_out("spki")) {
        (Some(_), Some(_)) => return Err(invalid("`csr` and `spki` together: send one")),
        (Some(csr), None) => Some(KeyText::Csr(csr)),
        (None, spki) => spki.map(KeyText::Spki),
    };
    let profile = form.take_out("profile");
    match (kind, &key, &audience) {
        (KindAsked::X509, None, _) => Err(invalid("a certificate needs a `csr` or an `spki`")),
        (KindAsked::X509, Some(_), Some(_)) => Err(Refused::form(
            OAuthError::InvalidTarget,
            "a certificate has no target: leave out `audience` and `resource`",
        )),
        (KindAsked::AccessToken | KindAsked::Jwt | KindAsked::Unsupported, Some(_), _) => {
            Err(invalid("`csr` and `spki` are for certificates"))
        }
        (KindAsked::AccessToken | KindAsked::Jwt | KindAsked::Unsupported, None, None) => {
            let detail = "`audience` or `resource` is missing: whom is the token for?";
            Err(Refused::form(OAuthError::InvalidTarget, detail))
        }
        (_, _, _) if kind != KindAsked::X509 && profile.is_some() => {
            Err(invalid("`profile` is for certificates"))
        }
        (_, _, _) => Ok(CredentialAsk {
            kind,
            key,
            profile,
            audience,
        }),
    }
}

fn kind(requested: Option<&str>) -> Result<KindAsked, Refused> {
    match requested {
        None => Ok(KindAsked::Jwt),
        Some(TOKEN_TYPE_X509) => Ok(KindAsked::X509),
        Some(TOKEN_TYPE_TXN) => Err(invalid("transaction tokens are not offered yet")),
        Some(word) => match bare(word) {
            "access_token" => Ok(KindAsked::AccessToken),
            "jwt" => Ok(KindAsked::Jwt),
            "txn_token" => Err(invalid("transaction tokens are not offered yet")),
            _ => Err(invalid(
                "`requested_token_type` is `access_token`, `jwt` or `urn:stint:token-type:x509`",
            )),
        },
    }
}

/// RFC 8693 §3: bare words are taken for its URNs.
pub(super) fn bare(kind: &str) -> &str {
    kind.strip_prefix(TOKEN_TYPE).unwrap_or(kind)
}

fn invalid(detail: &str) -> Refused {
    Refused::form(OAuthError::InvalidRequest, detail)
}
