//! `azure` (IDENTITY.md §3.5): a token of Entra ID for an application of ours, of a managed identity or a service
//! principal.
//!
//! v1 and v2 are two issuers with two names for the client (`appid`, `azp`), and an entry is for one tenant of one of
//! them. A token that a user delegated is refused: it says what a person may do, not what runs. So is one without a client:
//! what a person gets who signs in to the application (an ID token) has its audience too, and no scopes. `xms_mirid` holds
//! names in any case: an attribute, nothing to decide by.

use crate::authenticate::Label;
use crate::authenticate::claims::is_uuid;
use crate::authenticate::entry::fault::Fault;
use crate::authenticate::preset::{Facts, Presence, Preset, Stated};
use crate::authenticate::row::{Row, text, uuid};

pub(super) static PRESET: Preset = Preset {
    name: "azure",
    record: Some("azure"),
    hosts: &["login.microsoftonline.com"],
    jti: "uti",
    has_jti: Presence::Optional,
    id: Some("{tid}/{oid}"),
    // Tokens of managed identities live, and are cached, about 24 h.
    cap: stint_policy::Seconds::new(25 * 3600),
    claims: CLAIMS,
    stated,
    check,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    uuid("tid").required().is("tenant"),
    uuid("oid").required().is("project"),
    text("sub"),
    // In v2 it is `azp`, and `check` puts it here.
    text("appid"),
    text("azp").inner(),
    text("idtyp"),
    text("ver"),
    text("xms_mirid"),
    text("scp").inner(),
];

/// The tenant of an issuer: `https://HOST/TENANT/` is v1, `https://HOST/TENANT/v2.0` is v2.
fn tenant(url: &str) -> Option<(&str, Version)> {
    let (head, version) = match url.strip_suffix("/v2.0") {
        Some(head) => (head, Version::Two),
        None => (url.strip_suffix('/')?, Version::One),
    };
    let (_, tenant) = head.rsplit_once('/')?;
    is_uuid(tenant).then_some((tenant, version))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// `common`, `organizations` and `consumers` are everybody's: they are no tenant.
fn stated(stated: &Stated<'_>) -> Result<(), Fault> {
    if tenant(stated.url).is_some() {
        return Ok(());
    }
    let text = format!("`{}` is not the issuer of one tenant", stated.url);
    Err(Fault::new("url", text).help(
        "`https://sts.windows.net/TENANT/` (v1) or `https://login.microsoftonline.com/TENANT/v2.0`, as `iss` has it; TENANT is the tenant's id",
    ))
}

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    let (tenant, version) = tenant(facts.url).ok_or(Label::Claims)?;
    let (said, client) = match version {
        Version::One => ("1.0", "appid"),
        Version::Two => ("2.0", "azp"),
    };
    let delegated = facts.has("scp") || facts.text("idtyp").is_some_and(|kind| kind != "app");
    let other_version = facts.text("ver").is_some_and(|version| version != said);
    if facts.text("tid") != Some(tenant) || delegated || other_version {
        return Err(Label::Claims);
    }
    // One name for the client, from the member that is this version's.
    let client = facts.text(client).ok_or(Label::Claims)?.to_owned();
    facts.make("appid", &client)
}
