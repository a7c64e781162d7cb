//! Moments and durations as the walk uses them: whole milliseconds since 1970, whole seconds of life.
//! Values only; nobody here asks what time it is.

use std::fmt;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC: milliseconds since 1970-01-01T00:00:00Z, from that day to the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last moment RFC 3339 can spell: 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// The moment `millis` milliseconds after 1970; what lies outside the range becomes its nearest end.
    #[must_use]
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.clamp(0, Timestamp::MAX.0))
    }

    /// The moment `seconds` seconds after 1970, at the beginning of that second.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Timestamp {
        Timestamp(seconds as i64 * 1000)
    }

    /// Milliseconds since 1970, never negative.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down: a JWT's `NumericDate`.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        self.0 / 1000
    }

    /// This moment and `life` more; the end of the range at most.
    #[must_use]
    pub fn plus(self, life: Seconds) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(i64::from(life.0) * 1000))
    }

    /// Whole seconds from `earlier` to this moment, rounded down; zero if it is not earlier.
    #[must_use]
    pub fn seconds_since(self, earlier: Timestamp) -> i64 {
        (self.0 - earlier.0).max(0) / 1000
    }

    /// `2027-03-01T10:00:00Z`, with three decimals where the milliseconds are not zero.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        let moment =
            OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, (hour, minute, second)) = (moment.date(), moment.to_hms());
        let fraction = match self.0 % 1000 {
            0 => String::new(),
            millis => format!(".{millis:03}"),
        };
        format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
    }

    /// Reads RFC 3339 with any offset; finer than milliseconds is cut off.
    ///
    /// # Errors
    /// [`TimeError::Moment`] for any other text and for what lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, TimeError> {
        let refused = || TimeError::Moment(text.to_owned());
        let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) else {
            return Err(refused());
        };
        let Ok(millis) = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)) else {
            return Err(refused());
        };
        let parsed = Timestamp::from_millis(millis);
        if parsed.0 == millis {
            Ok(parsed)
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A length of life in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(u32);

impl Seconds {
    /// `seconds` seconds.
    #[must_use]
    pub const fn new(seconds: u32) -> Seconds {
        Seconds(seconds)
    }

    /// Reads a number without leading zero and one unit: `30s`, `15m`, `24h`. At most a year.
    ///
    /// # Errors
    /// [`TimeError::Duration`] for any other text, zero included.
    pub fn parse(text: &str) -> Result<Seconds, TimeError> {
        let refused = || TimeError::Duration(text.to_owned());
        let units = [('s', 1), ('m', 60), ('h', 3600)];
        let (number, scale) = units
            .iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(*unit)?, *scale)))
            .ok_or_else(refused)?;
        let digits = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
        number
            .parse::<u32>()
            .ok()
            .filter(|_| digits)
            .and_then(|count| count.checked_mul(scale))
            .filter(|seconds| *seconds <= LONGEST)
            .map(Seconds)
            .ok_or_else(refused)
    }

    /// The number of seconds.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % 3600 == 0 => write!(f, "{}h", n / 3600),
            n if n > 0 && n % 60 == 0 => write!(f, "{}m", n / 60),
            n => write!(f, "{n}s"),
        }
    }
}

/// A text that is no moment or no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// Not a number of seconds, minutes or hours between one second and a year.
    #[error("`{0}` is no duration such as `30s`, `15m` or `1h`")]
    Duration(String),
    /// Not RFC 3339, or before 1970.
    #[error("`{0}` is no time such as `2027-03-01T10:00:00Z`")]
    Moment(String),
}

/// 365 days: more than any cap in Stint, so that sums of two stay far from overflow.
const LONGEST: u32 = 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_in_one_spelling() {
        for text in ["1s", "30s", "15m", "1h", "24h", "90s"] {
            assert_eq!(Seconds::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Seconds::parse("60s").unwrap().to_string(), "1m");
        for text in [
            "", "0s", "00s", "01m", "15", "m", "+1s", "-1s", "1d", "1 h", "9999999h", "1.5h",
        ] {
            assert_eq!(
                Seconds::parse(text),
                Err(TimeError::Duration(text.to_owned()))
            );
        }
    }

    #[test]
    fn moments_read_and_print_rfc_3339() {
        let moment = Timestamp::parse_rfc3339("2027-03-01T11:00:00+01:00").unwrap();
        assert_eq!(moment.rfc3339(), "2027-03-01T10:00:00Z");
        assert_eq!(
            Timestamp::from_millis(7).rfc3339(),
            "1970-01-01T00:00:00.007Z"
        );
        assert_eq!(Timestamp::MAX.rfc3339(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(i64::MIN).as_millis(), 0);
        assert!(Timestamp::parse_rfc3339("1969-12-31T23:59:59Z").is_err());
        assert!(Timestamp::parse_rfc3339("2027-03-01").is_err());
    }

    #[test]
    fn sums_stay_inside_the_range() {
        assert_eq!(Timestamp::MAX.plus(Seconds::new(u32::MAX)), Timestamp::MAX);
        let start = Timestamp::from_millis(1_500);
        assert_eq!(start.plus(Seconds::new(2)).as_millis(), 3_500);
        assert_eq!(start.plus(Seconds::new(2)).seconds_since(start), 2);
        assert_eq!(start.seconds_since(Timestamp::MAX), 0);
    }
}
