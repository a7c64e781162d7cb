//! `kubernetes` (IDENTITY.md §3.3): a projected service account token, judged without asking the cluster.
//!
//! Many clusters share one `iss`, so each entry has its own audience and keys. A service account that was made anew under
//! its name has another uid, and the uid is in the id. A deleted pod is not seen here.

use crate::authenticate::Label;
use crate::authenticate::claims::Shape;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::preset::{Facts, Lives, Presence, Preset};
use crate::authenticate::row::{Row, fact, name, text, uuid};

pub(super) static PRESET: Preset = Preset {
    name: "kubernetes",
    record: Some("kubernetes"),
    algorithms: &[Algorithm::Rs256, Algorithm::Es256],
    typed: Presence::Optional,
    // Clusters before 1.32 send no `jti`.
    has_jti: Presence::Optional,
    id: Some("{namespace}/{serviceaccount}/{serviceaccount_uid}"),
    task: Some("{pod_uid}"),
    lives: Lives::Task,
    claims: CLAIMS,
    check,
    ..Preset::USUAL
};

const CLAIMS: &[Row] = &[
    fact("namespace", Shape::Id)
        .required()
        .at(&["kubernetes.io", "namespace"])
        .is("tenant"),
    uuid("serviceaccount_uid")
        .required()
        .at(&["kubernetes.io", "serviceaccount", "uid"])
        .is("project"),
    name("serviceaccount", "serviceaccount_uid")
        .required()
        .at(&["kubernetes.io", "serviceaccount", "name"])
        .is("project_name"),
    name("pod", "pod_uid").at(&["kubernetes.io", "pod", "name"]),
    uuid("pod_uid")
        .at(&["kubernetes.io", "pod", "uid"])
        .is("instance"),
    name("node", "node_uid").at(&["kubernetes.io", "node", "name"]),
    uuid("node_uid").at(&["kubernetes.io", "node", "uid"]),
    text("sub").inner().required(),
];

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    let named = facts
        .text("sub")
        .and_then(|sub| sub.strip_prefix("system:serviceaccount:")?.split_once(':'));
    let body = facts.text("namespace").zip(facts.text("serviceaccount"));
    match named.is_some() && named == body {
        true => Ok(()),
        false => Err(Label::Claims),
    }
}
