//! The `what` of each kind: facts that name nobody. Times are milliseconds since 1970 UTC.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{
    AdminOp, Basis, Credential, DenyReason, KeyUse, RequestEnd, Scope, SignFault, TaskEnd, Via,
    Vote,
};
use crate::{Digest, record};

/// Declares a `what`. Members stand in canonical order; `?` marks those that are left out when absent, and a
/// `flag` is left out when false.
macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })+) => {$(
        facts!(@ [$(#[$doc])*] $name [] $($fields)*);
    )+};
    (@ [$($doc:tt)*] $name:ident [$($done:tt)*]) => {
        $($doc)*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($done)* }
    };
    (@ [$($doc:tt)*] $name:ident [$($done:tt)*] $(#[$meta:meta])* flag $field:ident, $($rest:tt)*) => {
        facts!(@ [$($doc)*] $name [$($done)*
            $(#[$meta])*
            #[serde(default, deserialize_with = "raised", skip_serializing_if = "std::ops::Not::not")]
            pub $field: bool,
        ] $($rest)*);
    };
    (@ [$($doc:tt)*] $name:ident [$($done:tt)*] $(#[$meta:meta])* maybe $field:ident: $type:ty, $($rest:tt)*) => {
        facts!(@ [$($doc)*] $name [$($done)*
            $(#[$meta])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,
        ] $($rest)*);
    };
    (@ [$($doc:tt)*] $name:ident [$($done:tt)*] $(#[$meta:meta])* $field:ident: $type:ty, $($rest:tt)*) => {
        facts!(@ [$($doc)*] $name [$($done)* $(#[$meta])* pub $field: $type,] $($rest)*);
    };
}

facts! {
    /// Entry 0 of a log, and only there.
    Genesis {
        /// 0 for the first log, one more for each that follows it.
        epoch: u64,
        /// How entries are hashed: `rfc6962-sha256`.
        hash: String,
        /// 32 random bytes, so that two logs never begin alike.
        nonce: Digest,
        /// The log this one follows.
        #[serde(deserialize_with = "record::maybe")]
        maybe prior: PriorLog,
        /// The log's public key as a note verifier key.
        vkey: String,
    }
    /// A Permit, recorded before its signature.
    Granted {
        /// The sort of credential.
        cred: Credential,
        /// When the credential ends.
        exp: u64,
        /// The first outcome of this caller.
        flag first,
        /// The first ask of its task.
        flag opens,
        /// Its parent task, `task_…`; said when the task opens.
        maybe parent: String,
        /// The grant it renews, `gr_…`.
        maybe renews: String,
        /// The request people voted on, `req_…`.
        maybe request: String,
        /// The task, `task_…`.
        task: String,
        /// SHA-256 of the exact bytes that are to be signed.
        tbs: Digest,
        /// How many votes it rests on.
        maybe votes: u64,
    }
    /// A verified caller was refused.
    Denied {
        /// The first outcome of this caller.
        flag first,
        /// The request it was refused under, `req_…`.
        maybe request: String,
        /// The task, `task_…`, as far as it was known.
        maybe task: String,
        /// Why.
        why: DenyReason,
    }
    /// An ask was parked for people.
    Requested {
        /// When nobody's vote helps any more.
        expires: u64,
        /// The first outcome of this caller.
        flag first,
        /// The first ask of its task.
        flag opens,
        /// Its parent task, `task_…`; said when the task opens.
        maybe parent: String,
        /// Votes needed, one number for each need.
        quorum: Vec<u64>,
        /// The task, `task_…`.
        task: String,
    }
    /// One vote.
    Voted {
        /// Whether it ends the request.
        flag closes,
        /// The request, `req_…`.
        request: String,
        /// The end of what it can still decide.
        until: u64,
        /// Yes or no.
        vote: Vote,
    }
    /// A request ended without a grant.
    RequestClosed {
        /// The request, `req_…`.
        request: String,
        /// When it would have expired.
        until: u64,
        /// How it ended.
        why: RequestEnd,
    }
    /// A task was opened by itself, not by its first ask.
    TaskOpened {
        /// When it ends at the latest.
        deadline: u64,
        /// Its parent task, `task_…`.
        maybe parent: String,
        /// The task, `task_…`.
        task: String,
    }
    /// A task ended, and with it its grants.
    TaskClosed {
        /// How many grants it withdraws.
        revokes: u64,
        /// The task, `task_…`.
        task: String,
        /// When the last of those would have ended.
        until: u64,
        /// How it ended.
        why: TaskEnd,
    }
    /// One grant was withdrawn.
    Revoked {
        /// The sort of credential.
        cred: Credential,
        /// The grant, `gr_…`.
        grant: String,
        /// The seq of the grant.
        of: u64,
        /// When its credential would have ended.
        until: u64,
        /// The reason of RFC 5280 §5.3.1, e.g. `keyCompromise`.
        why: String,
    }
    /// A grant without a released credential.
    SignFailed {
        /// The grant, `gr_…`.
        grant: String,
        /// The seq of the grant.
        of: u64,
        /// What failed.
        why: SignFault,
    }
    /// The kill switch for one identity.
    CallerDisabled {
        /// How many grants it withdraws.
        revokes: u64,
    }
    /// The kill switch for all, an issuer or an action.
    Frozen {
        /// How many grants it withdraws.
        revokes: u64,
        /// What it covers.
        scope: Scope,
    }
    /// A freeze was lifted.
    Unfrozen {
        /// The seq of the freeze.
        of: u64,
        /// What it covered.
        scope: Scope,
    }
    /// A policy set takes force (`ok`), or was refused and the one in `pol` stays.
    PolicyLoaded {
        /// Whether the set took force.
        flag ok,
        /// The set that was refused.
        maybe tried: Digest,
        /// The set in force before.
        maybe was: Digest,
    }
    /// Start, reload, or fail-over of the database.
    ConfigLoaded {
        /// `start`, `reload` or `failover`.
        cause: String,
        /// The hash of the settings.
        config: Digest,
        /// The version of the software.
        software: String,
        /// The hash of the settings before.
        maybe was: Digest,
    }
    /// A key, or a set of keys, is trusted from here on.
    KeyAdded {
        /// The hash of the public key, or of the sorted thumbprints of the set.
        key: Digest,
        /// When it ends.
        maybe not_after: u64,
        /// What it is for.
        #[serde(rename = "use")]
        usage: KeyUse,
        /// A log key as a note verifier key.
        maybe vkey: String,
    }
    /// A key is trusted no more.
    KeyRetired {
        /// The hash of the public key, or of the sorted thumbprints of the set.
        key: Digest,
        /// When it would have ended.
        maybe not_after: u64,
        /// The seq that added it.
        of: u64,
        /// What it was for.
        #[serde(rename = "use")]
        usage: KeyUse,
        /// A log key as a note verifier key.
        maybe vkey: String,
        /// Why it was retired.
        why: String,
    }
    /// A person signed in.
    Login {
        /// The roles of the session.
        maybe roles: Vec<String>,
        /// Where.
        via: Via,
    }
    /// Any other act or state worth answering for.
    Admin {
        /// How many things it concerned.
        maybe n: u64,
        /// The seq it concerns.
        maybe of: u64,
        /// What was done.
        op: AdminOp,
    }
    /// Refused noise of up to a minute.
    Rollup {
        /// How many refusals.
        n: u64,
        /// From when.
        since: u64,
        /// Till when.
        until: u64,
    }
    /// Bodies were deleted.
    Erased {
        /// On what grounds.
        basis: Basis,
        /// How many.
        n: u64,
        /// Their seqs as half-open ranges `[a, b)`, ascending, at most 100.
        ranges: Vec<[u64; 2]>,
    }
    /// A cosigned checkpoint of this log, and what still binds.
    Anchor {
        /// How many cosignatures.
        cosigs: u64,
        /// The newest cosignature's time.
        maybe latest: u64,
        /// The hash of the note.
        note: Digest,
        /// The root at `size`.
        root: Digest,
        /// The size of the checkpoint.
        size: u64,
        /// SHA-256 of the seqs that still bind, ascending decimals joined by LF.
        standing: Digest,
    }
    /// The last entry of a log that ends in order.
    Epoch {
        /// The log that follows.
        #[serde(deserialize_with = "record::one")]
        next: NextLog,
        /// Why.
        why: String,
    }
    /// The log before this one, as far as it is known.
    PriorLog {
        /// Its origin.
        log: String,
        /// Its root at `size`.
        root: Digest,
        /// Its size.
        size: u64,
    }
    /// The log after this one.
    NextLog {
        /// Its origin.
        log: String,
        /// Its public key as a note verifier key.
        vkey: String,
    }
}

/// An entry of a log that replaces a damaged one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "lowercase", deny_unknown_fields)]
pub enum Recovery {
    /// Seq 1 of the new log.
    Begin {
        /// The best known checkpoint of the old one.
        #[serde(deserialize_with = "record::one")]
        prior: PriorLog,
        /// The largest size anyone saw.
        seen: u64,
        /// Why.
        why: String,
    },
    /// An entry of the old log that was found again.
    Entry {
        /// Its seq there.
        old: u64,
    },
}

/// A flag that is there is true.
fn raised<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    if bool::deserialize(deserializer)? {
        Ok(true)
    } else {
        Err(D::Error::custom("a false flag is left out"))
    }
}
