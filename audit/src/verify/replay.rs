//! `replay`: the header rules of the fold (LEDGER.md §8), then each decision once more by the auditor's own policy
//! engine. The fold sees headers in order; what it cannot know (who is behind a pseudonym, which issuer was frozen)
//! it takes from bodies, as far as they are open.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::report::{Check, Name, Verdict};
use super::{Again, Decider};
use crate::Digest;
use crate::entry::Header;
use crate::kind::{AdminOp, DenyReason, Granted, Scope, What};

/// Most callers, tasks, and parents of tasks that are held at once; each takes about 64 bytes.
const MAX_HELD: usize = 1 << 18;

/// Longest line of parents of a task that is followed.
const MAX_LINE: usize = 64;

/// A body as the walk found it.
pub(super) type Found<'a> = Option<&'a Map<String, Value>>;

/// What binds at a place in the log, as far as the headers before it in the range say.
#[derive(Default)]
pub(super) struct Replay {
    check: Check,
    in_force: InForce,
    /// By the seq of the freeze.
    frozen: BTreeMap<u64, Cover>,
    /// Disabled callers, each with the seq that said so.
    disabled: HashMap<Digest, u64>,
    closed: HashSet<Id>,
    parents: HashMap<Id, Id>,
    full: bool,
    tally: Tally,
}

/// The policy set in force.
#[derive(Default)]
enum InForce {
    /// The range begins later than the log: the first entry that names one says which.
    #[default]
    Unknown,
    /// None was loaded yet.
    Nothing,
    Set(Digest),
}

/// What a freeze covers; a target in a body that is not here is unknown.
enum Cover {
    All,
    Issuer(Option<String>),
    Action(Option<String>),
}

/// Decisions of the range.
#[derive(Default)]
struct Tally {
    same: u64,
    /// Without a body, its policy files or an engine: how many.
    open: u64,
    /// The first of those, and why.
    first: Option<(u64, String)>,
}

/// The id of a task or request, cut to what tells ids of 16 random bytes apart.
pub(super) type Id = [u8; 16];

impl Replay {
    /// Before the entry `from`.
    pub(super) fn new(from: u64) -> Self {
        Self {
            in_force: if from == 0 {
                InForce::Nothing
            } else {
                InForce::Unknown
            },
            ..Self::default()
        }
    }

    /// Folds one entry; `body` if it is here and is the one its header commits to.
    pub(super) fn follow(
        &mut self,
        header: &Header,
        body: Found<'_>,
        decider: Option<&dyn Decider>,
    ) {
        self.policy(header);
        match &header.what {
            What::Granted(granted) => self.granted(header, granted, body),
            What::Frozen(frozen) => {
                let target = || body?.get("target")?.as_str().map(str::to_owned);
                let cover = match frozen.scope {
                    Scope::All => Cover::All,
                    Scope::Issuer => Cover::Issuer(target()),
                    Scope::Action => Cover::Action(target()),
                };
                self.frozen.insert(header.seq, cover);
            }
            What::Unfrozen(unfrozen) => drop(self.frozen.remove(&unfrozen.of)),
            What::CallerDisabled(_) => self.disable(header),
            What::Admin(admin) if admin.op == AdminOp::CallerEnabled => {
                self.enable(header.seq, admin.of);
            }
            What::TaskClosed(closed) => self.close(&closed.task),
            What::TaskOpened(opened) => self.descends(&opened.task, opened.parent.as_deref()),
            What::Requested(requested) => {
                self.descends(&requested.task, requested.parent.as_deref());
            }
            _ => {}
        }
        if is_decision(&header.what) {
            self.again(header, body, decider);
        }
    }

    /// `pol` is the set in force at its place.
    fn policy(&mut self, header: &Header) {
        let seq = header.seq;
        if let What::Genesis(genesis) = &header.what
            && genesis.prior.is_some()
        {
            self.in_force = InForce::Unknown; // it goes on with the set of the log before
        }
        let Some(pol) = header.pol else {
            return;
        };
        if let What::PolicyLoaded(loaded) = &header.what
            && loaded.ok
        {
            if let (Some(was), InForce::Set(known)) = (loaded.was, &self.in_force)
                && was != *known
            {
                let text = format!("entry {seq} replaces a policy set that was not in force");
                self.check.fail(Some(seq), text);
            }
            self.in_force = InForce::Set(pol);
            return;
        }
        match self.in_force {
            InForce::Unknown => self.in_force = InForce::Set(pol),
            InForce::Set(known) if known == pol => {}
            InForce::Nothing | InForce::Set(_) => {
                let text = format!("entry {seq} names policy set {pol}, which was not in force");
                self.check.fail(Some(seq), text);
            }
        }
    }

    /// No grant follows what forbids it.
    fn granted(&mut self, header: &Header, granted: &Granted, body: Found<'_>) {
        let seq = header.seq;
        if let Some(freeze) = self.freeze_over(body) {
            let text = format!("entry {seq} is a grant under the freeze of entry {freeze}");
            self.check.fail(Some(seq), text);
        }
        let people = [header.subj, header.behalf];
        let disabled = people.iter().flatten().find_map(|it| self.disabled.get(it));
        if let Some(by) = disabled {
            let text = format!("entry {seq} is a grant to a caller that entry {by} disabled");
            self.check.fail(Some(seq), text);
        }
        self.descends(&granted.task, granted.parent.as_deref());
        if self.is_closed(&granted.task) {
            let text = format!("entry {seq} is a grant in a task that was closed before");
            self.check.fail(Some(seq), text);
        }
    }

    fn freeze_over(&self, body: Found<'_>) -> Option<u64> {
        let issuer = || body?.get("caller")?.get("issuer")?.as_str();
        let action = || body?.get("query")?.get("action")?.as_str();
        let covers = |cover: &Cover| match cover {
            Cover::All => true,
            Cover::Issuer(name) => name.is_some() && name.as_deref() == issuer(),
            Cover::Action(name) => name.is_some() && name.as_deref() == action(),
        };
        let mut frozen = self.frozen.iter();
        frozen.find(|(_, cover)| covers(cover)).map(|(seq, _)| *seq)
    }

    fn disable(&mut self, header: &Header) {
        if self.disabled.len() >= MAX_HELD {
            self.full = true;
        } else if let Some(subj) = header.subj {
            self.disabled.insert(subj, header.seq);
        }
    }

    /// Lifts the entry `of`; without it nobody can tell whose, so that nobody's stays.
    fn enable(&mut self, seq: u64, of: Option<u64>) {
        match of {
            Some(of) => self.disabled.retain(|_, by| *by != of),
            None => {
                self.disabled.clear();
                let text = format!("entry {seq} enables a caller and does not say which");
                self.check.doubt(Some(seq), text);
            }
        }
    }

    fn close(&mut self, task: &str) {
        if self.closed.len() < MAX_HELD {
            self.closed.insert(key(task));
        } else {
            self.full = true;
        }
    }

    fn descends(&mut self, task: &str, parent: Option<&str>) {
        let Some(parent) = parent else {
            return;
        };
        if self.parents.len() < MAX_HELD {
            self.parents.insert(key(task), key(parent));
        } else {
            self.full = true;
        }
    }

    /// A task that is closed ends its descendants.
    fn is_closed(&self, task: &str) -> bool {
        if self.closed.is_empty() {
            return false;
        }
        let line = std::iter::successors(Some(key(task)), |it| self.parents.get(it).copied());
        line.take(MAX_LINE).any(|it| self.closed.contains(&it))
    }

    /// Asks policy once more.
    fn again(&mut self, header: &Header, body: Found<'_>, decider: Option<&dyn Decider>) {
        let seq = header.seq;
        let again = match (body, decider) {
            (None, _) => Again::Unknown("its body is not here".to_owned()),
            (_, None) => Again::Unknown("no policy engine is at hand".to_owned()),
            (Some(body), Some(decider)) => decider.again(header, body),
        };
        match again {
            Again::NotAsked => {}
            Again::Same => self.tally.same += 1,
            Again::Differs(text) => {
                let text = format!("entry {seq} is not what policy decides: {text}");
                self.check.fail(Some(seq), text);
            }
            Again::Unknown(text) => {
                self.tally.open += 1;
                self.tally.first.get_or_insert((seq, text));
            }
        }
    }

    pub(super) fn verdict(mut self) -> Verdict {
        let Tally { same, open, first } = self.tally;
        if let Some((seq, why)) = first {
            let of = same + open;
            let text = format!("{open} of {of} decisions were not made again; entry {seq}: {why}");
            self.check.doubt(Some(seq), text);
        }
        if self.full {
            let text = "more callers and tasks than can be told apart".to_owned();
            self.check.doubt(None, text);
        }
        let text = match same {
            0 => "no decision is in the range, and no rule between entries is broken".to_owned(),
            n => format!("{n} decisions come out the same under the policy set in force"),
        };
        self.check.verdict(Name::Replay, text)
    }
}

/// Whether policy was asked: what was refused before it has no question to ask again.
const fn is_decision(what: &What) -> bool {
    match what {
        What::Granted(_) | What::Requested(_) => true,
        What::Denied(denied) => matches!(
            denied.why,
            DenyReason::ApprovalNeeded
                | DenyReason::Delegation
                | DenyReason::Human
                | DenyReason::Key
                | DenyReason::Limit
                | DenyReason::Policy
                | DenyReason::PolicyError
        ),
        _ => false,
    }
}

/// The short form of an id.
pub(super) fn key(id: &str) -> Id {
    let [key, _] = *Digest::of(id.as_bytes()).as_bytes().as_chunks::<16>().0 else {
        return Id::default();
    };
    key
}
