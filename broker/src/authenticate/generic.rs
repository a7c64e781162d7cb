//! `generic` (IDENTITY.md §3.11): any other issuer. Nothing is known about it, so the operator states the ids, the
//! algorithms, the audience and every claim that is used; all traps are the operator's.

use stint_policy::{Attributes, Seconds};

use crate::authenticate::Reuse;
use crate::authenticate::preset::{Lives, Presence, Preset};

pub(super) static PRESET: Preset = Preset {
    name: "generic",
    record: None,
    url: None,
    // `only` is wanted unless `single_tenant` says otherwise.
    shared: |_| true,
    algorithms: &[],
    typ: Presence::Optional,
    jti: Presence::Optional,
    id: None,
    task: None,
    initiator: None,
    reuse: Reuse::SameKey,
    cap: Seconds::new(3600),
    lives: Lives::Token,
    events: &[],
    privileged_events: &[],
    claims: Vec::new,
    beside: Vec::new,
    family: None,
    origin: |_| Ok(Attributes::new()),
};
