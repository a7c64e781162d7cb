//! What Stint finds in a policy set beyond Cedar's own checks (POLICY.md §6): errors stop the load, warnings are said.
//! Findings are about what is written; none of them decides.
//!
//! Of POLICY.md's list three are not here: P09 and P56 need the configured issuers, which a set does not know (`claims`
//! has them, for whoever knows), and P57 is not written yet. P58 is about files: `load` says it.

pub(crate) mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::annotation::{group, is_invisible, nearest};
use crate::check::TestReport;
use crate::engine::schema::Declared;
use crate::engine::{Engine, Store};
use crate::load::Text;
use crate::rule::{APPROVALS, Approvers, Effect, Expr, GROUP, Gate, Place, Rule, Scope};
use crate::uid::Uid;
use reading::{behind_has, each, names, pins_somebody, reads_no_phase, ttl_bounded_safely, words};

/// One thing that is wrong, or could be better, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    place: Place,
    rule: &'static str,
    text: String,
}

impl Finding {
    pub(crate) fn error(rule: &'static str, place: Place, text: impl Into<String>) -> Finding {
        Finding {
            place: Place {
                file: visible(&place.file),
                ..place
            },
            rule,
            text: visible(&text.into()),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn moved(self, place: Option<Place>) -> Finding {
        Finding {
            place: place.unwrap_or(self.place),
            ..self
        }
    }

    /// Its rule: `P08`.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// Whether it stops the load: P01 to P49 do, P50 and up are warnings.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.rule < "P50"
    }

    /// The file, from the set's directory; empty if it is about all of them.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.place.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line
    }

    /// The column in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.place.column
    }

    /// What is wrong.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What a file's name or a policy's text would do to a terminal is shown instead.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_invisible(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// `error     P08 web.cedar:4:1 …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error() { "error" } else { "warning" };
        let Place { file, line, column } = &self.place;
        write!(
            f,
            "{severity:<9} {} {file}:{line}:{column} {}",
            self.rule, self.text
        )
    }
}

/// P02, P14, P55: the operator's types and actions.
pub(crate) fn schema(
    declared: &Declared,
    Text { path, text }: Text<'_>,
    findings: &mut Vec<Finding>,
) {
    let at = |word: &str| Place::at(path, text, text.find(word).unwrap_or_default());
    let theirs = declared.types.iter().filter(|(_, declared)| !declared.ours);
    for (name, declared) in theirs {
        let place = at(&format!(
            "entity {}",
            name.rsplit("::").next().unwrap_or(name)
        ));
        annotations(&declared.annotations, &place, findings);
        if declared.open && declared.attributes > 0 {
            let said = format!("`{name}` is @open, so any id will do; then it has no attributes");
            findings.push(Finding::error("P02", place, said));
        }
    }
    for (name, action) in declared.actions.iter().filter(|(_, action)| !action.ours) {
        let place = at(&format!("action {}", name.id()));
        let mut say = |rule, said: String| findings.push(Finding::error(rule, place.clone(), said));
        for wanted in ["label", "doc"] {
            if action.annotations.get(wanted).is_none_or(String::is_empty) {
                say("P14", format!("action `{}` has no `@{wanted}`", name.id()));
            }
        }
        for principal in &action.principals {
            if !CALLERS.contains(&principal.as_str()) {
                say(
                    "P14",
                    format!(
                        "action `{}` is for `{principal}`, which is no caller",
                        name.id()
                    ),
                );
            }
        }
        match &action.context {
            None => say(
                "P14",
                format!(
                    "the context of action `{}` is `Stint::Ask`, or its members and `input`",
                    name.id()
                ),
            ),
            Some(members) => {
                let missing = declared.ask.difference(members).next();
                let strange = members
                    .difference(&declared.ask)
                    .find(|member| *member != "input");
                missing.into_iter().for_each(|member| {
                    say(
                        "P14",
                        format!(
                            "the context of action `{}` lacks `{member}` of `Stint::Ask`",
                            name.id()
                        ),
                    );
                });
                strange.into_iter().for_each(|member| {
                    say(
                        "P14",
                        format!(
                            "the context of action `{}` has `{member}`, which nobody fills",
                            name.id()
                        ),
                    );
                });
            }
        }
        let is_for = |kind: &str| action.principals.iter().any(|principal| principal == kind);
        if is_for("Stint::Agent") && !is_for("Stint::User") {
            say(
                "P55",
                format!(
                    "action `{}` is for agents, but no person could do it",
                    name.id()
                ),
            );
        }
        annotations(&action.annotations, &place, findings);
    }
}

fn annotations(written: &BTreeMap<String, String>, place: &Place, findings: &mut Vec<Finding>) {
    for key in written
        .keys()
        .filter(|key| !SCHEMA_ANNOTATIONS.contains(&key.as_str()))
    {
        let near = nearest(key, SCHEMA_ANNOTATIONS.into_iter())
            .map(|near| format!("; did you mean `@{near}`?"));
        let said = format!(
            "there is no annotation `@{key}` in a schema{}",
            near.unwrap_or_default()
        );
        findings.push(Finding::error("P02", place.clone(), said));
    }
}

/// P03: parents of the operator's types that nobody lists.
pub(crate) fn entities(
    store: &Store,
    declared: &Declared,
    path: &str,
    findings: &mut Vec<Finding>,
) {
    let theirs = |uid: &Uid| {
        declared
            .types
            .get(uid.type_name())
            .is_some_and(|declared| !declared.ours && !declared.open)
    };
    for (uid, listed) in store.iter() {
        for parent in listed
            .ancestors
            .iter()
            .filter(|parent| theirs(parent) && store.get(parent).is_none())
        {
            let said = format!("{uid} lies in {parent}, which is not listed");
            findings.push(Finding::error("P03", Place::start(path), said));
        }
    }
}

/// P01, P04 to P08, P10 to P12, P16, P50, P51, P53, P54, P59: the policies, each by itself and side by side.
pub(crate) fn rules(
    rules: &[&Rule],
    declared: &Declared,
    store: &Store,
    findings: &mut Vec<Finding>,
) {
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    let labels: BTreeSet<&str> = store
        .iter()
        .flat_map(|(_, listed)| listed.labels.iter().map(String::as_str))
        .collect();
    for rule in rules {
        let mut say =
            |name, said: String| findings.push(Finding::error(name, rule.place.clone(), said));
        if !rule.id.is_empty() && !ids.insert(&rule.id) {
            say("P01", format!("another policy is `{}` too", rule.id));
        }
        gate(rule, store, &mut say);
        size(rule, &mut say);
        words(rule, declared, &labels, &mut say);
        names(rule, &mut say);
        if !ttl_bounded_safely(rule) {
            let said = "`context.credential.ttl_s`: a shorter life must never be refused where a longer one is not";
            say("P11", said.to_owned());
        }
        if rule.effect == Effect::Permit && !pins_somebody(rule) {
            say("P07", "this permit pins nobody: name a principal, or compare an id of the caller with `==`".to_owned());
        }
        if rule.annotations.owner.is_none() {
            say("P51", "no `@owner`: nobody is named to ask".to_owned());
        }
        if rule.effect == Effect::Permit && rule.annotations.max_ttl.is_none() {
            say(
                "P53",
                "no `@max_ttl`: only the profile bounds the life".to_owned(),
            );
        }
        if rule.effect == Effect::Permit && reads_no_phase(rule) {
            say(
                "P59",
                "Terraform plans run whatever a branch says: read `context.origin.phase`"
                    .to_owned(),
            );
        }
        if rule.effect == Effect::Forbid && behind_has(rule) {
            say(
                "P50",
                "a forbid `when` behind `has` lets the unknown through: write `unless`".to_owned(),
            );
        }
    }
    if rules.len() > MOST_POLICIES {
        findings.push(Finding::error(
            "P16",
            Place::start(""),
            "more than 5000 policies",
        ));
    }
    strangers(rules, findings);
}

/// P04, P05, P06.
fn gate(rule: &Rule, store: &Store, say: &mut impl FnMut(&'static str, String)) {
    let mut votes_read = rule
        .reads()
        .filter(|path| path.iter().zip(APPROVALS).all(|(a, b)| a == b))
        .count();
    let annotated = rule.annotations.approvers.is_some() || rule.annotations.quorum.is_some();
    let Some(gate) = &rule.gate else {
        if votes_read > 0 || annotated {
            say(
                "P04",
                format!("votes are read in one place only, the last clause of a forbid: {GATE}"),
            );
        }
        return;
    };
    votes_read -= 1;
    if votes_read > 0 {
        say(
            "P04",
            format!("`context.approvals` is read twice; once is enough: {GATE}"),
        );
    }
    let by = match (&gate.by, rule.annotations.approvers.as_deref()) {
        (Approvers::Group(name), Some(said)) => group(said) == Some(name),
        (Approvers::Of(_), Some(said)) => gate.by.to_string() == said,
        (_, None) => false,
    };
    if !by {
        say(
            "P05",
            format!("`@approvers` says whom the clause asks: {}", gate.by),
        );
    }
    if rule.annotations.quorum != Some(gate.votes) {
        say(
            "P05",
            format!("`@quorum` says how many the clause asks: {}", gate.votes),
        );
    }
    reach(gate, store, say);
}

fn reach(gate: &Gate, store: &Store, say: &mut impl FnMut(&'static str, String)) {
    let Approvers::Group(name) = &gate.by else {
        return;
    };
    let listed = Uid::new(GROUP, name).map_or(0, |group| store.members(&group));
    if listed > 0 && listed < usize::from(gate.votes) {
        say(
            "P06",
            format!(
                "{} has {listed} listed people, of whom {} are asked",
                gate.by, gate.votes
            ),
        );
    }
}

/// P16: depth and long literals.
fn size(rule: &Rule, say: &mut impl FnMut(&'static str, String)) {
    if rule
        .clauses
        .iter()
        .any(|clause| depth(&clause.body) > DEEPEST)
    {
        say("P16", "nested deeper than 32".to_owned());
    }
    let mut longest = 0;
    each(rule, &mut |part| {
        longest = longest.max(match part {
            Expr::Set(members) => members.len(),
            Expr::Record(members) => members.len(),
            _ => 0,
        });
    });
    if longest > LONGEST_LITERAL {
        say("P16", "a literal with more than 256 elements".to_owned());
    }
}

fn depth(expr: &Expr) -> usize {
    let deepest =
        |parts: &mut dyn Iterator<Item = &Expr>| parts.map(depth).max().unwrap_or_default();
    match expr {
        // A chain of `&&` or `||` is long, not deep.
        Expr::And(left, right) | Expr::Or(left, right) => depth(left).max(depth(right) + 1),
        Expr::Call(_, left, right) => 1 + depth(left).max(depth(right)),
        Expr::Get(inner, _) | Expr::Has(inner, _) | Expr::Like(inner) | Expr::Not(inner) => {
            1 + depth(inner)
        }
        Expr::Other(parts) | Expr::Set(parts) => 1 + deepest(&mut parts.iter()),
        Expr::Record(members) => 1 + deepest(&mut members.values()),
        Expr::Bool(_) | Expr::Entity(_) | Expr::Long(_) | Expr::String(_) | Expr::Var(_) => 1,
    }
}

/// A permit that limits its credential, with what it compares with a literal.
struct Limited<'r> {
    rule: &'r Rule,
    texts: Vec<(Vec<&'r str>, &'r str)>,
}

impl<'r> Limited<'r> {
    fn new(rule: &'r Rule) -> Option<Limited<'r>> {
        let limits = rule.annotations.credential.is_some() || rule.annotations.bind.is_some();
        let clauses = rule.clauses.iter().filter(|clause| clause.when);
        (limits && rule.effect == Effect::Permit).then(|| Limited {
            rule,
            texts: clauses
                .flat_map(|clause| clause.body.conjuncts())
                .filter_map(Expr::equals_string)
                .collect(),
        })
    }

    fn text(&self, path: &[&str]) -> Option<&'r str> {
        let mut texts = self.texts.iter();
        texts
            .find(|(known, _)| known == path)
            .map(|(_, text)| *text)
    }
}

/// P54: permits that can meet and leave nothing in common. Each is put aside by its rarest text, so that it is held
/// against few others.
fn strangers(rules: &[&Rule], findings: &mut Vec<Finding>) {
    let permits: Vec<Limited<'_>> = rules.iter().filter_map(|rule| Limited::new(rule)).collect();
    let mut uses: HashMap<_, usize> = HashMap::new();
    for text in permits.iter().flat_map(|permit| &permit.texts) {
        *uses.entry(text).or_default() += 1;
    }
    let mut unpinned = Vec::new();
    let mut pinned: HashMap<&[&str], HashMap<&str, Vec<usize>>> = HashMap::new();
    for (number, one) in permits.iter().enumerate() {
        match one.texts.iter().min_by_key(|text| uses.get(text)) {
            Some((path, text)) => {
                let texts = pinned.entry(path).or_default();
                texts.entry(text).or_default().push(number);
            }
            None => unpinned.push(number),
        }
    }
    for (number, one) in permits.iter().enumerate() {
        let mut may_meet = vec![&unpinned];
        for (path, texts) in &pinned {
            match one.text(path) {
                Some(text) => may_meet.extend(texts.get(text)),
                None => may_meet.extend(texts.values()),
            }
        }
        let first = |others: &Vec<usize>| {
            let later = others.iter().filter(|other| **other > number);
            let mut later = later.filter_map(|other| Some((*other, permits.get(*other)?)));
            later.find(|(_, other)| nothing_common(one.rule, other.rule) && can_meet(one, other))
        };
        let other = may_meet.into_iter().filter_map(first);
        findings.extend(other.min_by_key(|(number, _)| *number).map(|(_, other)| {
            let said = format!(
                "where `{}` permits as well, no kind of credential or binding is left",
                other.rule.id
            );
            Finding::error("P54", one.rule.place.clone(), said)
        }));
    }
}

fn nothing_common(one: &Rule, other: &Rule) -> bool {
    let apart = |a: Option<bool>| a.unwrap_or_default();
    let (a, b) = (&one.annotations, &other.annotations);
    apart(
        a.credential
            .as_ref()
            .zip(b.credential.as_ref())
            .map(|(a, b)| a.is_disjoint(b)),
    ) || apart(
        a.bind
            .as_ref()
            .zip(b.bind.as_ref())
            .map(|(a, b)| a.is_disjoint(b)),
    )
}

fn can_meet(one: &Limited<'_>, other: &Limited<'_>) -> bool {
    let actions = match (&one.rule.actions, &other.rule.actions) {
        (Some(one), Some(other)) => one.iter().any(|action| other.contains(action)),
        _ => true,
    };
    let scopes = |one: &Scope, other: &Scope| match (one, other) {
        (Scope::Eq(one), Scope::Eq(other)) => one == other,
        (Scope::Is(one) | Scope::IsIn(one, _), Scope::Is(other) | Scope::IsIn(other, _)) => {
            one == other
        }
        (Scope::Eq(uid), Scope::Is(name)) | (Scope::Is(name), Scope::Eq(uid)) => {
            uid.type_name() == name
        }
        _ => true,
    };
    let contradict = |(path, text): &(Vec<&str>, &str)| {
        let mut texts = other.texts.iter();
        texts.any(|(other, said)| other == path && said != text)
    };
    actions
        && scopes(&one.rule.principal, &other.rule.principal)
        && scopes(&one.rule.resource, &other.rule.resource)
        && !one.texts.iter().any(contradict)
}

/// P16: too many policies that one request must try.
pub(crate) fn index(engine: &Engine, findings: &mut Vec<Finding>) {
    let crowded = engine
        .actions()
        .flat_map(|action| action.cabinet.drawers())
        .map(|drawer| drawer.fullest());
    if let Some(places) = crowded
        .into_iter()
        .find(|places| places.len() > MOST_IN_A_BUCKET)
        && let Some(rule) = places.first().and_then(|place| engine.rules.get(*place))
    {
        let said = format!(
            "{} policies are tried for the same request: let them pin an id, a principal or a resource",
            places.len()
        );
        findings.push(Finding::error("P16", rule.place.clone(), said));
    }
}

/// P52: policies that no case shows at work.
pub(crate) fn untested(engine: &Engine, report: &TestReport) -> Vec<Finding> {
    let untested = engine.rules.iter().filter(|rule| !report.covers(&rule.id));
    untested
        .map(|rule| {
            Finding::error(
                "P52",
                rule.place.clone(),
                "no test in which this policy decides",
            )
        })
        .collect()
}

const GATE: &str = "`unless { context.approvals.contains({ by: Stint::Group::\"…\", votes: 1 }) }`, 1 to 16 votes, with `@approvers` and `@quorum`";
const CALLERS: [&str; 3] = ["Stint::Agent", "Stint::User", "Stint::Workload"];
const SCHEMA_ANNOTATIONS: [&str; 3] = ["doc", "label", "open"];

/// P16's sizes: what keeps a decision's time theoretical.
pub(crate) const MOST_BYTES: u64 = 4 * 1024 * 1024;
const MOST_POLICIES: usize = 5_000;
const MOST_IN_A_BUCKET: usize = 64;
const DEEPEST: usize = 32;
const LONGEST_LITERAL: usize = 256;
