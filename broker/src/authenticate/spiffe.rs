//! `spiffe-jwt-svid` (IDENTITY.md §3.10, §8): a JWT-SVID of another trust domain, judged by the `jwt-svid` keys of that
//! domain's bundle and no others.
//!
//! The entry is found by the trust domain of `sub`; `iss` is not read, and no claim beyond `sub` is trusted. Without an
//! `iat` its life counts from when it is first seen, and it is bound to the key that came with it then.

use stint_policy::SpiffeId;

use crate::authenticate::Label;
use crate::authenticate::claims::Shape;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::keys::KeyUse;
use crate::authenticate::preset::{Facts, FoundBy, Header, Presence, Preset};
use crate::authenticate::row::{Row, id, text};

pub(super) static PRESET: Preset = Preset {
    name: "spiffe-jwt-svid",
    found_by: FoundBy::TrustDomain,
    algorithms: &[
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
    ],
    keys: KeyUse::JwtSvid,
    typ: &["JWT", "JOSE"],
    typed: Presence::Optional,
    header: Header::Bare,
    has_jti: Presence::Optional,
    has_iat: Presence::Optional,
    id: Some("{trust_domain}/{spiffe_path}"),
    claims: CLAIMS,
    check,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    id("trust_domain")
        .beside()
        .required()
        .made_by_check()
        .is("tenant"),
    id("spiffe_path")
        .of_shape(Shape::Path)
        .beside()
        .required()
        .made_by_check()
        .is("project"),
    text("sub").inner().required(),
];

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    let sub = SpiffeId::parse(facts.text("sub").unwrap_or_default()).or(Err(Label::Claims))?;
    facts.make("trust_domain", sub.trust_domain())?;
    facts.make("spiffe_path", sub.path())
}
