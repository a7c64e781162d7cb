//! Who may decide a request: somebody of a group that is asked, and nobody of the asker's own people (POLICY.md §3.2).

use std::fmt;

use stint_policy::GroupName;

use super::{Booth, groups};

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

impl Booth<'_> {
    /// Whether this person's vote would count.
    pub(super) fn eligible(&self) -> Eligible {
        let me = self.visitor.id.as_str();
        if self.row.own.iter().any(|own| own == me) {
            return Eligible::No(WhyNot::Own);
        }
        let mut asked: Vec<String> = self
            .row
            .needs()
            .into_iter()
            .map(|it| it.approvers)
            .collect();
        asked.sort();
        asked.dedup();
        let login = groups(&self.visitor.groups);
        let sits = |group: &&String| {
            let group = GroupName::new(group.as_str());
            self.policy.sits_for(&self.visitor.id, &login, &group)
        };
        let mine: Vec<String> = asked.iter().filter(sits).cloned().collect();
        match mine.is_empty() {
            true => Eligible::No(WhyNot::Group(asked)),
            false => Eligible::Yes(mine),
        }
    }
}
