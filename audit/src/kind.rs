//! The registry of kinds: what an entry can say in its header (LEDGER.md §5).
//!
//! One struct per kind, its fields in the order of their canonical bytes. The same types write and check: a
//! header that carries an unlisted member, a false flag or a foreign word does not parse. Kinds that a later
//! version adds are kept as [`Foreign`], so that a verifier can report them and still check all the rest.

mod facts;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value};

pub use facts::{
    Admin, Anchor, CallerDisabled, ConfigLoaded, Denied, Epoch, Erased, Frozen, Genesis, Granted,
    KeyAdded, KeyRetired, Login, NextLog, PolicyLoaded, PriorLog, Recovery, RequestClosed,
    Requested, Revoked, Rollup, SignFailed, TaskClosed, TaskOpened, Unfrozen, Voted,
};

use Need::{May, Must, Never};

/// Declares a closed set of words, each variant with its one spelling.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word as it stands in the ledger.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    )+};
}

words! {
    /// The sort of credential a grant allows.
    Credential { Jwt = "jwt", X509 = "x509" }

    /// Why a verified caller was refused.
    DenyReason {
        ApprovalNeeded = "approval_needed", Delegation = "delegation", Disabled = "disabled", Form = "form", Frozen = "frozen",
        Human = "human", Key = "key", Limit = "limit", Policy = "policy",
        PolicyError = "policy_error", Replayed = "replayed", Role = "role", TaskOver = "task_over",
    }

    /// An approver's answer.
    Vote { No = "no", Yes = "yes" }

    /// How a request ended without a grant.
    RequestEnd { Cancelled = "cancelled", Expired = "expired", Void = "void" }

    /// How a task ended.
    TaskEnd { Cancelled = "cancelled", Completed = "completed", Ended = "ended" }

    /// Why a recorded grant released no credential.
    SignFault {
        Interrupted = "interrupted", Mismatch = "mismatch", Signer = "signer", Timeout = "timeout",
    }

    /// What a freeze covers.
    Scope { Action = "action", All = "all", Issuer = "issuer" }

    /// What a key is for.
    KeyUse {
        Ca = "ca", Federation = "federation", Issuer = "issuer", Jwt = "jwt", Log = "log",
        Passkey = "passkey", Subject = "subject",
    }

    /// Where a person signed in.
    Via { Cli = "cli", Console = "console" }

    /// An act or state worth answering for.
    AdminOp {
        BodyRead = "body_read", CallerEnabled = "caller_enabled", Clock = "clock",
        Exported = "exported", IssuerBack = "issuer_back", IssuerDegraded = "issuer_degraded",
        Pruned = "pruned", RoleChanged = "role_changed",
    }

    /// On what grounds bodies were deleted.
    Basis { Order = "order", Request = "request", Retention = "retention" }
}

/// Whether a kind carries a member of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It must.
    Must,
    /// It may.
    May,
    /// It must not.
    Never,
}

/// Declares the registry: variant, word, prefix of the id, and whether `subj`, `by`, `behalf`, `pol` are there.
macro_rules! kinds {
    ($($kind:ident = $word:literal $prefix:literal [$subj:ident $by:ident $behalf:ident $pol:ident])+) => {
        /// The word of each kind.
        pub const KINDS: &[&str] = &[$($word),+];

        /// What one entry says, by kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum What {
            $(#[doc = concat!("`", $word, "`")] $kind($kind),)+
            /// A kind this version does not know. Read, never written.
            Foreign(Foreign),
        }

        $(impl From<$kind> for What {
            fn from(facts: $kind) -> Self {
                Self::$kind(facts)
            }
        })+

        impl What {
            /// The word that names the kind.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$kind(_) => $word,)+
                    Self::Foreign(foreign) => &foreign.kind,
                }
            }

            /// The id prefix and the needs of `subj`, `by`, `behalf`, `pol`. `None` for a foreign kind.
            pub(crate) const fn form(&self) -> Option<(&'static str, [Need; 4])> {
                match self {
                    $(Self::$kind(_) => Some(($prefix, [$subj, $by, $behalf, $pol])),)+
                    Self::Foreign(_) => None,
                }
            }

            /// Reads the `what` of a header of `kind`.
            pub(crate) fn parse(kind: String, what: Map<String, Value>) -> Result<Self, serde_json::Error> {
                let what_value = Value::Object(what);
                match kind.as_str() {
                    $($word => serde_json::from_value(what_value).map(Self::$kind),)+
                    _ => Ok(Self::Foreign(Foreign { kind })),
                }
            }
        }

        impl Serialize for What {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(facts) => facts.serialize(serializer),)+
                    Self::Foreign(_) => Err(S::Error::custom("a foreign kind is not written")),
                }
            }
        }
    };
}

//                                           subj  by    behalf pol
kinds! {
    Genesis        = "genesis"         "ent_"  [Never Never Never Never]
    Granted        = "granted"         "gr_"   [Must  Never May   Must]
    Denied         = "denied"          "dec_"  [Must  Never May   Must]
    Requested      = "requested"       "req_"  [Must  Never May   Must]
    Voted          = "voted"           "vote_" [Must  Must  Never Must]
    RequestClosed  = "request_closed"  "ent_"  [Must  May   Never Never]
    TaskOpened     = "task_opened"     "task_" [Must  Never May   Never]
    TaskClosed     = "task_closed"     "ent_"  [Must  May   Never Never]
    Revoked        = "revoked"         "ent_"  [Must  May   Never Never]
    SignFailed     = "sign_failed"     "ent_"  [Must  Never Never Never]
    CallerDisabled = "caller_disabled" "ent_"  [Must  Must  Never Never]
    Frozen         = "frozen"          "ent_"  [Never Must  Never Never]
    Unfrozen       = "unfrozen"        "ent_"  [Never Must  Never Never]
    PolicyLoaded   = "policy_loaded"   "ent_"  [Never May   Never Must]
    ConfigLoaded   = "config_loaded"   "ent_"  [Never May   Never Never]
    KeyAdded       = "key_added"       "ent_"  [May   May   Never Never]
    KeyRetired     = "key_retired"     "ent_"  [May   May   Never Never]
    Login          = "login"           "ent_"  [Must  Never Never Never]
    Admin          = "admin"           "ent_"  [Never May   Never Never]
    Rollup         = "rollup"          "ent_"  [Never Never Never Never]
    Erased         = "erased"          "ent_"  [Never May   Never Never]
    Anchor         = "anchor"          "ent_"  [Never Never Never Never]
    Recovery       = "recovery"        "ent_"  [Never Never Never Never]
    Epoch          = "epoch"           "ent_"  [Never Must  Never Never]
}

/// A kind this version does not know. Its facts are dropped when it is read: nothing here could use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    kind: String,
}

impl KeyUse {
    /// Whether keys of this use sign credentials.
    #[must_use]
    pub const fn signs_credentials(self) -> bool {
        matches!(self, Self::Ca | Self::Jwt)
    }
}

impl What {
    /// The members that must be ids, each with its prefix.
    pub(crate) fn ids(&self) -> [Option<(&'static str, &str)>; 4] {
        fn id<'a>(prefix: &'static str, text: &'a str) -> Option<(&'static str, &'a str)> {
            Some((prefix, text))
        }
        fn maybe<'a>(
            prefix: &'static str,
            text: &'a Option<String>,
        ) -> Option<(&'static str, &'a str)> {
            text.as_deref().map(|text| (prefix, text))
        }
        match self {
            Self::Granted(it) => [
                id("task_", &it.task),
                maybe("task_", &it.parent),
                maybe("req_", &it.request),
                maybe("gr_", &it.renews),
            ],
            Self::Denied(it) => [
                maybe("task_", &it.task),
                maybe("req_", &it.request),
                None,
                None,
            ],
            Self::Requested(it) => [
                id("task_", &it.task),
                maybe("task_", &it.parent),
                None,
                None,
            ],
            Self::Voted(it) => [id("req_", &it.request), None, None, None],
            Self::RequestClosed(it) => [id("req_", &it.request), None, None, None],
            Self::TaskOpened(it) => [
                id("task_", &it.task),
                maybe("task_", &it.parent),
                None,
                None,
            ],
            Self::TaskClosed(it) => [id("task_", &it.task), None, None, None],
            Self::Revoked(it) => [id("gr_", &it.grant), None, None, None],
            Self::SignFailed(it) => [id("gr_", &it.grant), None, None, None],
            Self::Genesis(_)
            | Self::CallerDisabled(_)
            | Self::Frozen(_)
            | Self::Unfrozen(_)
            | Self::PolicyLoaded(_)
            | Self::ConfigLoaded(_)
            | Self::KeyAdded(_)
            | Self::KeyRetired(_)
            | Self::Login(_)
            | Self::Admin(_)
            | Self::Rollup(_)
            | Self::Erased(_)
            | Self::Anchor(_)
            | Self::Recovery(_)
            | Self::Epoch(_)
            | Self::Foreign(_) => [None; 4],
        }
    }

    /// Whether the body of this kind opens with a decision block, whose `caller` opens `subj`.
    pub(crate) const fn is_decision(&self) -> bool {
        matches!(
            self,
            Self::Granted(_) | Self::Denied(_) | Self::Requested(_)
        )
    }
}
