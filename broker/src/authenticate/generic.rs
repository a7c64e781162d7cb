//! `generic` (IDENTITY.md §3.11): any other issuer. Nothing is known about it, so the operator states the ids, the
//! algorithms, the audience and every claim that is used; all traps are the operator's.

use crate::authenticate::preset::{Presence, Preset};

pub(super) static PRESET: Preset = Preset {
    name: "generic",
    // `only` is wanted unless `single_tenant` says otherwise.
    shared: |_| true,
    algorithms: &[],
    typed: Presence::Optional,
    has_jti: Presence::Optional,
    ..Preset::USUAL
};
