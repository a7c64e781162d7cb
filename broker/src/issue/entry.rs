//! What the ledger will say of a walk: its entry (LEDGER.md §5). The rows that go with it are in `rows`.
//!
//! Bodies hold verified claims and digests: never a token, key or cookie (inv. 9).

use serde_json::{Map, Value, json};
use stint_audit::kind::{self, DenyReason, RequestEnd, SignFault};
use stint_audit::{Digest, Entry, Receipt, What};
use stint_ca::{SignError, Unsigned};
use stint_policy::{
    CredentialKind, DecisionReceipt, Heard, PolicySet, Principal, Query, Quorum, Reasons,
    Timestamp, Why,
};

use super::Case;
use super::ask::{Asked, Fault};
use super::said::Said;
use crate::ids::{DecisionId, EntryId};
use crate::ledger::{Ledger, salted};
use crate::random;
use crate::store::RequestRow;
use crate::task::{Open, Tasks};

/// All that is known of one ask when policy has answered.
pub(super) struct Facts<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) policy: &'a PolicySet,
    pub(super) task: &'a Open,
    pub(super) asked: &'a Asked,
    pub(super) query: &'a Query<'a>,
    pub(super) heard: &'a Heard<'a, 'a>,
    pub(super) said: &'a Said,
}

impl Facts<'_> {
    /// The set that decided.
    pub(super) fn pol(&self) -> Digest {
        pol(self.policy)
    }

    /// `granted`: a Permit, before its signature.
    pub(super) fn granted(&self, ledger: &Ledger, unsigned: &Unsigned, votes: &[u64]) -> Entry {
        let grant = unsigned.grant();
        let mut body = self.block(ledger);
        put(&mut body, "policies", json!(grant.policies()));
        put(&mut body, "profile", json!(grant.profile()));
        put(
            &mut body,
            "key",
            json!(unsigned.key_digest().map(|key| key.to_string())),
        );
        put(&mut body, "serial", json!(unsigned.serial_hex()));
        put(&mut body, "jti", json!(unsigned.jti()));
        let limits = json!({
            "asked_s": grant.asked_ttl().as_u32(),
            "not_after": unsigned.not_after().as_millis(),
            "shortened_by": grant.shortened_by(),
        });
        put(&mut body, "limits", limits);
        let request = self.said.request().filter(|_| !votes.is_empty());
        put(
            &mut body,
            "votes",
            request.map_or(Value::Null, |_| json!(votes)),
        );
        let what = kind::Granted {
            cred: credential(grant.kind()),
            exp: millis(unsigned.not_after()),
            first: false,
            opens: false,
            parent: None,
            renews: None,
            request: request.map(|row| row.id.clone()),
            task: self.task.id(),
            tbs: unsigned.digest(),
            votes: request.map(|_| self.said.yes()),
        };
        self.entry(ledger, grant.id().to_string(), what.into(), body)
    }

    /// `requested`: the ask is parked as `row`.
    pub(super) fn requested(&self, ledger: &Ledger, quorum: &Quorum, row: &RequestRow) -> Entry {
        let mut body = self.block(ledger);
        put(&mut body, "policies", json!(quorum.policies()));
        put(&mut body, "needs", needs(quorum));
        put(&mut body, "card", json!(row.card()));
        let what = kind::Requested {
            expires: row.expires.unsigned_abs(),
            first: false,
            opens: false,
            parent: None,
            quorum: quorum
                .needs()
                .iter()
                .map(|need| u64::from(need.votes.get()))
                .collect(),
            task: self.task.id(),
        };
        self.entry(ledger, row.id.clone(), what.into(), body)
    }

    /// `denied`, by policy.
    pub(super) fn denied(
        &self,
        ledger: &Ledger,
        reasons: &Reasons,
        explained: &DecisionReceipt,
    ) -> (DecisionId, Entry) {
        let mut body = self.block(ledger);
        put(&mut body, "policies", json!(reasons.policies()));
        put(&mut body, "detail", json!(reasons.detail().as_str()));
        put(&mut body, "missed", json!(explained.missed()));
        let why = match reasons.why() {
            Why::Delegation => DenyReason::Delegation,
            Why::Human => DenyReason::Human,
            Why::Limit => DenyReason::Limit,
            Why::Policy => DenyReason::Policy,
            Why::PolicyError => DenyReason::PolicyError,
        };
        self.denial(ledger, why, body)
    }

    /// `denied`, because people would have to approve it and the door cannot wait.
    pub(super) fn turned_away(&self, ledger: &Ledger, quorum: &Quorum) -> (DecisionId, Entry) {
        let mut body = self.block(ledger);
        put(&mut body, "policies", json!(quorum.policies()));
        put(&mut body, "needs", needs(quorum));
        self.denial(ledger, DenyReason::ApprovalNeeded, body)
    }

    /// `denied`, because the key asks for more than the grant gives.
    pub(super) fn denied_key(&self, ledger: &Ledger, fault: &Fault) -> (DecisionId, Entry) {
        let mut body = self.block(ledger);
        put(&mut body, "detail", json!(fault.to_string()));
        self.denial(ledger, DenyReason::Key, body)
    }

    fn denial(
        &self,
        ledger: &Ledger,
        why: DenyReason,
        body: Map<String, Value>,
    ) -> (DecisionId, Entry) {
        let id = DecisionId::from_bytes(random::bytes());
        let refused = self.said.refusal().filter(|_| why == DenyReason::Human);
        let request = refused.map(|(request, _)| request.id.clone());
        let what = denied(why, Some(self.task.id()), request);
        (id, self.entry(ledger, id.to_string(), what, body))
    }

    /// `sign_failed`: the grant of `receipt` released nothing.
    pub(super) fn sign_failed(
        &self,
        ledger: &Ledger,
        receipt: &Receipt,
        error: &SignError,
    ) -> Entry {
        let mut body = Map::new();
        put(&mut body, "signer", json!(self.asked.want.kind.as_str()));
        put(&mut body, "error", json!(error.to_string()));
        let why = match error {
            SignError::Signer(_) => SignFault::Signer,
            SignError::Ended
            | SignError::Mismatch
            | SignError::NotGranted
            | SignError::OtherBytes
            | SignError::OtherLog => SignFault::Mismatch,
        };
        Entry {
            id: EntryId::from_bytes(random::bytes()).to_string(),
            subj: Some(subject(self.case, ledger).pseudonym),
            by: None,
            behalf: None,
            pol: None,
            what: kind::SignFailed {
                grant: receipt.header().id.clone(),
                of: receipt.seq(),
                why,
            }
            .into(),
            body: salted(body),
        }
    }

    fn entry(&self, ledger: &Ledger, id: String, what: What, body: Map<String, Value>) -> Entry {
        entry(self.case, ledger, (id, what), self.pol(), body)
    }

    /// The decision block, LEDGER.md §5 **D**.
    fn block(&self, ledger: &Ledger) -> Map<String, Value> {
        let mut body = block(self.case, ledger);
        put(&mut body, "digest", json!(self.asked.digest.to_string()));
        put(&mut body, "query", self.heard.record());
        body
    }
}

/// `denied`, because the ask could not be read: no task may be known, and policy was not asked.
pub(super) fn unreadable(
    case: &Case<'_>,
    ledger: &Ledger,
    policy: &PolicySet,
    (fault, task): (&Fault, Option<String>),
) -> (DecisionId, Entry) {
    let mut body = block(case, ledger);
    put(&mut body, "detail", json!(fault.to_string()));
    let why = match fault {
        Fault::Disabled => DenyReason::Disabled,
        Fault::Key(_) => DenyReason::Key,
        Fault::TaskOver => DenyReason::TaskOver,
        Fault::Action(_)
        | Fault::Field { .. }
        | Fault::ResourceType(_)
        | Fault::TaskRequired
        | Fault::TooLarge
        | Fault::Unsupported(_) => DenyReason::Form,
    };
    let id = DecisionId::from_bytes(random::bytes());
    (
        id,
        entry(
            case,
            ledger,
            (id.to_string(), denied(why, task, None)),
            pol(policy),
            body,
        ),
    )
}

/// `denied`, because the evidence came a second time.
pub(super) fn replayed(case: &Case<'_>, ledger: &Ledger, policy: &PolicySet) -> Entry {
    let id = DecisionId::from_bytes(random::bytes()).to_string();
    let what = denied(DenyReason::Replayed, None, None);
    entry(case, ledger, (id, what), pol(policy), block(case, ledger))
}

/// `request_closed`: nobody decided in time.
pub(super) fn expired(ledger: &Ledger, row: &RequestRow) -> Entry {
    Entry {
        id: EntryId::from_bytes(random::bytes()).to_string(),
        subj: Some(ledger.subject(&row.caller).pseudonym),
        by: None,
        behalf: None,
        pol: None,
        what: kind::RequestClosed {
            request: row.id.clone(),
            until: row.expires.unsigned_abs(),
            why: RequestEnd::Expired,
        }
        .into(),
        body: salted(Map::new()),
    }
}

/// The policy set's hash as the ledger writes it.
pub(crate) fn pol(policy: &PolicySet) -> Digest {
    Digest::from_bytes(*policy.hash().as_bytes())
}

/// A caller as it may see itself: identity and verified claims.
pub(super) fn seen_as(principal: &Principal) -> Value {
    let mut view = json!({
        "id": principal.id.as_str(),
        "kind": principal.kind.as_str(),
        "issuer": principal.issuer,
        "preset": principal.preset,
    });
    if let (Some(view), Some((platform, claims))) =
        (view.as_object_mut(), &principal.claims.platform)
    {
        put(view, platform, json!(claims));
    }
    view
}

/// The task an unread ask is refused in, as far as its evidence says.
pub(super) fn task_of(case: &Case<'_>, tasks: &Tasks) -> Option<String> {
    case.caller
        .task()
        .map(|task| tasks.id(&task.name).to_string())
}

fn block(case: &Case<'_>, ledger: &Ledger) -> Map<String, Value> {
    let caller = case.caller;
    let principal = caller.principal();
    let seen = caller.seen();
    let mut who = json!({
        "id": principal.id.as_str(),
        "open": subject(case, ledger).open.to_string(),
        "kind": principal.kind.as_str(),
        "issuer": principal.issuer,
    });
    if let (Some(who), Some(owner)) = (who.as_object_mut(), &principal.owner) {
        put(who, "owner", json!(owner));
    }
    let sort = match caller.replay() {
        Some(_) => "oidc",
        None => &*principal.preset, // the attestor's kind
    };
    let evidence = json!([{
        "type": sort,
        "issuer": principal.issuer,
        "digest": Digest::from_bytes(seen.digest).to_string(),
        "key": Digest::from_bytes(seen.key).to_string(),
        "iat": seen.issued.as_millis(),
        "exp": seen.expires.as_millis(),
    }]);
    let mut body = Map::new();
    put(&mut body, "at", json!(case.now.as_millis()));
    put(&mut body, "caller", who);
    put(&mut body, "evidence", evidence);
    put(&mut body, "reason", json!(case.ask.reason));
    body
}

fn entry(
    case: &Case<'_>,
    ledger: &Ledger,
    (id, what): (String, What),
    pol: Digest,
    body: Map<String, Value>,
) -> Entry {
    let subj = Some(subject(case, ledger).pseudonym);
    Entry {
        id,
        subj,
        by: None,
        behalf: None,
        pol: Some(pol),
        what,
        body: salted(body),
    }
}

fn subject(case: &Case<'_>, ledger: &Ledger) -> stint_audit::subject::Subject {
    ledger.subject(case.caller.principal().id.as_str())
}

fn denied(why: DenyReason, task: Option<String>, request: Option<String>) -> What {
    kind::Denied {
        first: false,
        request,
        task,
        why,
    }
    .into()
}

pub(super) fn needs(quorum: &Quorum) -> Value {
    let needs = quorum.needs().iter().map(|need| {
        json!({
            "policy": need.policy,
            "approvers": need.approvers.as_str(),
            "quorum": need.votes.get(),
        })
    });
    needs.collect()
}

fn credential(kind: CredentialKind) -> kind::Credential {
    match kind {
        // INVARIANT: `Asked` is never of kind `None`; a grant without credential is not minted.
        CredentialKind::Jwt | CredentialKind::None => kind::Credential::Jwt,
        CredentialKind::X509 => kind::Credential::X509,
    }
}

/// A member, unless it has no value: the ledger's JSON has no null (LEDGER.md §2).
fn put(body: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        body.insert(name.to_owned(), value);
    }
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}
