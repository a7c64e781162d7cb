//! What to send next: pure, from the rows that wait and the messages that went before.
//!
//! - What was tried goes out again as the same message, under the same id, until it arrives or a day is over.
//! - What was not tried yet is bound into a message: all of one caller, and none within `coalesce` of the one before.
//! - When a target had `notices_per_approver` messages of a topic within their time, what is next is a digest of all
//!   that waits, and digests come no closer than the cap's own pace.

use crate::store::notices::{NoticeRow, Past, Topic};

use super::Terms;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These were not delivered in time.
    Over(Vec<String>),
    /// This is due.
    Send(Parcel),
}

/// Rows that are one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    /// The message's id.
    pub(super) id: String,
    pub(super) topic: Topic,
    /// Whose it is; empty for a digest.
    pub(super) who: String,
    pub(super) rows: Vec<NoticeRow>,
    pub(super) form: Form,
}

/// How a message is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// How many, and where.
    Digest,
    /// Each by name.
    Named,
}

impl Parcel {
    pub(super) fn ids(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.id.clone()).collect()
    }

    /// Whether it was tried before.
    pub(super) fn is_bound(&self) -> bool {
        self.rows.iter().any(|row| row.so_far.parcel.is_some())
    }

    /// How often.
    pub(super) fn tries(&self) -> i64 {
        let tries = self.rows.iter().map(|row| row.so_far.tries);
        tries.max().unwrap_or(0)
    }

    /// Whom it did not reach yet; none: everybody.
    pub(super) fn rest(&self) -> Option<&[String]> {
        self.rows.iter().find_map(|row| row.so_far.rest.as_deref())
    }
}

/// The next step of a target at `now`, if anything is due. `rows` are in order of `due`.
pub(super) fn next(rows: &[NoticeRow], past: &[Past], now: i64, terms: &Terms) -> Option<Step> {
    let over = rows.iter().filter(|row| row.until <= now);
    let over: Vec<String> = over.map(|row| row.id.clone()).collect();
    if !over.is_empty() {
        return Some(Step::Over(over));
    }
    let due = rows.iter().filter(|row| row.due <= now);
    for row in due {
        let parcel = match &row.so_far.parcel {
            Some(parcel) => Some(again(rows, row, parcel)),
            None => fresh(rows, row, past, (now, terms)),
        };
        if let Some(parcel) = parcel {
            return Some(Step::Send(parcel));
        }
    }
    None
}

/// A message that was tried.
fn again(rows: &[NoticeRow], first: &NoticeRow, id: &str) -> Parcel {
    let same = rows
        .iter()
        .filter(|row| row.so_far.parcel.as_deref() == Some(id));
    let digest = id.ends_with(DIGEST);
    Parcel {
        id: id.to_owned(),
        topic: first.topic,
        who: if digest {
            String::new()
        } else {
            first.who.clone()
        },
        rows: same.cloned().collect(),
        form: if digest { Form::Digest } else { Form::Named },
    }
}

/// A message of `first` and what goes with it, if it may be sent now.
fn fresh(
    rows: &[NoticeRow],
    first: &NoticeRow,
    past: &[Past],
    (now, terms): (i64, &Terms),
) -> Option<Parcel> {
    let of_topic = || past.iter().filter(|it| it.topic == first.topic);
    let per = i64::from(terms.cap.per.as_u32()).saturating_mul(1_000);
    let named = of_topic().filter(|it| !it.who.is_empty() && it.at > now.saturating_sub(per));
    let most = i64::from(terms.cap.count);
    let waits = rows
        .iter()
        .filter(|row| row.topic == first.topic && row.so_far.parcel.is_none());
    if i64::try_from(named.count()).unwrap_or(i64::MAX) >= most {
        let pace = per.checked_div(most).unwrap_or(per).max(terms.coalesce);
        let last = of_topic().map(|it| it.at).max().unwrap_or(0);
        return (now >= last.saturating_add(pace)).then(|| Parcel {
            id: format!("{}{DIGEST}", first.id),
            topic: first.topic,
            who: String::new(),
            rows: waits.cloned().collect(),
            form: Form::Digest,
        });
    }
    let last = of_topic()
        .filter(|it| it.who == first.who)
        .map(|it| it.at)
        .max();
    if last.is_some_and(|last| now < last.saturating_add(terms.coalesce)) {
        return None;
    }
    let rows: Vec<_> = waits.filter(|row| row.who == first.who).cloned().collect();
    let id = match rows.len() {
        1 => first.id.clone(),
        _ => format!("{}-burst", first.id),
    };
    Some(Parcel {
        id,
        topic: first.topic,
        who: first.who.clone(),
        rows,
        form: Form::Named,
    })
}

const DIGEST: &str = "-digest";

#[cfg(test)]
mod tests {
    use stint_policy::Seconds;

    use super::*;
    use crate::config::Rate;
    use crate::store::notices::SoFar;

    const TERMS: Terms = Terms {
        coalesce: 60_000,
        cap: Rate {
            count: 3,
            per: Seconds::new(3_600),
        },
    };

    fn row(id: &str, who: &str, due: i64) -> NoticeRow {
        NoticeRow {
            target: "sre".to_owned(),
            id: id.to_owned(),
            topic: Topic::Request,
            who: who.to_owned(),
            request: None,
            body: String::new(),
            due,
            until: 86_400_000 + due,
            so_far: SoFar::default(),
        }
    }

    fn past(who: &str, at: i64) -> Past {
        Past {
            topic: Topic::Request,
            who: who.to_owned(),
            at,
        }
    }

    /// Id, ids of the rows and form of what is sent.
    fn sent(rows: &[NoticeRow], past: &[Past], now: i64) -> Option<(String, Vec<String>, Form)> {
        match next(rows, past, now, &TERMS)? {
            Step::Send(parcel) => Some((parcel.id.clone(), parcel.ids(), parcel.form)),
            Step::Over(_) => panic!("over"),
        }
    }

    #[test]
    fn a_burst_of_one_is_one_message_and_others_have_their_own() {
        let rows = [
            row("r1", "ann", 10),
            row("r2", "bob", 11),
            row("r3", "ann", 12),
        ];
        assert_eq!(sent(&rows, &[], 9), None);
        let both = Some((
            "r1-burst".to_owned(),
            vec!["r1".to_owned(), "r3".to_owned()],
            Form::Named,
        ));
        assert_eq!(sent(&rows, &[], 10), both);
        let bobs = Some(("r2".to_owned(), vec!["r2".to_owned()], Form::Named));
        assert_eq!(sent(&rows, &[past("ann", 10)], 20), bobs);
        assert_eq!(
            sent(&rows, &[past("ann", 10), past("bob", 11)], 60_009),
            None
        );
        assert_eq!(
            sent(&rows, &[past("ann", 10), past("bob", 11)], 60_010),
            both
        );
    }

    #[test]
    fn beyond_the_cap_all_that_waits_is_one_digest_at_the_caps_own_pace() {
        let before = [past("a", 1_000), past("b", 2_000), past("c", 3_000)];
        let rows = [row("r4", "d", 4_000), row("r5", "e", 5_000)];
        let pace = 3_600_000 / 3;
        assert_eq!(sent(&rows, &before, 6_000), None);
        let digest = sent(&rows, &before, 3_000 + pace).unwrap();
        assert_eq!(digest.0, "r4-digest");
        assert_eq!((digest.1.len(), digest.2), (2, Form::Digest));
        // A digest does not count to the cap, and the next one keeps its distance.
        let mut more = before.to_vec();
        more.push(past("", 3_000 + pace));
        let later = [row("r6", "f", 3_000 + pace)];
        assert_eq!(sent(&later, &more, 3_001 + pace), None);
        assert!(sent(&later, &more, 3_000 + 2 * pace).is_some());
        // The first of the three is an hour old: there is room for a message again.
        let named = sent(&[row("r7", "g", 0)], &before, 3_601_000).unwrap();
        assert_eq!(named.2, Form::Named);
    }

    #[test]
    fn what_was_tried_stays_the_message_that_it_was() {
        let mut rows = [
            row("r1", "ann", 50_000),
            row("r2", "ann", 50_000),
            row("r3", "ann", 10),
        ];
        for row in &mut rows[..2] {
            row.so_far.parcel = Some("r1-burst".to_owned());
            row.so_far.tries = 2;
        }
        rows.sort_by_key(|row| row.due);
        let alone = sent(&rows, &[], 10).unwrap();
        assert_eq!(alone.1, ["r3"]);
        let again = sent(&rows[1..], &[past("ann", 49_999)], 50_000).unwrap();
        assert_eq!((again.0.as_str(), again.1.len()), ("r1-burst", 2));
    }

    #[test]
    fn a_day_later_it_is_over() {
        let rows = [row("r1", "ann", 0)];
        assert_eq!(
            next(&rows, &[], 86_400_000, &TERMS),
            Some(Step::Over(vec!["r1".to_owned()]))
        );
    }

    #[test]
    fn topics_do_not_count_for_each_other() {
        let mut outcome = row("r1-approved", "ann", 0);
        outcome.topic = Topic::Decided;
        let before = [past("ann", 1), past("b", 2), past("c", 3)];
        assert!(sent(&[outcome], &before, 10).is_some());
    }
}
