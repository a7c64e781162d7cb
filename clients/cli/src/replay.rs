//! Deciding again what a ledger says was decided: the policy sets of a bundle, loaded by the broker's own loader, and
//! the recorded question put to them (LEDGER.md §11, `replay`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::rc::Rc;

use serde_json::{Map, Value, json};
use stint_audit::bundle::{BundleSource, POLICIES};
use stint_audit::kind::DenyReason;
use stint_audit::verify::{Again, Decider};
use stint_audit::{Digest, Header, What};
use stint_policy::{
    AskDigest, Files, Limits, PolicySet, Quorum, Reasons, Recorded, ReplayError, TaskId, Verdict,
};

/// Largest policy set that is read, bytes; the loader's own limit is lower.
const MAX_SET: u64 = 16 << 20;
/// Sets that are held at once; each may take some megabytes.
const MAX_HELD: usize = 4;
/// The schema that is compiled into a broker, and part of each set's address.
const SCHEMA: &str = "stint.cedarschema";

/// The policy sets of one bundle.
pub(crate) struct Replayer<'a> {
    source: &'a dyn BundleSource,
    /// Names of files by set.
    files: BTreeMap<String, Vec<String>>,
    /// The newest last.
    held: RefCell<Vec<(Digest, Loaded)>>,
}

/// A set, or why there is none.
type Loaded = Result<Rc<PolicySet>, Again>;

impl<'a> Replayer<'a> {
    /// Of the sets in `source`; nothing is read before it is asked for.
    pub(crate) fn new(source: &'a dyn BundleSource) -> Self {
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in source.names() {
            let parts = name
                .strip_prefix(POLICIES)
                .and_then(|rest| rest.split_once('/'));
            if let Some((pol, _)) = parts {
                files.entry(pol.to_owned()).or_default().push(name);
            }
        }
        Self {
            source,
            files,
            held: RefCell::default(),
        }
    }

    fn set(&self, pol: &Digest) -> Loaded {
        let mut held = self.held.borrow_mut();
        if let Some(place) = held.iter().position(|(known, _)| known == pol) {
            let found = held.remove(place);
            let loaded = found.1.clone();
            held.push(found);
            return loaded;
        }
        let loaded = self.load(pol);
        if held.len() == MAX_HELD {
            drop(held.remove(0));
        }
        held.push((*pol, loaded.clone()));
        loaded
    }

    /// The set of this address. Files of another address are a lie, a schema of another version is none.
    fn load(&self, pol: &Digest) -> Loaded {
        let names = self.files.get(&pol.to_string());
        let names = names.ok_or_else(|| unknown(format!("policy set {pol} is not here")))?;
        let prefix = format!("{POLICIES}{pol}/");
        let mut left = MAX_SET;
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for name in names {
            let bytes = self.file(name, &mut left).ok_or_else(|| {
                unknown(format!("policy set {pol} is too large, or cannot be read"))
            })?;
            files.insert(name.strip_prefix(&prefix).unwrap_or(name), bytes);
        }
        let whole = files.contains_key(SCHEMA);
        if whole && address(&files) != *pol {
            let text = format!("the files of policy set {pol} are not the ones it names");
            return Err(Again::Differs(text));
        }
        files.remove(SCHEMA);
        let set = PolicySet::from_files(files.into_iter().collect::<Files>());
        let set = set.map_err(|error| {
            let cause = error.findings().first().map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| error.to_string());
            unknown(format!("policy set {pol} does not load here: {cause}"))
        })?;
        if set.hash().as_bytes() == pol.as_bytes() {
            return Ok(Rc::new(set));
        }
        Err(unknown(format!(
            "policy set {pol} is of another version of Stint than this one, {}",
            env!("CARGO_PKG_VERSION")
        )))
    }

    fn file(&self, name: &str, left: &mut u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.source.open(name).ok()??;
        let read = file.take(*left + 1).read_to_end(&mut bytes).ok()?;
        *left = left.checked_sub(read as u64)?;
        Some(bytes)
    }
}

impl Decider for Replayer<'_> {
    fn again(&self, header: &Header, body: &Map<String, Value>) -> Again {
        self.decided(header, body).unwrap_or_else(|again| again)
    }
}

impl Replayer<'_> {
    fn decided(&self, header: &Header, body: &Map<String, Value>) -> Result<Again, Again> {
        let expected = Expected::of(&header.what);
        let (Some(expected), Some(pol)) = (expected, header.pol) else {
            return Ok(Again::NotAsked);
        };
        let Some(query) = body.get("query") else {
            // A key can be refused before policy is asked.
            return Ok(match expected {
                Expected::Key => Again::NotAsked,
                _ => unknown("it has no question".to_owned()),
            });
        };
        let recorded = recorded(header, body, query)?;
        let set = self.set(&pol)?;
        let verdict = set.judge_again(&recorded).map_err(|error| match error {
            ReplayError::Differs(_) => Again::Differs(error.to_string()),
            ReplayError::Unreadable(_) => unknown(error.to_string()),
        })?;
        Ok(match expected.difference(header, body, &verdict) {
            None => Again::Same,
            Some(text) => Again::Differs(text),
        })
    }
}

/// The recorded question, which must be that of the entry it stands in.
fn recorded(header: &Header, body: &Map<String, Value>, query: &Value) -> Result<Recorded, Again> {
    let task = match &header.what {
        What::Granted(it) => Some(&it.task),
        What::Requested(it) => Some(&it.task),
        What::Denied(it) => it.task.as_ref(),
        _ => None,
    };
    let task: Option<TaskId> = task.and_then(|task| task.parse().ok());
    let digest: Option<Digest> = body.get("digest").and_then(|it| it.as_str()?.parse().ok());
    let (Some(task), Some(digest)) = (task, digest) else {
        return Err(unknown("it has no task or no digest".to_owned()));
    };
    let asker = |value: &Value, of: &str| Some(value.get(of)?.get("id")?.as_str()?.to_owned());
    let caller = body.get("caller").and_then(|it| it.get("id")?.as_str());
    if asker(query, "principal").as_deref() != caller {
        return Err(Again::Differs("the question is of another caller".into()));
    }
    let kind = || {
        let credential = query.get("context")?.get("credential")?;
        credential.get("kind")?.get("__entity")?.get("id")?.as_str()
    };
    if let What::Granted(it) = &header.what
        && kind() != Some(it.cred.as_str())
    {
        let text = "the question is of another kind of credential";
        return Err(Again::Differs(text.into()));
    }
    let digest = AskDigest(*digest.as_bytes());
    Recorded::read(query, task, digest).map_err(|error| unknown(error.to_string()))
}

/// What must come out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Deny(DenyReason),
    Hold,
    /// Policy said yes, and the key asked for more.
    Key,
    Permit,
}

impl Expected {
    /// None where policy has no part in it.
    const fn of(what: &What) -> Option<Self> {
        match what {
            What::Granted(_) => Some(Self::Permit),
            What::Requested(_) => Some(Self::Hold),
            What::Denied(denied) => match denied.why {
                DenyReason::ApprovalNeeded => Some(Self::Hold),
                DenyReason::Key => Some(Self::Key),
                DenyReason::Delegation
                | DenyReason::Human
                | DenyReason::Limit
                | DenyReason::Policy
                | DenyReason::PolicyError => Some(Self::Deny(denied.why)),
                DenyReason::Disabled
                | DenyReason::Form
                | DenyReason::Frozen
                | DenyReason::Replayed
                | DenyReason::Role
                | DenyReason::TaskOver => None,
            },
            _ => None,
        }
    }

    /// What is not as it was, in words.
    fn difference(
        self,
        header: &Header,
        body: &Map<String, Value>,
        verdict: &Verdict,
    ) -> Option<String> {
        let other = match (self, verdict) {
            (Self::Permit, Verdict::Permit(limits)) => beyond(header, limits),
            (Self::Key, Verdict::Permit(_)) => return None, // its body names no policies
            (Self::Hold, Verdict::Hold(quorum)) => other_needs(header, body, quorum),
            (Self::Deny(why), Verdict::Deny(reasons)) => other_reasons(why, body, reasons),
            (_, Verdict::Permit(_) | Verdict::Hold(_) | Verdict::Deny(_)) => {
                let said = match self {
                    Self::Permit | Self::Key => "permit",
                    Self::Hold => "hold",
                    Self::Deny(_) => "deny",
                };
                Some(format!(
                    "recorded is {said}, policy says {}",
                    verdict.as_str()
                ))
            }
        };
        other.or_else(|| other_policies(body, verdict))
    }
}

fn other_policies(body: &Map<String, Value>, verdict: &Verdict) -> Option<String> {
    let now = json!(verdict.policies());
    let then = body.get("policies").cloned().unwrap_or_else(|| json!([]));
    (now != then).then(|| format!("recorded as deciding are {then}, and it is {now}"))
}

/// A grant is of the kind that was asked for, and no longer than policy allows.
fn beyond(header: &Header, limits: &Limits) -> Option<String> {
    let What::Granted(granted) = &header.what else {
        return None;
    };
    let end = u64::try_from(limits.not_after().as_millis()).unwrap_or(0);
    (granted.exp > end).then(|| {
        let by = (granted.exp - end) / 1_000;
        format!("the credential lives {by} s longer than policy allows")
    })
}

fn other_needs(header: &Header, body: &Map<String, Value>, quorum: &Quorum) -> Option<String> {
    let needs = quorum.needs().iter().map(|need| {
        json!({
            "policy": need.policy,
            "approvers": need.approvers.as_str(),
            "quorum": need.votes.get(),
        })
    });
    let now: Value = needs.collect();
    let then = body.get("needs").cloned().unwrap_or_default();
    if now != then {
        return Some(format!("recorded as needed is {then}, and it is {now}"));
    }
    let votes = quorum
        .needs()
        .iter()
        .map(|need| u64::from(need.votes.get()));
    match &header.what {
        What::Requested(requested) if !votes.eq(requested.quorum.iter().copied()) => {
            Some("its header has other numbers of votes than its needs".to_owned())
        }
        _ => None,
    }
}

fn other_reasons(why: DenyReason, body: &Map<String, Value>, reasons: &Reasons) -> Option<String> {
    let detail = body.get("detail").and_then(Value::as_str).unwrap_or("");
    let then = (why.as_str(), detail);
    let now = (reasons.why().as_str(), reasons.detail().as_str());
    (now != then).then(|| {
        format!(
            "recorded as why is {} ({}), and it is {} ({})",
            then.0, then.1, now.0, now.1
        )
    })
}

/// The content address of a set (LEDGER.md §3).
fn address(files: &BTreeMap<&str, Vec<u8>>) -> Digest {
    let hashes: Map<String, Value> = files
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), json!(Digest::of(bytes).to_string())))
        .collect();
    Digest::of(json!({"files": hashes, "v": 1}).to_string().as_bytes())
}

fn unknown(text: String) -> Again {
    Again::Unknown(text)
}
