//! An ask that was opened once, to be decided and recorded from the same reading of it.

use std::collections::HashSet;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value as Json, json};

use crate::context::{Term, context};
use crate::hearing::{Dismissed, Hearing};
use crate::query::{Principal, Query};
use crate::set::PolicySet;

/// One ask before one policy set: its shape checked, its context built. [`PolicySet::hear`] opens it; it is
/// decided by [`Heard::decide`](Self::decide) and kept by [`Heard::record`](Self::record), which read the same.
#[derive(Debug)]
pub struct Heard<'s, 'q> {
    pub(crate) set: &'s PolicySet,
    pub(crate) query: Query<'q>,
    pub(crate) opened: Result<Hearing<'s, 'q>, Dismissed>,
}

impl PolicySet {
    /// Opens an ask. What does not fit is not an error here: it is decided to be a Deny.
    #[must_use]
    pub fn hear<'q>(&self, query: &Query<'q>) -> Heard<'_, 'q> {
        Heard {
            set: self,
            query: *query,
            opened: Hearing::open(self.engine(), query),
        }
    }

    /// As [`Heard::record`], of an ask that is opened for this alone.
    #[must_use]
    pub fn record(&self, query: &Query<'_>) -> Json {
        self.hear(query).record()
    }
}

impl Heard<'_, '_> {
    /// The exact input of a decision, for the ledger: principals, action, resources, the slice of entities, context and
    /// votes, in Cedar's JSON. No floats, no nulls: an input that has some is there as text. An ask that is refused
    /// unheard has no entities.
    #[must_use]
    pub fn record(&self) -> Json {
        let query = &self.query;
        let heard = self.opened.as_ref().ok();
        let (mut seen, mut entities) = (HashSet::new(), Vec::new());
        for part in heard.iter().flat_map(|heard| &heard.parts) {
            let new = part.case.entities_json();
            entities.extend(new.filter(|json| seen.insert(json.get("uid"))));
        }
        let context = match &heard {
            Some(heard) => heard.context.json(),
            None => unheard(query),
        };
        let mut record = json!({
            "principal": named(query.caller),
            "action": query.action.to_string(),
            "resources": query.resources.iter().map(ToString::to_string).collect::<Json>(),
            "context": context,
            "entities": entities,
            "ttl": query.want.ttl.as_u32(),
            "own": query.own.iter().map(|person| person.as_str()).collect::<Json>(),
            "ceilings": query.ceilings.iter().map(|ceiling| {
                json!({"name": ceiling.name, "not_after": ceiling.not_after.as_millis()})
            }).collect::<Json>(),
            "votes": query.votes.iter().map(|vote| json!({
                "person": vote.person.as_str(),
                "user": vote.user.as_str(),
                "groups": vote.groups.iter().map(|group| group.as_str()).collect::<Json>(),
                "yes": vote.yes,
                "at": vote.at.as_millis(),
                "lasts": vote.lasts.as_u32(),
                "spent": vote.spent,
                "digest": BASE64URL_NOPAD.encode(&vote.digest.0),
            })).collect::<Json>(),
        });
        if let (Some(subject), Some(members)) = (query.subject, record.as_object_mut()) {
            members.insert("subject".to_owned(), named(subject));
            members.insert(
                "actors".to_owned(),
                query.actors.iter().map(named).collect(),
            );
        }
        record
    }
}

/// The context of an ask that was not opened.
fn unheard(query: &Query<'_>) -> Json {
    let mut json = Term::Record(context(query)).json();
    if let (Some(input), Some(members)) = (query.input, json.as_object_mut()) {
        let read = crate::context::input(input.members()).map(|input| input.json());
        let text = || Json::from(Json::Object(input.members().clone()).to_string());
        members.insert("input".to_owned(), read.unwrap_or_else(text));
    }
    json
}

fn named(principal: &Principal) -> Json {
    json!({"type": principal.kind.type_name(), "id": principal.id.as_str()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Ask, sample_set};
    use crate::query::Input;

    #[test]
    fn an_ask_that_is_refused_unheard_is_recorded_with_its_input() {
        let set = sample_set();
        let check = |value: Json, expected: Json| {
            let mut ask = Ask::new("deploy", "Environment::prod/web");
            let members = [("size".to_owned(), value)].into_iter().collect();
            ask.input = Some(Input::new(members));
            let record = set.record(&ask.query());
            assert_eq!(record["context"]["input"], expected);
            assert_eq!(record["entities"], json!([]));
        };
        check(json!(1), json!({"size": 1}));
        check(json!(1.5), json!(r#"{"size":1.5}"#));
    }
}
