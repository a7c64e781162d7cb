//! An entry held against what it does not know by itself: the policies that read its claims, and the calendar. What is
//! found here is said by `stintd check`; at run time it is a denial, or nothing.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use stint_policy::{ExtraType, Finding, PolicySet, Timestamp, Yields};

use crate::authenticate::claims::Need;
use crate::authenticate::entry::fault::Fault;
use crate::authenticate::entry::{IssuerConfig, IssuerEntry};

/// What entries and policies say of each other.
#[derive(Debug, Default)]
pub struct Held {
    /// By entry's name: with these every ask of its callers is denied (`policy_error`).
    pub faults: Vec<(String, Fault)>,
    /// I15: policies that read a claim no entry can produce.
    pub unfilled: Vec<Finding>,
    /// P09: policies that decide by an id which several entries can produce, and do not say whose.
    pub unparted: Vec<Finding>,
}

/// Holds entries and policies against each other. Without any entry nothing is to be said.
#[must_use]
pub fn policies<'e>(
    entries: impl IntoIterator<Item = &'e IssuerEntry>,
    policies: &PolicySet,
) -> Held {
    let mut held = Held::default();
    let (mut yields, mut shared) = (Yields::new(), Yields::new());
    for entry in entries {
        for (record, members) in entry.yields() {
            let known = yields.entry(record.clone()).or_default();
            let again: BTreeSet<_> = members.intersection(known).cloned().collect();
            known.extend(members);
            if !again.is_empty() {
                shared.entry(record).or_default().extend(again);
            }
        }
        let faults = entry.undeclared(policies).into_iter();
        let name = |fault| (entry.name().to_owned(), fault);
        held.faults.extend(faults.map(name));
    }
    if !yields.is_empty() {
        held.unfilled = policies.unfilled(&yields);
        held.unparted = policies.unparted(&shared);
    }
    held
}

impl IssuerEntry {
    /// What its tokens can fill.
    fn yields(&self) -> Yields {
        let mut yields = Yields::new();
        let mut add = |record: &str, name: &str| {
            let members = yields.entry(record.to_owned()).or_default();
            members.insert(name.to_owned());
        };
        self.preset.words().for_each(|word| add("origin", word));
        add("origin", "key_age");
        self.extra
            .iter()
            .for_each(|claim| add("extra", &claim.name));
        if let Some(record) = self.preset.record {
            self.record
                .iter()
                .for_each(|claim| add(record, &claim.name));
        }
        yields
    }

    /// `extra` that the schema has not, or of another type; and what the schema wants of every caller.
    fn undeclared(&self, policies: &PolicySet) -> Vec<Fault> {
        let Some(declared) = policies.extra() else {
            return Vec::new();
        };
        let unfit = self.extra.iter().filter_map(|claim| {
            let wanted = claim.shape.in_policy();
            let text = match declared.get(&claim.name) {
                Some(ExtraType { type_name, .. }) if type_name == wanted => return None,
                Some(ExtraType { type_name, .. }) => {
                    format!("is `{wanted}`, and the policies' schema says `{type_name}`")
                }
                None => "is not declared in the policies' schema".to_owned(),
            };
            let help = format!("type Extra = {{ {}?: {wanted} }};", claim.name);
            Some(Fault::new(format!("extra.{}", claim.name), text).help(help))
        });
        let has = |name: &String| {
            let mut claims = self.extra.iter();
            claims.any(|claim| claim.name == *name && claim.need == Need::Required)
        };
        let missing = declared
            .iter()
            .filter(|(name, declared)| declared.required && !has(name))
            .map(|(name, _)| {
                let text = format!("may lack `{name}`, which `type Extra` wants of every caller");
                Fault::new("extra", text).help(format!("declare it as `{name}?`"))
            });
        unfit.chain(missing).collect()
    }
}

/// I16: a key file that nobody touched for a year. Keys that never change are keys that somebody may have by now.
#[must_use]
pub fn old_keys(config: &IssuerConfig, now: Timestamp) -> Option<Fault> {
    let file = config.jwks_file.as_ref()?;
    let written = std::fs::metadata(file).ok()?.modified().ok()?;
    let millis = written.duration_since(UNIX_EPOCH).ok()?.as_millis();
    let written = Timestamp::from_millis(i64::try_from(millis).ok()?);
    let text = format!("`{file}` was not changed for a year: are its keys ever rotated? (I16)");
    (now.seconds_since(written) > YEAR).then(|| Fault::new("jwks_file", text))
}

/// 365 days, in seconds.
const YEAR: i64 = 365 * 24 * 3600;
