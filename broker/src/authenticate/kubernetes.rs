//! `kubernetes` (IDENTITY.md §3.3): a projected service account token, judged without asking the cluster.
//!
//! Many clusters share one `iss`, so each entry has its own audience and keys. A service account that was made anew under
//! its name has another uid, and the uid is in the id. A deleted pod is not seen here.

use stint_policy::{Attributes, Seconds};

use crate::authenticate::claims::{Claim, Shape};
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::preset::{Facts, Lives, Presence, Preset};
use crate::authenticate::{Label, Reuse};

pub(super) static PRESET: Preset = Preset {
    name: "kubernetes",
    record: Some("kubernetes"),
    url: None,
    shared: |_| false,
    algorithms: &[Algorithm::Rs256, Algorithm::Es256],
    typ: Presence::Optional,
    // Clusters before 1.32 send no `jti`.
    jti: Presence::Optional,
    id: Some("{namespace}/{serviceaccount}/{serviceaccount_uid}"),
    task: Some("{pod_uid}"),
    initiator: None,
    reuse: Reuse::SameKey,
    cap: Seconds::new(3600),
    lives: Lives::Task,
    events: &[],
    privileged_events: &[],
    claims,
    beside: Vec::new,
    family: None,
    origin,
};

fn claims() -> Vec<Claim> {
    let at = |claim: Claim, path: &[&str]| claim.at(&[&["kubernetes.io"], path].concat());
    vec![
        at(
            Claim::fact("namespace", Shape::Id).required(),
            &["namespace"],
        ),
        at(
            Claim::name_of("serviceaccount_uid", "serviceaccount").required(),
            &["serviceaccount", "name"],
        ),
        at(
            Claim::id("serviceaccount_uid").required(),
            &["serviceaccount", "uid"],
        ),
        at(Claim::name_of("pod_uid", "pod"), &["pod", "name"]),
        at(Claim::id("pod_uid"), &["pod", "uid"]),
        at(Claim::name_of("node_uid", "node"), &["node", "name"]),
        at(Claim::id("node_uid"), &["node", "uid"]),
    ]
}

fn origin(facts: &Facts<'_>) -> Result<Attributes, Label> {
    let (namespace, account) = (facts.text("namespace"), facts.text("serviceaccount"));
    let named = facts
        .sub
        .and_then(|sub| sub.strip_prefix("system:serviceaccount:")?.split_once(':'));
    if named.is_none() || named != namespace.zip(account) {
        return Err(Label::Claims);
    }
    Ok(facts.taken(&[
        ("tenant", "namespace"),
        ("project", "serviceaccount_uid"),
        ("project_name", "serviceaccount"),
        ("instance", "pod_uid"),
    ]))
}
