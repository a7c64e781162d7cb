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
static EMBEDDED: &[(&str, &[u8])] = &[
    ("icons.svg", include_bytes!("../../assets/icons.svg")),
    ("mark.svg", include_bytes!("../../assets/mark.svg")),
    ("stint.css", include_bytes!("../../assets/stint.css")),
    ("page.js", include_bytes!("../../assets/page.js")),
    ("terminal.js", include_bytes!("../../assets/terminal.js")),
    ("facts.js", include_bytes!("../../assets/facts.js")),
    ("enrol.js", include_bytes!("../../assets/enrol.js")),
    ("me.js", include_bytes!("../../assets/me.js")),
    ("live.js", include_bytes!("../../assets/live.js")),
    ("request.js", include_bytes!("../../assets/request.js")),
    ("vote.js", include_bytes!("../../assets/vote.js")),
    ("test.js", include_bytes!("../../assets/test.js")),
    ("try.js", include_bytes!("../../assets/try.js")),
    ("ledger.js", include_bytes!("../../assets/ledger.js")),
    ("votes.js", include_bytes!("../../assets/votes.js")),
    // The second verifier, as it is in `clients/javascript`, and the worker it runs in.
    (
        "base64.js",
        include_bytes!("../../../clients/javascript/src/base64.js"),
    ),
    (
        "sha256.js",
        include_bytes!("../../../clients/javascript/src/sha256.js"),
    ),
    (
        "sha512.js",
        include_bytes!("../../../clients/javascript/src/sha512.js"),
    ),
    (
        "json.js",
        include_bytes!("../../../clients/javascript/src/json.js"),
    ),
    (
        "lines.js",
        include_bytes!("../../../clients/javascript/src/lines.js"),
    ),
    (
        "report.js",
        include_bytes!("../../../clients/javascript/src/report.js"),
    ),
    (
        "ranges.js",
        include_bytes!("../../../clients/javascript/src/ranges.js"),
    ),
    (
        "ed25519.js",
        include_bytes!("../../../clients/javascript/src/ed25519.js"),
    ),
    (
        "note.js",
        include_bytes!("../../../clients/javascript/src/note.js"),
    ),
    (
        "checkpoint.js",
        include_bytes!("../../../clients/javascript/src/checkpoint.js"),
    ),
    (
        "canonical.js",
        include_bytes!("../../../clients/javascript/src/canonical.js"),
    ),
    (
        "bundle.js",
        include_bytes!("../../../clients/javascript/src/bundle.js"),
    ),
    (
        "kinds.js",
        include_bytes!("../../../clients/javascript/src/kinds.js"),
    ),
    (
        "entry.js",
        include_bytes!("../../../clients/javascript/src/entry.js"),
    ),
    (
        "tree.js",
        include_bytes!("../../../clients/javascript/src/tree.js"),
    ),
    (
        "proof.js",
        include_bytes!("../../../clients/javascript/src/proof.js"),
    ),
    (
        "identities.js",
        include_bytes!("../../../clients/javascript/src/identities.js"),
    ),
    (
        "credential.js",
        include_bytes!("../../../clients/javascript/src/credential.js"),
    ),
    (
        "cosign.js",
        include_bytes!("../../../clients/javascript/src/cosign.js"),
    ),
    (
        "trust.js",
        include_bytes!("../../../clients/javascript/src/trust.js"),
    ),
    (
        "fold.js",
        include_bytes!("../../../clients/javascript/src/fold.js"),
    ),
    (
        "handover.js",
        include_bytes!("../../../clients/javascript/src/handover.js"),
    ),
    (
        "cbor.js",
        include_bytes!("../../../clients/javascript/src/cbor.js"),
    ),
    (
        "passkey.js",
        include_bytes!("../../../clients/javascript/src/passkey.js"),
    ),
    (
        "seats.js",
        include_bytes!("../../../clients/javascript/src/seats.js"),
    ),
    (
        "ballot.js",
        include_bytes!("../../../clients/javascript/src/ballot.js"),
    ),
    (
        "passkeys.js",
        include_bytes!("../../../clients/javascript/src/passkeys.js"),
    ),
    (
        "bodies.js",
        include_bytes!("../../../clients/javascript/src/bodies.js"),
    ),
    (
        "walk.js",
        include_bytes!("../../../clients/javascript/src/walk.js"),
    ),
    (
        "verify.js",
        include_bytes!("../../../clients/javascript/src/verify.js"),
    ),
    (
        "zip.js",
        include_bytes!("../../../clients/javascript/src/zip.js"),
    ),
    ("recount.js", include_bytes!("../../assets/recount.js")),
    ("verifier.js", include_bytes!("../../assets/verifier.js")),
];

struct Asset {
    name: &'static str,
    url: String,
    kind: &'static str,
    bytes: Vec<u8>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut made: Vec<Asset> = Vec::with_capacity(EMBEDDED.len());
    for &(name, bytes) in EMBEDDED {
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
        (CONTENT_POLICY, policy(asset.name)),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, asset.bytes.as_slice()).into_response()
}

/// A sprite opened by itself runs nothing either; the verifier's worker, whose policy is that of its script, loads its own
/// modules.
fn policy(name: &str) -> &'static str {
    match name.ends_with(".js") {
        true => "default-src 'none'; script-src 'self'",
        false => "default-src 'none'",
    }
}

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const CONTENT_POLICY: HeaderName = HeaderName::from_static("content-security-policy");

#[cfg(test)]
mod tests {
    use super::{ASSETS, url};

    #[test]
    fn every_import_is_of_a_file_that_is_embedded() {
        for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".js")) {
            let text = String::from_utf8(asset.bytes.clone()).unwrap();
            assert!(
                !text.contains("from './"),
                "{} imports what is not before it",
                asset.name
            );
        }
        assert!(url("verifier.js").starts_with("/assets/verifier."));
    }
}
