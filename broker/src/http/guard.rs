//! What a request may be, whichever door it is for: judged before any handler, on every listener (SECURITY.md §4,
//! operators).
//!
//! A path is taken as it is written: no route of ours needs an escape, so dots, slashes and NULs in disguise are nowhere.
//! No header overrides a method, and none but a trusted proxy's says who is asking.

mod host;
mod proxy;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

pub use self::host::Hosts;
pub use self::proxy::Proxies;

use super::MAX_BODY;
use super::listen::{Late, MAX_FIELDS};
use super::problem::{self, connection};

/// `router`, for requests that are well-formed and name one of `hosts`.
pub fn guarded(router: Router, hosts: Hosts) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::new(hosts), check))
}

/// `router`, told by trusted `proxies` who is asking. Outside of whatever asks that.
pub fn introduced(router: Router, proxies: Proxies) -> Router {
    router.layer(middleware::from_fn_with_state(proxies, introduce))
}

async fn introduce(State(proxies): State<Proxies>, mut request: Request, next: Next) -> Response {
    match proxies.resolve(&mut request) {
        Ok(()) => next.run(request).await,
        Err(proxy::Unreadable) => connection::forwarded().into_response(),
    }
}

async fn check(State(hosts): State<Arc<Hosts>>, mut request: Request, next: Next) -> Response {
    if request.headers().len() > MAX_FIELDS {
        return connection::headers().into_response();
    }
    if !hosts.admit(&request) {
        return connection::host().into_response();
    }
    if is_disguised(request.uri().path()) {
        return problem::not_found().await.into_response();
    }
    if says_too_much(request.headers()) {
        *request.body_mut() = Body::from(Bytes::from_static(&TOO_MUCH));
    }
    let late = request.extensions().get::<Late>().cloned();
    let response = next.run(request).await;
    // The handler saw no more than that its body broke off.
    if late.is_some_and(|late| late.is_so()) && response.status().is_client_error() {
        return connection::body().into_response();
    }
    response
}

/// Whether a body says itself that it is too long: it is not waited for.
fn says_too_much(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > MAX_BODY as u64)
}

/// An escape that another server might have undone, or a dot segment.
fn is_disguised(path: &str) -> bool {
    let escapes = ["%2e", "%2f", "%5c", "%00", "%25"];
    let lower = path.to_ascii_lowercase();
    let dots = |segment: &str| matches!(segment, "." | "..");
    lower.split('/').any(dots)
        || lower.contains('\\')
        || escapes.iter().any(|escape| lower.contains(escape))
}

/// What a door is handed in place of a body that is too long: it says so in its own words.
static TOO_MUCH: [u8; MAX_BODY + 1] = [b' '; MAX_BODY + 1];

#[cfg(test)]
mod tests {
    use super::is_disguised;

    #[test]
    fn a_path_that_may_mean_another_is_nowhere() {
        for path in [
            "/v1/./trust",
            "/v1/../trust",
            "/..",
            "/v1/%2e%2e/trust",
            "/v1%2Ftrust",
            "/v1%5ctrust",
            "/v1/trust%00",
            "/v1/%252e",
            "/v1\\trust",
        ] {
            assert!(is_disguised(path), "{path}");
        }
        for path in [
            "/",
            "/v1/trust",
            "/.well-known/openid-configuration",
            "/a/x..y",
        ] {
            assert!(!is_disguised(path), "{path}");
        }
    }
}
