//! A recorded ask as a test file of its own (POLICY.md §7): what was decided once is then held to, or deliberately changed.

use std::collections::BTreeMap;

use toml::{Table, Value as Toml};

use super::Recorded;
use crate::query::{Attributes, CredentialKind, Kind, Principal, Value};

impl Recorded {
    /// The ask as `tests/*.toml` has it: one case called `name`, which expects `outcome`, by these policies. Nothing for
    /// what no case can say: a chain of actors, or an input that TOML has no word for.
    #[must_use]
    pub fn as_case(&self, name: &str, outcome: &str, by: &[String]) -> Option<String> {
        if !self.actors.is_empty() || self.subject_bound {
            return None;
        }
        let caller = self.known_caller();
        let mut case = Table::new();
        put(&mut case, "caller", "caller");
        let mut callers = Table::from_iter([("caller".to_owned(), table(&caller))]);
        if let Some(subject) = self.known_subject() {
            put(&mut case, "for", "subject");
            callers.insert("subject".to_owned(), table(&subject));
            let consent = self.consent.map(|consent| consent.as_str())?;
            put(&mut case, "consent", consent);
        }
        let now: toml::value::Datetime = self.now.rfc3339().parse().ok()?;
        case.insert("now".to_owned(), Toml::Datetime(now));
        case.insert("ask".to_owned(), Toml::Table(self.ask()?));
        case.insert("task".to_owned(), Toml::Table(self.task_table()));
        case.insert("history".to_owned(), Toml::Table(self.history_table()));
        let people = self.votes_into(&mut case);
        let mut expect = Table::new();
        put(&mut expect, "outcome", outcome);
        if !by.is_empty() {
            expect.insert("by".to_owned(), list(by));
        }
        case.insert("expect".to_owned(), Toml::Table(expect));
        let mut file = Table::new();
        if !people.is_empty() {
            file.insert("person".to_owned(), Toml::Table(people));
        }
        file.insert("caller".to_owned(), Toml::Table(callers));
        let case = Table::from_iter([(name.to_owned(), Toml::Table(case))]);
        file.insert("case".to_owned(), Toml::Table(case));
        toml::to_string(&file).ok()
    }

    fn ask(&self) -> Option<Table> {
        let want = &self.want;
        let mut ask = Table::new();
        put(&mut ask, "action", &self.action.to_string());
        let resources: Vec<String> = self.resources.iter().map(ToString::to_string).collect();
        ask.insert("resources".to_owned(), list(&resources));
        put(&mut ask, "ttl", &format!("{}s", want.ttl.as_u32()));
        if want.kind != CredentialKind::None {
            put(&mut ask, "credential", want.kind.as_str());
        }
        put(&mut ask, "bind", want.bind.as_str());
        put(&mut ask, "profile", &want.profile);
        if let Some(audience) = &want.audience {
            put(&mut ask, "audience", audience);
        }
        if let Some(input) = &self.input {
            ask.insert("input".to_owned(), Toml::try_from(input.members()).ok()?);
        }
        Some(ask)
    }

    fn task_table(&self) -> Table {
        let mut task = Table::new();
        task.insert("depth".to_owned(), Toml::Integer(self.task.depth.into()));
        put(&mut task, "source", self.task.source.as_str());
        if let Some(deadline) = self.task.deadline {
            let left = deadline.seconds_since(self.now);
            task.insert("left_s".to_owned(), Toml::Integer(left));
        }
        // An account that is linked to nobody is no person a case could name.
        if let Some(person) = self
            .task
            .initiator
            .as_ref()
            .filter(|it| it.starts_with("spiffe://"))
        {
            put(&mut task, "initiator", person);
        }
        task
    }

    fn history_table(&self) -> Table {
        let history = &self.history;
        let mut made = Table::new();
        let counts = [("denials", history.denials), ("grants", history.grants)];
        for (name, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            made.insert(name.to_owned(), Toml::Integer(count));
        }
        let words = [
            ("actions", &history.actions),
            ("labels", &history.labels),
            ("live", &history.live),
        ];
        for (name, words) in words {
            if !words.is_empty() {
                made.insert(name.to_owned(), list(words));
            }
        }
        made
    }

    /// Puts the votes on this very ask into the case; gives the people who cast them, with their groups.
    fn votes_into(&self, case: &mut Table) -> Table {
        let mut people = BTreeMap::new();
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        let counted = self.votes.iter();
        for vote in counted.filter(|vote| vote.digest == self.digest && !vote.spent) {
            let by = vote.user.as_str().to_owned();
            let groups: Vec<&str> = vote.groups.iter().map(|group| group.as_str()).collect();
            people.insert(by.clone(), list(groups));
            match vote.yes {
                true => {
                    let mut cast = Table::new();
                    put(&mut cast, "ttl", &format!("{}s", vote.lasts.as_u32()));
                    put(&mut cast, "by", &by);
                    yes.push(Toml::Table(cast));
                }
                false => no.push(Toml::String(by)),
            }
        }
        for (name, votes) in [("votes", yes), ("no", no)] {
            if !votes.is_empty() {
                case.insert(name.to_owned(), Toml::Array(votes));
            }
        }
        people.into_iter().collect()
    }
}

/// A principal as a test file has it.
fn table(principal: &Principal) -> Toml {
    let mut made = Table::new();
    put(&mut made, "id", principal.id.as_str());
    put(&mut made, "issuer", &principal.issuer);
    put(&mut made, "preset", &principal.preset);
    put(
        &mut made,
        "kind",
        match principal.kind {
            Kind::Agent => "agent",
            Kind::User => "user",
            Kind::Workload => "workload",
        },
    );
    if let Some(owner) = &principal.owner {
        put(&mut made, "owner", owner);
    }
    for (name, words) in [
        ("attested", &principal.attested),
        ("groups", &principal.groups),
    ] {
        if !words.is_empty() {
            made.insert(name.to_owned(), list(words));
        }
    }
    let claims = &principal.claims;
    let platform = claims.platform.iter().map(|(name, it)| (name.as_str(), it));
    let records = [("origin", &claims.origin), ("extra", &claims.extra)];
    for (name, record) in records.into_iter().chain(platform) {
        if !record.is_empty() {
            made.insert(name.to_owned(), Toml::Table(attributes(record)));
        }
    }
    Toml::Table(made)
}

fn attributes(record: &Attributes) -> Table {
    let attribute = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Bool(value) => Toml::Boolean(*value),
            Value::Long(value) => Toml::Integer(*value),
            Value::String(value) => Toml::String(value.clone()),
            Value::Strings(values) => list(values),
        };
        (name.clone(), value)
    };
    record.iter().map(attribute).collect()
}

fn put(table: &mut Table, name: &str, text: &str) {
    table.insert(name.to_owned(), Toml::String(text.to_owned()));
}

fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Toml {
    let words = words.into_iter();
    Toml::Array(
        words
            .map(|word| Toml::String(word.as_ref().to_owned()))
            .collect(),
    )
}
