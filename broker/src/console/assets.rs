//! The files pages are made of, in the binary. Each is served under a name with its own hash, so that a browser keeps it for
//! good and never mixes two versions.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use stint_audit::Digest;

use crate::http::problem::not_found;

/// What is embedded; a script after those it imports.
static EMBEDDED: [(&str, &[u8]); 5] = [
    ("icons.svg", include_bytes!("../../assets/icons.svg")),
    ("mark.svg", include_bytes!("../../assets/mark.svg")),
    ("stint.css", include_bytes!("../../assets/stint.css")),
    ("page.js", include_bytes!("../../assets/page.js")),
    ("terminal.js", include_bytes!("../../assets/terminal.js")),
];

struct Asset {
    name: &'static str,
    url: String,
    kind: &'static str,
    bytes: Vec<u8>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut made: Vec<Asset> = Vec::with_capacity(EMBEDDED.len());
    for (name, bytes) in EMBEDDED {
        let bytes = with_hashes(bytes, &made);
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let hash: String = Digest::of(&bytes).to_string().chars().take(16).collect();
        made.push(Asset {
            name,
            url: format!("/assets/{stem}.{hash}.{ending}"),
            kind: kind(ending),
            bytes,
        });
    }
    made
});

/// A script that imports `./NAME` imports it by its full name.
fn with_hashes(bytes: &[u8], made: &[Asset]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.to_vec();
    };
    let mut text = text.to_owned();
    for asset in made {
        text = text.replace(&format!("'./{}'", asset.name), &format!("'{}'", asset.url));
    }
    text.into_bytes()
}

fn kind(ending: &str) -> &'static str {
    match ending {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Where a file is; a name that is not embedded is nowhere, and a test finds it.
pub(crate) fn url(name: &str) -> &'static str {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    found.map_or("/assets/none", |asset| &asset.url)
}

/// `GET /assets/NAME.HASH.ENDING`
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let asked = format!("/assets/{name}");
    let Some(asset) = ASSETS.iter().find(|asset| asset.url == asked) else {
        return not_found().await.into_response();
    };
    let headers = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (NOSNIFF, "nosniff"),
        (RESOURCE_POLICY, "same-origin"),
        // A sprite opened by itself runs nothing either.
        (CONTENT_POLICY, "default-src 'none'"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, asset.bytes.as_slice()).into_response()
}

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const CONTENT_POLICY: HeaderName = HeaderName::from_static("content-security-policy");
