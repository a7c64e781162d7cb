//! What an ask on hold comes to with the votes that were cast, and who may cast one. The question is the one that was
//! recorded when it was parked; the policies are those in force now.

use std::collections::BTreeSet;

use crate::decision::Verdict;
use crate::query::{GroupName, Kind, Vote};
use crate::replay::Recorded;
use crate::rule::GROUP;
use crate::set::PolicySet;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;
use crate::uid::{ActionId, Resource, Uid};

impl PolicySet {
    /// What a parked ask comes to at `now` with these votes, and no others. Nobody is granted anything by it: whoever
    /// asked walks again, with fresh evidence.
    #[must_use]
    pub fn judge_voted(&self, parked: &Recorded, votes: &[Vote], now: Timestamp) -> Verdict {
        let caller = parked.known_caller();
        let subject = parked.known_subject();
        let query = parked.query(&caller, subject.as_ref());
        let query = crate::query::Query {
            now,
            votes,
            ..query
        };
        self.hear(&query).judge()
    }

    /// Whether a person sits for `group`: by `entities.json`, or by the groups of a login.
    #[must_use]
    pub fn sits_for(
        &self,
        user: &SpiffeId,
        login: &BTreeSet<GroupName>,
        group: &GroupName,
    ) -> bool {
        let uid = |name: &GroupName| Uid::new(GROUP, name.as_str());
        let login: Vec<Uid> = login.iter().filter_map(uid).collect();
        let user = Uid::new(Kind::User.type_name(), user.as_str());
        let (Some(user), Some(group)) = (user, uid(group)) else {
            return false;
        };
        self.engine().store.is_member(&user, &login, &group)
    }

    /// What people call an action, if its schema says: `deploy to`.
    #[must_use]
    pub fn label_of_action(&self, action: &ActionId) -> Option<&str> {
        let uid = Uid::new("Action", action.name());
        let declared = &self.engine().declared.actions;
        let full = self.engine().resolve_action(action);
        let named = declared.iter().find(|(known, _)| {
            full.as_ref()
                .is_some_and(|full| full.to_string() == known.to_string())
                || uid.as_ref() == Some(known)
        });
        let (_, action) = named?;
        action.annotations.get("label").map(String::as_str)
    }

    /// What people call a resource's type: `environment`.
    #[must_use]
    pub fn label_of_type(&self, resource: &Resource) -> Option<&str> {
        let declared = self.engine().declared.types.get(resource.type_name())?;
        declared.annotations.get("label").map(String::as_str)
    }

    /// Why a policy exists, in its owner's words.
    #[must_use]
    pub fn reason_of(&self, policy: &str) -> Option<&str> {
        let rules = &self.engine().rules;
        let rule = rules.iter().find(|rule| rule.id == policy)?;
        rule.annotations.reason.as_deref()
    }
}
