//! Who may decide a request: somebody of a group that is asked, and nobody of the asker's own people (POLICY.md §3.2).

use std::fmt;

use stint_policy::{GroupName, PolicySet, SpiffeId, Timestamp};

use super::groups;
use crate::issue::Broker;
use crate::people::Visitor;
use crate::store::{self, RequestRow, VoteRow};

/// Whether somebody may decide a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eligible {
    /// They may not.
    No(WhyNot),
    /// They may, for these groups.
    Yes(Vec<String>),
}

/// Why somebody may not vote: what stands beside the button that is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// Their passkeys were reset, and until then nobody takes their word.
    Barred(Timestamp),
    /// It is their own run, agent or delegation.
    Own,
    /// They are in none of the groups that are asked.
    Group(Vec<String>),
    /// They mistyped the match code three times.
    Mistyped,
    /// They said that already.
    Voted,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barred(until) => write!(
                f,
                "your passkeys were reset: you can vote again from {until} on"
            ),
            Self::Own => f.write_str("it is your own: you started it, or it acts for you"),
            Self::Group(groups) => match groups.as_slice() {
                [group] => write!(f, "it needs somebody of the group `{group}`"),
                groups => write!(
                    f,
                    "it needs somebody of the groups `{}`",
                    groups.join("`, `")
                ),
            },
            Self::Mistyped => f.write_str("you typed another match code three times"),
            Self::Voted => f.write_str("you said so already"),
        }
    }
}

impl Eligible {
    /// Whether a vote of `visitor` on `row` would count, by the policies of `policy`.
    pub(super) fn of(policy: &PolicySet, row: &RequestRow, visitor: &Visitor) -> Eligible {
        if row.is_own(&visitor.id) {
            return Eligible::No(WhyNot::Own);
        }
        if let Some(until) = visitor.barred {
            return Eligible::No(WhyNot::Barred(until));
        }
        let mut asked: Vec<String> = row.needs().into_iter().map(|it| it.approvers).collect();
        asked.sort();
        asked.dedup();
        let login = groups(&visitor.groups);
        let sits = |group: &&String| {
            let group = GroupName::new(group.as_str());
            policy.sits_for(&visitor.id, &login, &group)
        };
        let mine: Vec<String> = asked.iter().filter(sits).cloned().collect();
        match mine.is_empty() {
            true => Eligible::No(WhyNot::Group(asked)),
            false => Eligible::Yes(mine),
        }
    }
}

impl Broker {
    /// The votes on a request: a yes of somebody who was disabled since counts no more, a no is a no.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn votes_that_count(
        &self,
        request: &str,
    ) -> Result<Vec<VoteRow>, store::Error> {
        let mut votes = self.store.votes(request).await?;
        votes.retain(|vote| !vote.yes || !self.ledger.disables(&vote.person));
        Ok(votes)
    }

    /// Whether `visitor` may decide `row`, and if not, why not.
    #[must_use]
    pub fn eligible(&self, row: &RequestRow, visitor: &Visitor) -> Eligible {
        Eligible::of(&self.policies.in_force(), row, visitor)
    }

    /// Whether `visitor` has to do with `row`: who may decide it, whose it is, whose groups own its caller, and who reads
    /// everything. To all others it is not there.
    #[must_use]
    pub fn concerns(&self, row: &RequestRow, visitor: &Visitor) -> bool {
        let policy = self.policies.in_force();
        let owner = || policy.owner_of(&SpiffeId::parse(&row.caller).ok()?);
        visitor.reads_all()
            || row.is_own(&visitor.id)
            || owner().is_some_and(|owner| visitor.groups.contains(&owner))
            || matches!(Eligible::of(&policy, row, visitor), Eligible::Yes(_))
    }
}
