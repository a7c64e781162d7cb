//! Who sits where: persons who said yes, seats that gates ask for. One person fills one seat, across all groups; the
//! matching grows vote by vote, in the order the votes were cast.

use std::collections::BTreeMap;

use crate::query::PersonId;
use crate::time::{Seconds, Timestamp};

/// One yes that counts.
#[derive(Clone, Debug)]
pub(crate) struct Ballot {
    pub(crate) person: PersonId,
    /// Places of the groups it can sit for.
    pub(crate) groups: Vec<usize>,
    pub(crate) at: Timestamp,
    pub(crate) lasts: Seconds,
}

/// How far the seats are filled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Persons who sit, sorted.
    pub(crate) persons: Vec<PersonId>,
    /// The end of the approval, once every seat is taken.
    pub(crate) until: Option<Timestamp>,
}

/// Fills `seats[g]` seats of each group `g`. An approval that is over at `now` has spent its votes: later ones begin
/// anew. `cap` is the longest an approval may last.
pub(crate) fn fill(
    seats: &[u8],
    ballots: &[Ballot],
    cap: Option<Seconds>,
    now: Timestamp,
) -> Filled {
    let mut ballots: Vec<&Ballot> = ballots.iter().collect();
    ballots.sort_by_key(|ballot| (ballot.at, &ballot.person));
    let mut table = Table::new(seats);
    for ballot in ballots {
        table.seat(ballot);
        if let Some(until) = table.until(ballot.at, cap) {
            if until > now {
                return Filled {
                    persons: table.persons(),
                    until: Some(until),
                };
            }
            table = Table::new(seats);
        }
    }
    Filled {
        persons: table.persons(),
        until: None,
    }
}

/// Seats of all groups in a row, each with its group and who sits there.
struct Table<'a> {
    seats: Vec<(usize, Option<&'a PersonId>)>,
    people: BTreeMap<&'a PersonId, Person>,
}

/// What one person's votes add up to: every group of any of them, the shortest life.
struct Person {
    groups: Vec<usize>,
    lasts: Seconds,
}

impl<'a> Table<'a> {
    fn new(seats: &[u8]) -> Table<'a> {
        let row = |(group, count): (usize, &u8)| (0..*count).map(move |_| (group, None));
        Table {
            seats: seats.iter().enumerate().flat_map(row).collect(),
            people: BTreeMap::new(),
        }
    }

    fn seat(&mut self, ballot: &'a Ballot) {
        let person = self.people.entry(&ballot.person).or_insert(Person {
            groups: Vec::new(),
            lasts: ballot.lasts,
        });
        person.groups.extend(&ballot.groups);
        person.lasts = person.lasts.min(ballot.lasts);
        if !self
            .seats
            .iter()
            .any(|(_, sitting)| *sitting == Some(&ballot.person))
        {
            let mut tried = vec![false; self.seats.len()];
            self.place(&ballot.person, &mut tried);
        }
    }

    /// An augmenting path: takes a free seat, or one whose holder can move on. Each seat is tried once, so it ends.
    fn place(&mut self, person: &'a PersonId, tried: &mut [bool]) -> bool {
        for at in 0..self.seats.len() {
            let Some((group, holder)) = self.seats.get(at).copied() else {
                continue;
            };
            let fits = self
                .people
                .get(person)
                .is_some_and(|known| known.groups.contains(&group));
            let Some(tried_here) = tried.get_mut(at).filter(|tried| fits && !**tried) else {
                continue;
            };
            *tried_here = true;
            if holder.is_none_or(|holder| self.place(holder, tried)) {
                if let Some((_, sitting)) = self.seats.get_mut(at) {
                    *sitting = Some(person);
                }
                return true;
            }
        }
        false
    }

    fn until(&self, last: Timestamp, cap: Option<Seconds>) -> Option<Timestamp> {
        let mut least: Option<Seconds> = cap;
        for (_, holder) in &self.seats {
            let lasts = self.people.get((*holder)?)?.lasts;
            least = Some(least.map_or(lasts, |least| least.min(lasts)));
        }
        least.map(|least| last.plus(least))
    }

    fn persons(&self) -> Vec<PersonId> {
        let mut persons: Vec<PersonId> = self
            .seats
            .iter()
            .filter_map(|(_, holder)| holder.cloned())
            .collect();
        persons.sort();
        persons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(person: &str, groups: &[usize], at: i64, lasts: u32) -> Ballot {
        Ballot {
            person: PersonId::new(person),
            groups: groups.to_vec(),
            at: Timestamp::from_millis(at),
            lasts: Seconds::new(lasts),
        }
    }

    fn check(seats: &[u8], ballots: &[Ballot], persons: &[&str], until: Option<i64>) {
        let filled = fill(
            seats,
            ballots,
            Some(Seconds::new(600)),
            Timestamp::from_millis(10_000),
        );
        let names: Vec<&str> = filled.persons.iter().map(PersonId::as_str).collect();
        assert_eq!(
            (names.as_slice(), filled.until.map(Timestamp::as_millis)),
            (persons, until)
        );
    }

    #[test]
    fn one_person_fills_one_seat() {
        let (a, b) = (ballot("a", &[0], 1, 60), ballot("b", &[0], 2_000, 30));
        check(&[2], std::slice::from_ref(&a), &["a"], None);
        check(&[2], &[a.clone(), a.clone()], &["a"], None);
        check(&[2], &[b, a], &["a", "b"], Some(32_000));
    }

    #[test]
    fn people_move_so_that_most_seats_are_taken() {
        let both = ballot("both", &[0, 1], 1, 60);
        let first = ballot("first", &[0], 2, 60);
        check(
            &[1, 1],
            &[both.clone(), first.clone()],
            &["both", "first"],
            Some(60_002),
        );
        check(
            &[2, 1],
            &[both.clone(), first.clone()],
            &["both", "first"],
            None,
        );
        let third = ballot("third", &[0, 1], 3, 60);
        check(
            &[2, 1],
            &[both, first, third],
            &["both", "first", "third"],
            Some(60_003),
        );
    }

    #[test]
    fn the_cap_and_the_shortest_vote_end_an_approval() {
        check(
            &[1],
            &[ballot("a", &[0], 5_000, 3_600)],
            &["a"],
            Some(605_000),
        );
        check(
            &[1],
            &[ballot("a", &[0], 5_000, 3_600), ballot("b", &[0], 6_000, 1)],
            &["a"],
            Some(605_000),
        );
    }

    #[test]
    fn an_approval_that_is_over_has_spent_its_votes() {
        let (old, new) = (ballot("a", &[0], 1_000, 5), ballot("b", &[0], 9_000, 5));
        check(&[1], std::slice::from_ref(&old), &[], None);
        check(&[1], &[old.clone(), new], &["b"], Some(14_000));
        check(&[2], &[old.clone(), ballot("b", &[0], 2_000, 5)], &[], None);
        check(
            &[2],
            &[
                old,
                ballot("b", &[0], 2_000, 5),
                ballot("c", &[0], 3_000, 60),
            ],
            &["c"],
            None,
        );
    }
}
