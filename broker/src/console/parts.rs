//! Values as pages say them: a moment with how long it is away, a state as a word with a shape.

use stint_policy::Timestamp;

use crate::store::RequestRow;
use crate::store::requests::State;

/// A state as a word with a shape: `kind` is one of `good wait bad off warn note`.
#[derive(Debug, Clone)]
pub(crate) struct Badge {
    /// The shape and the colour.
    pub(crate) kind: &'static str,
    /// The word.
    pub(crate) word: String,
}

/// How a request stands.
pub(crate) fn standing(row: &RequestRow, now: Timestamp) -> Badge {
    let ended = row.expires <= now.as_millis();
    let (kind, word) = match row.standing.state {
        State::Pending if ended => ("off", "expired"),
        State::Pending => ("wait", "open"),
        State::Approved if row.standing.spent => ("off", "approved, used"),
        State::Approved => ("good", "approved"),
        State::Denied => ("bad", "refused"),
        State::Expired => ("off", "expired"),
        State::Cancelled => ("off", "cancelled"),
    };
    Badge {
        kind,
        word: word.to_owned(),
    }
}

/// A moment, absolute and relative.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// For `datetime=`.
    pub(crate) rfc: String,
    /// `14:36:10 UTC`, with the day if it is not today.
    pub(crate) absolute: String,
    /// `in 12 min`, `3 h ago`.
    pub(crate) relative: String,
}

impl Moment {
    /// `at`, seen from `now`.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Moment {
        let rfc = at.rfc3339();
        let (day, time) = rfc.split_once('T').unwrap_or((&rfc, ""));
        let time: String = time.chars().take(8).collect();
        let absolute = match now.rfc3339().starts_with(day) {
            true => format!("{time} UTC"),
            false => format!("{} {time} UTC", spelt(day)),
        };
        let relative = match now >= at {
            true => match now.seconds_since(at) {
                0..10 => "just now".to_owned(),
                seconds => format!("{} ago", length(seconds)),
            },
            false => format!("in {}", length(at.seconds_since(now))),
        };
        Moment {
            rfc,
            absolute,
            relative,
        }
    }

    /// The same of milliseconds since 1970.
    pub(crate) fn of(millis: i64, now: Timestamp) -> Moment {
        Moment::new(Timestamp::from_millis(millis), now)
    }
}

/// `2026-11-22` as `22 Nov 2026`.
fn spelt(day: &str) -> String {
    let mut parts = day.splitn(3, '-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|it| it.parse::<usize>().ok());
    let month = month.and_then(|it| MONTHS.get(it.checked_sub(1)?));
    let day = day.unwrap_or_default().trim_start_matches('0');
    format!(
        "{day} {} {}",
        month.unwrap_or(&""),
        year.unwrap_or_default()
    )
}

/// A length of time in at most two units: `45 s`, `12 min`, `1 h 30 min`, `3 d`.
pub(crate) fn length(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 if seconds < 300 && seconds % 60 != 0 => {
            format!("{minutes} min {} s", seconds % 60)
        }
        60..3600 => format!("{minutes} min"),
        3600..86_400 if minutes % 60 != 0 => format!("{hours} h {} min", minutes % 60),
        3600..86_400 => format!("{hours} h"),
        _ if days < 3 && hours % 24 != 0 => format!("{days} d {} h", hours % 24),
        _ => format!("{days} d"),
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::{Moment, length};
    use stint_policy::Timestamp;

    #[test]
    fn a_length_has_at_most_two_units() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (90, "1 min 30 s"),
            (900, "15 min"),
            (5400, "1 h 30 min"),
            (7200, "2 h"),
            (90_000, "1 d 1 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(length(seconds), said);
        }
    }

    #[test]
    fn a_moment_is_absolute_and_relative() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let now = at("2026-11-22T14:00:00Z");
        let said = |text: &str| {
            let moment = Moment::new(at(text), now);
            format!("{} ({})", moment.absolute, moment.relative)
        };
        assert_eq!(said("2026-11-22T14:36:10Z"), "14:36:10 UTC (in 36 min)");
        assert_eq!(said("2026-11-22T13:59:57.250Z"), "13:59:57 UTC (just now)");
        assert_eq!(
            said("2026-11-05T14:00:00Z"),
            "5 Nov 2026 14:00:00 UTC (17 d ago)"
        );
    }
}
