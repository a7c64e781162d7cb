//! `google` (IDENTITY.md §3.4): an identity token of a service account, from the metadata server or the IAM API.
//!
//! Anybody with a Google account can get this `iss`, so `only` binds `sub`, which is never given again; `email` is not
//! read. What is under `google.compute_engine` is there only for `format=full`. There is no `jti`.

use stint_policy::Attributes;

use crate::authenticate::claims::Shape;
use crate::authenticate::preset::{Facts, Presence, Preset};
use crate::authenticate::row::{Row, fact, id, name, text};

pub(super) static PRESET: Preset = Preset {
    name: "google",
    record: Some("google"),
    url: Some(URL),
    shared: |url| url == URL,
    hosts: &["www.googleapis.com"],
    has_jti: Presence::Optional,
    id: Some("{sub}"),
    task: Some("{instance_id}"),
    claims: CLAIMS,
    refines: &["region"],
    refine,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    id("sub").required().is("project"),
    // The client that the token was made for, which is the account itself or anybody's: it names nobody's tenant.
    fact("azp", Shape::Id),
    id("project_number")
        .of_shape(Shape::Integer)
        .at(&["google", "compute_engine", "project_number"])
        .is("tenant"),
    name("project_id", "project_number").at(&["google", "compute_engine", "project_id"]),
    text("zone").at(&["google", "compute_engine", "zone"]),
    id("instance_id")
        .at(&["google", "compute_engine", "instance_id"])
        .is("instance"),
    name("instance_name", "instance_id").at(&["google", "compute_engine", "instance_name"]),
    fact("instance_creation_timestamp", Shape::Integer).at(&[
        "google",
        "compute_engine",
        "instance_creation_timestamp",
    ]),
];

/// A zone is a region and one part more: `us-central1-a`.
fn refine(facts: &Facts<'_>, origin: &mut Attributes) {
    let region = facts.text("zone").and_then(|zone| zone.rsplit_once('-'));
    origin.extend(region.map(|(region, _)| ("region".to_owned(), region.into())));
}

const URL: &str = "https://accounts.google.com";
