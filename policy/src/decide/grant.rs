//! The permission to mint one credential. Its maker is visible to `decide` and nobody else, in this crate or outside.

use crate::decision::{Limits, PolicyHash};
use crate::id::{GrantId, TaskId};
use crate::query::{AskDigest, Binding, CredentialKind, Kind, Query};
use crate::spiffe::SpiffeId;
use crate::time::{Seconds, Timestamp};
use crate::uid::{ActionId, Resources};

/// The permission to mint one credential, once. No Clone, no Default, no Serialize, and no way to make one:
///
/// ```compile_fail
/// fn forge(query: &stint_policy::Query<'_>) -> stint_policy::Grant {
///     stint_policy::Grant::new(todo!(), query, todo!(), todo!())
/// }
/// ```
/// ```compile_fail
/// fn copy(grant: &stint_policy::Grant) -> stint_policy::Grant {
///     grant.clone()
/// }
/// ```
/// ```compile_fail
/// fn forge(other: stint_policy::Grant) -> stint_policy::Grant {
///     stint_policy::Grant { kind: stint_policy::CredentialKind::X509, ..other }
/// }
/// ```
#[derive(Debug)]
pub struct Grant {
    id: GrantId,
    caller: SpiffeId,
    caller_kind: Kind,
    subject: Option<SpiffeId>,
    actors: Vec<SpiffeId>,
    task: String,
    task_id: TaskId,
    action: ActionId,
    resources: Resources,
    kind: CredentialKind,
    profile: String,
    audience: Option<String>,
    bind: Binding,
    asked_ttl: Seconds,
    digest: AskDigest,
    pol: PolicyHash,
    limits: Limits,
}

impl Grant {
    /// INVARIANT: `decide` alone calls this, on a verdict it has just come to for this very query.
    pub(super) fn new(
        id: GrantId,
        query: &Query<'_>,
        (action, resources): (&ActionId, &Resources),
        (pol, limits): (PolicyHash, Limits),
    ) -> Grant {
        Grant {
            id,
            caller: query.caller.id.clone(),
            caller_kind: query.caller.kind,
            subject: query.subject.map(|subject| subject.id.clone()),
            actors: query.actors.iter().map(|actor| actor.id.clone()).collect(),
            task: query.task.name.clone(),
            task_id: query.task.id,
            action: action.clone(),
            resources: resources.clone(),
            kind: query.want.kind,
            profile: query.want.profile.clone(),
            audience: query.want.audience.clone(),
            bind: query.want.bind,
            asked_ttl: query.want.ttl,
            digest: query.digest,
            pol,
            limits,
        }
    }

    /// Its id, as the broker drew it.
    #[must_use]
    pub fn id(&self) -> GrantId {
        self.id
    }

    /// Who asked, and whom the credential will name.
    #[must_use]
    pub fn caller(&self) -> &SpiffeId {
        &self.caller
    }

    /// What the caller is.
    #[must_use]
    pub fn caller_kind(&self) -> Kind {
        self.caller_kind
    }

    /// On whose behalf.
    #[must_use]
    pub fn subject(&self) -> Option<&SpiffeId> {
        self.subject.as_ref()
    }

    /// Who stands between, in the order of the query.
    #[must_use]
    pub fn actors(&self) -> &[SpiffeId] {
        &self.actors
    }

    /// The task's name.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The task's id.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.task_id
    }

    /// What may be done, by its canonical name.
    #[must_use]
    pub fn action(&self) -> &ActionId {
        &self.action
    }

    /// To what.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// What is to be minted.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// The profile's name.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// A JWT's audience.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The proof that came with the ask.
    #[must_use]
    pub fn bind(&self) -> Binding {
        self.bind
    }

    /// The life that was asked for.
    #[must_use]
    pub fn asked_ttl(&self) -> Seconds {
        self.asked_ttl
    }

    /// The digest of the ask.
    #[must_use]
    pub fn digest(&self) -> AskDigest {
        self.digest
    }

    /// The policy set that decided.
    #[must_use]
    pub fn pol(&self) -> PolicyHash {
        self.pol
    }

    /// What it is bounded by.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The end of the credential's life; no later moment may stand in it.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.limits.not_after()
    }

    /// Ids of the permits that decided, sorted.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        self.limits.policies()
    }

    /// Names of the bounds below what was asked.
    #[must_use]
    pub fn shortened_by(&self) -> &[String] {
        self.limits.shortened_by()
    }

    /// Whether the decision read the history of the task tree.
    #[must_use]
    pub fn reads_history(&self) -> bool {
        self.limits.reads_history()
    }

    /// Labels of the granted resources.
    #[must_use]
    pub fn labels(&self) -> &std::collections::BTreeSet<String> {
        self.limits.labels()
    }
}
