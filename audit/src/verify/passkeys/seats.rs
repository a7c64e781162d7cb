//! Seats that a request asks for, and whether people fill them: one person fills one seat, across all groups.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Digest;

/// Most seats of one ask, as in the policy engine.
pub(super) const MOST_SEATS: usize = 64;

/// The seats of one request.
pub(super) struct Seats {
    /// How many for each group, which is there as the hash of its name.
    groups: Vec<(Digest, usize)>,
}

/// A person who said yes.
#[derive(Clone, Copy)]
pub(super) struct Voter {
    /// One bit for each group of [`Seats`] that the vote says the person sits for.
    groups: u64,
    /// How long an approval may last on it, seconds.
    lasts: u64,
}

impl From<(u64, u64)> for Voter {
    fn from((groups, lasts): (u64, u64)) -> Self {
        Self { groups, lasts }
    }
}

impl Seats {
    /// Reads `needs`; where two name one group, the larger number fills both. `None` if it asks for nobody, or for
    /// more than [`MOST_SEATS`].
    pub(super) fn read(needs: &Value) -> Option<Self> {
        let mut groups: BTreeMap<Digest, usize> = BTreeMap::new();
        for need in needs.as_array()? {
            let group = Digest::of(need.get("approvers")?.as_str()?.as_bytes());
            let votes = usize::try_from(need.get("quorum")?.as_u64()?).ok()?;
            if !(1..=MOST_SEATS).contains(&votes) {
                return None;
            }
            let most = groups.entry(group).or_default();
            *most = votes.max(*most);
        }
        let seats = Self {
            groups: groups.into_iter().collect(),
        };
        (1..=MOST_SEATS).contains(&seats.count()).then_some(seats)
    }

    /// How many people it takes.
    pub(super) fn count(&self) -> usize {
        let counts = self.groups.iter().map(|(_, count)| count);
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The bits of the groups that `names` has.
    pub(super) fn bits<'n>(&self, names: impl Iterator<Item = &'n str>) -> u64 {
        names.fold(0, |bits, name| {
            let name = Digest::of(name.as_bytes());
            let at = self.groups.iter().position(|(group, _)| *group == name);
            bits | at.map_or(0, |at| 1 << at)
        })
    }

    /// The longest an approval can last on so many of these people as there are seats, seconds: it lasts as long as
    /// the shortest of those who sit.
    pub(super) fn longest(&self, voters: &[Voter]) -> u64 {
        let mut lasts: Vec<u64> = voters.iter().map(|voter| voter.lasts).collect();
        lasts.sort_unstable_by(|a, b| b.cmp(a));
        let last = self.count().checked_sub(1);
        last.and_then(|at| lasts.get(at)).copied().unwrap_or(0)
    }

    /// Whether each seat has its own person of its group.
    pub(super) fn filled(&self, voters: &[Voter]) -> bool {
        let row = |(group, (_, count)): (usize, &(Digest, usize))| (0..*count).map(move |_| group);
        let row: Vec<usize> = self.groups.iter().enumerate().flat_map(row).collect();
        let mut sits = vec![None; row.len()];
        for person in 0..voters.len() {
            let mut tried = vec![false; row.len()];
            place((&row, voters), person, &mut sits, &mut tried);
        }
        sits.iter().all(Option::is_some)
    }
}

/// An augmenting path: `person` takes a free seat, or one whose holder can move on. Each seat is tried once.
fn place(
    (row, voters): (&[usize], &[Voter]),
    person: usize,
    sits: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    let groups = voters.get(person).map_or(0, |voter| voter.groups);
    for (at, group) in row.iter().enumerate() {
        let Some(tried_here) = tried.get_mut(at) else {
            continue;
        };
        if groups & (1 << group) == 0 || std::mem::replace(tried_here, true) {
            continue;
        }
        let holder = sits.get(at).copied().flatten();
        if holder.is_none_or(|holder| place((row, voters), holder, sits, tried)) {
            if let Some(seat) = sits.get_mut(at) {
                *seat = Some(person);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Seats, Voter};

    fn seats() -> Seats {
        let needs = json!([
            {"policy": "a", "approvers": "sre", "quorum": 2},
            {"policy": "b", "approvers": "security", "quorum": 1},
            {"policy": "c", "approvers": "sre", "quorum": 1},
        ]);
        Seats::read(&needs).unwrap()
    }

    fn voters(groups: &[&[&str]]) -> Vec<Voter> {
        let seats = seats();
        let voter = |(names, lasts): (&&[&str], u64)| {
            Voter::from((seats.bits(names.iter().copied()), lasts))
        };
        groups.iter().zip(100..).map(voter).collect()
    }

    #[test]
    fn one_person_fills_one_seat() {
        let seats = seats();
        assert_eq!(seats.count(), 3);
        let (both, sre, security) = (
            ["sre", "security"].as_slice(),
            ["sre"].as_slice(),
            ["security"].as_slice(),
        );
        for (people, filled) in [
            ([both, both, both].as_slice(), true),
            (&[both, sre, sre], true),
            (&[both, sre, security], true),
            (&[sre, sre, sre], false),
            (&[both, security, security], false),
            (&[both, both], false),
            (&[security, sre, &["other"], sre], true),
            (&[], false),
        ] {
            assert_eq!(seats.filled(&voters(people)), filled, "{people:?}");
        }
    }

    #[test]
    fn an_approval_lasts_as_long_as_the_shortest_who_sits() {
        let seats = seats();
        assert_eq!(seats.longest(&voters(&[&[], &[], &[]])), 100);
        assert_eq!(seats.longest(&voters(&[&[], &[], &[], &[]])), 101);
        assert_eq!(seats.longest(&voters(&[&[]])), 0);
    }

    #[test]
    fn needs_are_of_somebody() {
        for bad in [
            json!([]),
            json!({}),
            json!([{"approvers": "a", "quorum": 0}]),
            json!([{"approvers": "a", "quorum": 65}]),
            json!([{"approvers": "a", "quorum": 40}, {"approvers": "b", "quorum": 40}]),
            json!([{"approvers": 1, "quorum": 1}]),
            json!([{"quorum": 1}]),
        ] {
            assert!(Seats::read(&bad).is_none(), "{bad}");
        }
    }
}
